"""What a search says about a hit adds up to the hit's score."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar.schemas.config import SkillsConfig
from sdar.skills.explain import Explanation, explain, keyword_terms, similarity_terms
from sdar.skills.files import builtin_skills, make_skill
from sdar.skills.retrieval import RetrievedSkillHit, Retriever
from sdar.skills.strategies import Query

HOUSEHOLD = builtin_skills("household")
GOALS = st.lists(
    st.sampled_from(["put", "heat", "two", "cups", "the", "pans", "mug", "lamp", "xyzzy", "Where", "kept"]),
    max_size=8,
).map(" ".join)


def explained(goal: str, strategy: str) -> list[tuple[RetrievedSkillHit, Explanation]]:
    config = SkillsConfig.model_validate({"strategy": strategy})
    hits = Retriever.from_bank(HOUSEHOLD, config).retrieve(goal, "", 0)
    return list(zip(hits, explain(hits, HOUSEHOLD, Query(goal, "", 0), config), strict=True))


@settings(max_examples=25, deadline=None)
@given(GOALS)
def test_weights_add_up_to_the_scores(goal: str) -> None:
    for hit, why in explained(goal, "embedding"):
        # The index rounds scores to six digits.
        assert math.fsum(why.weights["embedding"].values()) == pytest.approx(hit.score, abs=2e-6)
    for hit, why in explained(goal, "keyword"):
        assert math.fsum(why.weights["keyword"].values()) == pytest.approx(hit.score, abs=1e-9)
    for hit, why in explained(goal, "hybrid"):
        ranks = [rank for rank in why.ranks.values() if rank is not None]
        assert ranks
        assert math.fsum(1 / (60 + rank) for rank in ranks) == pytest.approx(hit.score, abs=1e-12)


def test_bm25_weight_by_hand() -> None:
    """One of two texts holds `tea`, once in a text of mean length: ln(1 + 1.5 / 1.5) * 2.2 / 2.2."""
    bank = [make_skill(name, "", "e", [], "b", "file") for name in ("tea", "mint")]
    assert keyword_terms(bank, "hot teas") == {
        bank[0].id: {"teas": pytest.approx(math.log(2))},
        bank[1].id: {},
    }


def test_terms_are_shown_as_the_goal_writes_them_largest_first() -> None:
    cups = next(skill for skill in HOUSEHOLD if skill.name == "home-of-cup-mug-glass")
    terms = similarity_terms(HOUSEHOLD, "Cups, mugs and one glass on the table")[cups.id]
    assert set(terms) == {"cups", "mugs", "glass", "cups mugs", "mugs glass"}
    assert list(terms.values()) == sorted(terms.values(), reverse=True)


def test_a_strategy_without_weights_still_names_shared_words() -> None:
    for _, why in explained("where are the cups kept", "full"):
        assert (why.weights, why.ranks) == ({}, {})
    shared = {hit.skill.name: why.shared for hit, why in explained("where are the cups kept", "full")}
    assert shared["home-of-cup-mug-glass"] == ("cups", "kept")
    assert shared["home-of-pan-pot-kettle"] == ("kept",)
