"""What each strategy finds, and what holds for all of them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar.schemas.config import SkillsConfig
from sdar.schemas.errors import CheckFailedError
from sdar.schemas.records import Skill, SkillStat
from sdar.skills.context import build_context
from sdar.skills.files import builtin_skills, make_skill
from sdar.skills.retrieval import RetrievedSkillHit, Retriever
from sdar.skills.strategies import STRATEGIES, Bank, Query, fusion_parts

HEAT = ["heat_and_place"]
BANK = [
    make_skill("cups", "Where the cup and the mug are kept.", "household", HEAT, "Body.", "file"),
    make_skill("pans", "Where the pan is kept.", "household", ["pick_two"], "Body.", "file"),
    make_skill("heat", "What makes it hot or warm.", "household", HEAT, "Body.", "file"),
    make_skill("kind", "How to treat a cup and a pan.", "household", [], "Body.", "file"),
    make_skill("wait", "Patience.", "household", [], "Body.", "file"),
]
HOUSEHOLD = builtin_skills("household")
ALL = sorted(STRATEGIES)


def hits(
    goal: str,
    bank: list[Skill] = BANK,
    seed: int = 0,
    statistics: list[SkillStat] | None = None,
    **settings: object,
) -> list[RetrievedSkillHit]:
    retriever = Retriever.from_bank(bank, SkillsConfig.model_validate(settings), statistics or [])
    return retriever.retrieve(goal, "heat_and_place", seed)


def names(found: list[RetrievedSkillHit]) -> list[str]:
    return [hit.skill.name for hit in found]


def stat(name: str, successes: int, gap_success: float, failures: int, gap_failure: float) -> SkillStat:
    return SkillStat(
        skill_id=next(skill.id for skill in BANK if skill.name == name),
        uses=successes + failures,
        successes=successes,
        gap_success=gap_success,
        failures=failures,
        gap_failure=gap_failure,
    )


@pytest.mark.parametrize("strategy", ALL)
@settings(max_examples=20, deadline=None)
@given(
    words=st.lists(
        st.sampled_from(["put", "heat", "two", "cups", "pans", "mug", "lamp", "xyzzy", "the"]), max_size=8
    ),
    top_k=st.integers(1, 30),
    seed=st.integers(0, 2**63 - 1),
    order=st.permutations(range(len(HOUSEHOLD))),
)
def test_equal_queries_find_equal_skills_and_never_more_than_top_k(
    strategy: str, words: list[str], top_k: int, seed: int, order: list[int]
) -> None:
    shuffled = [HOUSEHOLD[i] for i in order]
    found = hits(" ".join(words), HOUSEHOLD, seed, strategy=strategy, top_k=top_k)
    again = hits(" ".join(words), shuffled, seed, strategy=strategy, top_k=top_k)
    assert names(found) == names(again)
    assert len(set(names(found))) == len(found) <= (len(HOUSEHOLD) if strategy == "full" else top_k)
    assert [hit.rank for hit in found] == list(range(len(found)))


def test_keyword_finds_only_skills_that_share_a_word() -> None:
    assert names(hits("put a hot mug away", strategy="keyword")) == names(hits("mug hot", strategy="keyword"))
    assert sorted(names(hits("put a hot mug away", strategy="keyword"))) == ["cups", "heat"]
    assert hits("xyzzy", strategy="keyword") == []
    assert names(hits("a warm pan", strategy="keyword", top_k=1)) == ["heat"]


def test_keyword_breaks_ties_by_skill_id() -> None:
    twins = [make_skill(name, "Tea.", "household", [], "Body.", "file") for name in ("mint", "sage")]
    found = hits("tea", twins, strategy="keyword")
    assert found[0].score == found[1].score
    assert [hit.skill.id for hit in found] == sorted(skill.id for skill in twins)


def test_hybrid_adds_inverse_ranks_by_hand() -> None:
    """Embedding: pans, cups, heat, kind. Keyword: cups and heat (equal, by id), pans, kind."""
    goal = "put a hot mug and a pan on the desk"
    assert names(hits(goal, strategy="embedding")) == ["pans", "cups", "heat", "kind"]
    assert names(hits(goal, strategy="keyword")) == ["cups", "heat", "pans", "kind"]
    found = hits(goal, strategy="hybrid")
    assert names(found) == ["cups", "pans", "heat", "kind"]
    by_hand = [0.0161290 + 0.0163934, 0.0163934 + 0.0158730, 0.0158730 + 0.0161290, 2 * 0.015625]
    assert [hit.score for hit in found] == pytest.approx(by_hand, abs=1e-6)


def test_hybrid_finds_what_one_part_alone_finds_and_settles_ties_by_id() -> None:
    # Nothing is this similar, so the ranks are those of the words.
    alone = hits("a hot pan", strategy="hybrid", threshold=0.9)
    assert names(alone) == names(hits("a hot pan", strategy="keyword"))
    assert [hit.score for hit in alone] == pytest.approx([1 / 61, 1 / 62, 1 / 63], abs=1e-12)
    # First and second, second and first.
    tied = hits("a warm pan", strategy="hybrid", top_k=2)
    assert tied[0].score == tied[1].score == 1 / 61 + 1 / 62
    assert [hit.skill.id for hit in tied] == sorted(hit.skill.id for hit in tied)
    assert {hit.skill.name for hit in tied} == {"pans", "heat"}


def test_hybrid_takes_four_times_top_k_from_each_part() -> None:
    # In rank 4 by words and in none by similarity, a skill counts; in rank 5 it does not.
    bank = [make_skill(f"s{n}", "tea " + "filler " * n, "household", HEAT, "B.", "file") for n in range(5)]
    ranked = [hit.skill.id for hit in hits("tea", bank, strategy="keyword", top_k=5)]
    assert len(ranked) == 5
    found = {k: hits("tea", bank, strategy="hybrid", threshold=1.0, top_k=k) for k in (1, 2)}
    assert [hit.skill.id for hit in found[1]] == ranked[:1]
    parts = fusion_parts(Bank(tuple(bank), SkillsConfig(strategy="hybrid", threshold=1.0, top_k=1)))
    query = Query("tea", "", 0)
    assert [bank[hit.position].id for hit in parts["keyword"](query)] == ranked[:4]
    assert parts["embedding"](query) == []


def test_task_type_puts_the_skills_of_the_type_before_the_general_ones() -> None:
    # `pans` is most similar to the goal, but was written for another type of task.
    assert names(hits("put a warm pan on the desk", strategy="task_type")) == ["heat", "cups", "kind", "wait"]
    assert names(hits("put a cup on the desk", strategy="task_type", top_k=3)) == ["cups", "heat", "kind"]


def test_task_type_without_a_known_type_finds_the_general_ones() -> None:
    retriever = Retriever.from_bank(BANK, SkillsConfig(strategy="task_type"))
    assert names(retriever.retrieve("put a pan on the desk", "", 0)) == ["kind", "wait"]


def test_full_finds_all_by_name_and_the_budget_cuts() -> None:
    found = hits("xyzzy", strategy="full", top_k=1)
    assert names(found) == ["cups", "heat", "kind", "pans", "wait"]
    block = build_context(found, "xyzzy", SkillsConfig(budget=11), len)
    assert (len(block.used), block.tokens_used, block.tokens_cut) == (2, 11, 3 * 6)


def test_random_draws_every_skill_equally_often_and_by_the_seed() -> None:
    retriever = Retriever.from_bank(BANK, SkillsConfig(strategy="random", top_k=2))
    drawn = [names(retriever.retrieve("put a mug on the desk", "", seed)) for seed in range(2000)]
    # 800 of 2000 are expected of each, with a standard deviation of 22.
    assert all(abs(count - 800) < 110 for count in Counter(name for pair in drawn for name in pair).values())
    assert len({tuple(pair) for pair in drawn}) == 5 * 4
    assert drawn == [names(retriever.retrieve("xyzzy", "pick_two", seed)) for seed in range(2000)]


def test_ucb_without_statistics_is_the_order_of_similarity() -> None:
    goal = "put a hot mug and a pan on the desk"
    assert hits(goal, strategy="ucb") == hits(goal, strategy="embedding")


def test_ucb_by_hand() -> None:
    """Upper bounds of 5 uses: cups 0.6 + 0.634318 c, pans 0 + 1.268636 c; they cross at c = 0.946."""
    seen = [stat("cups", 2, 1.0, 2, -0.2), stat("pans", 1, 0.3, 0, 0.0)]
    goal = "a hot mug and a pan"
    eager = hits(goal, statistics=seen, strategy="ucb", exploration=1.0)
    careful = hits(goal, statistics=seen, strategy="ucb", exploration=0.9)
    assert names(eager)[-2:] == ["pans", "cups"]
    assert names(careful)[-2:] == ["cups", "pans"]
    assert [hit.score for hit in eager[-2:]] == pytest.approx([1.268636, 1.234318], abs=1e-6)
    # Never used: before all others, by similarity.
    assert names(eager)[:-2] == [name for name in names(hits(goal)) if name in ("heat", "kind")]


def test_ucb_leaves_dissimilar_skills_out_however_useful() -> None:
    seen = [stat("wait", 50, 500.0, 50, -500.0)]
    assert "wait" not in names(hits("a hot mug and a pan", statistics=seen, strategy="ucb"))


def test_ucb_ranks_four_times_top_k_candidates() -> None:
    # All 26 skills are candidates by the threshold; 4 * 2 of them by number.
    goal, ids = "heat a cup", {skill.id for skill in HOUSEHOLD}
    near = hits(goal, HOUSEHOLD, strategy="embedding", threshold=-1.0, top_k=26)
    used = [
        SkillStat(skill_id=id_, uses=2, successes=1, gap_success=0.0, failures=1, gap_failure=0.0)
        for id_ in ids
    ]
    for rank, chosen in ((7, True), (8, False)):
        best = near[rank].skill.id
        seen = [s.model_copy(update={"gap_success": 1.0}) if s.skill_id == best else s for s in used]
        found = hits(goal, HOUSEHOLD, statistics=seen, strategy="ucb", threshold=-1.0, top_k=2)
        assert (found[0].skill.id == best) == chosen


@pytest.mark.parametrize("strategy", ["keyword", "none"])
def test_an_empty_block_is_an_error_unless_it_is_allowed(strategy: str) -> None:
    with pytest.raises(CheckFailedError, match="empty skill block"):
        build_context(hits("xyzzy", strategy=strategy), "xyzzy", SkillsConfig(), len)
    allowed = build_context(hits("xyzzy", strategy=strategy), "xyzzy", SkillsConfig(allow_empty=True), len)
    assert (allowed.text, allowed.tokens_used) == ("", 0)
