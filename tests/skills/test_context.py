from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar.schemas.config import SkillsConfig
from sdar.schemas.errors import CheckFailedError
from sdar.schemas.records import RetrievedSkill
from sdar.skills.context import build_context
from sdar.skills.files import make_skill
from sdar.skills.retrieval import RetrievedSkillHit


def hits_of(bodies: list[str]) -> list[RetrievedSkillHit]:
    return [
        RetrievedSkillHit(make_skill(f"s{rank}", "d", "e", ["t"], body, "file"), 1.0 - 0.01 * rank, rank)
        for rank, body in enumerate(bodies)
    ]


def count(text: str) -> int:
    """Return one token per word and one per newline."""
    return len(text.split()) + text.count("\n")


def test_a_skill_that_does_not_fit_is_skipped_whole_and_the_next_one_taken() -> None:
    hits = hits_of(["one two\n\n  three", "a b c d e", "x y"])
    block = build_context(hits, "goal", SkillsConfig(budget=6), count)
    assert block.text == "one two three\nx y"
    assert block.used == (
        RetrievedSkill(skill_id=hits[0].skill.id, score=1.0, rank=0, tokens=3),
        RetrievedSkill(skill_id=hits[2].skill.id, score=0.98, rank=2, tokens=3),
    )
    # The skipped one would have added its five words and one newline.
    assert (block.tokens_used, block.tokens_cut) == (6, 6)


def test_the_budget_may_be_used_to_the_last_token() -> None:
    assert build_context(hits_of(["a b c"]), "goal", SkillsConfig(budget=3), count).tokens_used == 3


def test_no_skill_is_an_error_with_goal_settings_and_remedy() -> None:
    with pytest.raises(CheckFailedError) as caught:
        build_context([], "put a cup away", SkillsConfig(), count)
    message = str(caught.value)
    assert "goal 'put a cup away': no skill was found" in message
    assert "strategy 'embedding', threshold 0.05, budget 160" in message
    assert "Lower skills.threshold" in message
    assert "set skills.allow_empty=true" in message


def test_nothing_that_fits_is_an_error_that_says_so() -> None:
    with pytest.raises(
        CheckFailedError, match=r"1 skill\(s\) were found, but none fits.*Raise skills.budget"
    ):
        build_context(hits_of(["a b c"]), "goal", SkillsConfig(budget=2), count)


def test_an_empty_block_may_be_allowed() -> None:
    block = build_context(hits_of(["a b c"]), "goal", SkillsConfig(budget=2, allow_empty=True), count)
    assert (block.text, block.used, block.tokens_used, block.tokens_cut) == ("", (), 0, 3)


def typed(name: str, body: str, types: list[str], rank: int) -> RetrievedSkillHit:
    return RetrievedSkillHit(make_skill(name, "d", "e", types, body, "file"), 0.5, rank)


def test_a_block_of_general_skills_only_is_an_error_that_says_what_to_do() -> None:
    hits = [typed("be-patient", "a b", [], 0), typed("look-twice", "c", [], 1)]
    with pytest.raises(CheckFailedError) as caught:
        build_context(hits, "put a cup away", SkillsConfig(), count)
    message = str(caught.value)
    assert "generic skill block for the goal 'put a cup away': be-patient, look-twice name no task" in message
    assert "Add a skill for this kind of task, or name the types under metadata.task_types" in message
    assert "`sdar skills search 'put a cup away'`" in message
    assert "Set skills.allow_generic=true" in message
    allowed = build_context(hits, "goal", SkillsConfig(allow_generic=True), count)
    assert (allowed.generic, allowed.tokens_used) == (True, 4)


def test_one_skill_for_a_type_of_task_is_enough() -> None:
    hits = [typed("be-patient", "a b", [], 0), typed("cups", "c", ["pick_two"], 1)]
    assert not build_context(hits, "goal", SkillsConfig(), count).generic


def test_a_special_skill_that_does_not_fit_does_not_count() -> None:
    hits = [typed("be-patient", "a b", [], 0), typed("cups", "c d e f", ["pick_two"], 1)]
    with pytest.raises(CheckFailedError, match=r"Raise skills.budget, now 4: cups did not fit"):
        build_context(hits, "goal", SkillsConfig(budget=4), count)


def test_an_empty_block_is_not_generic() -> None:
    assert not build_context([], "goal", SkillsConfig(allow_empty=True), count).generic


BODIES = st.lists(
    st.lists(st.sampled_from(["a", "bb", "c\n"]), min_size=1, max_size=12).map(" ".join), max_size=8
)


@given(BODIES, st.integers(1, 40), st.sampled_from([count, len]))
def test_the_budget_holds_and_every_line_is_a_whole_skill(
    bodies: list[str], budget: int, counter: Callable[[str], int]
) -> None:
    hits = hits_of(bodies)
    block = build_context(hits, "goal", SkillsConfig(budget=budget, allow_empty=True), counter)
    assert block.tokens_used == counter(block.text) <= budget
    assert sum(skill.tokens for skill in block.used) == block.tokens_used
    ranks = [skill.rank for skill in block.used]
    assert ranks == sorted(set(ranks))
    assert block.text.split("\n") == [" ".join(bodies[rank].split()) for rank in ranks] or not ranks
    # Nothing was left out that would still have fitted after all that was taken.
    left = [hit for hit in hits if hit.rank not in ranks]
    assert all(counter(f"{block.text}\n{' '.join(hit.skill.body.split())}".strip()) > budget for hit in left)
    assert (block.tokens_cut > 0) == bool(left)
