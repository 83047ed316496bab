from __future__ import annotations

import pytest

from sdar.schemas.config import SkillsConfig
from sdar.schemas.errors import ConfigError, InputError
from sdar.schemas.records import Skill
from sdar.skills.files import make_skill
from sdar.skills.retrieval import Retriever
from sdar.skills.strategies import STRATEGIES


def skill(name: str, description: str, body: str = "Some body.") -> Skill:
    return make_skill(name, description, "household", ["pick_and_place"], body, "file")


BANK = [
    skill("cups", "Where the cup and the mug are kept."),
    skill("pans", "Where the pan is kept.", "The pan is kept in the drawer next to the cup."),
    skill("heat", "What makes it hot or warm."),
]


def found(goal: str, config: SkillsConfig | None = None, bank: list[Skill] = BANK) -> list[str]:
    hits = Retriever.from_bank(bank, config or SkillsConfig()).retrieve(goal, "pick_and_place", 0)
    assert [hit.rank for hit in hits] == list(range(len(hits)))
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    return [hit.skill.name for hit in hits]


def test_a_goal_finds_the_skills_whose_descriptions_share_its_words() -> None:
    assert sorted(found("put a hot pan on the desk")) == ["heat", "pans"]


def test_the_body_is_not_matched() -> None:
    assert found("put a mug in the drawer") == ["cups"]


def test_plurals_match() -> None:
    assert found("put two mugs on the shelf") == ["cups"]


def test_top_k_cuts_and_threshold_drops() -> None:
    goal = "heat the cup, the pan"
    assert len(found(goal)) == 3
    assert len(found(goal, SkillsConfig(top_k=1))) == 1
    assert found(goal, SkillsConfig(threshold=0.99)) == []


def test_an_unknown_goal_finds_nothing_unless_the_threshold_is_zero() -> None:
    assert found("xyzzy") == []
    names = found("xyzzy", SkillsConfig(threshold=0.0))
    assert names == [entry.name for entry in sorted(BANK, key=lambda entry: entry.id)]


def test_the_order_of_the_bank_does_not_matter() -> None:
    twins = [*BANK, skill("kettles-a", "tea"), skill("kettles-b", "tea")]
    assert found("tea kettles", bank=twins) == found("tea kettles", bank=twins[::-1])


def test_none_finds_nothing_and_needs_no_bank() -> None:
    assert found("put a mug on the desk", SkillsConfig(strategy="none")) == []
    assert found("put a mug on the desk", SkillsConfig(strategy="none"), []) == []


def test_an_empty_bank_finds_nothing() -> None:
    assert found("put a mug on the desk", SkillsConfig(), []) == []


def test_duplicate_names_are_refused() -> None:
    with pytest.raises(InputError, match="more than one skill named cups"):
        Retriever.from_bank([*BANK, skill("cups", "Another one.")], SkillsConfig())


def test_every_strategy_of_the_configuration_is_registered() -> None:
    allowed = SkillsConfig.model_json_schema()["properties"]["strategy"]["enum"]
    assert sorted(STRATEGIES) == sorted(allowed)
    with pytest.raises(ConfigError, match=r"'magic'; allowed: embedding, full, hybrid, keyword, none"):
        Retriever.from_bank(BANK, SkillsConfig().model_copy(update={"strategy": "magic"}))
