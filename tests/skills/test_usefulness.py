from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from sdar.schemas.records import RetrievedSkill, SkillStat, TeacherContext
from sdar.skills.usefulness import count_uses, skill_lift, upper_bound, usefulness


def stat(skill_id: str, successes: int, gap_success: float, failures: int, gap_failure: float) -> SkillStat:
    return SkillStat(
        skill_id=skill_id,
        uses=successes + failures,
        successes=successes,
        gap_success=gap_success,
        failures=failures,
        gap_failure=gap_failure,
    )


def context(episode: str, *skills: str) -> TeacherContext:
    return TeacherContext(
        episode_id=episode,
        rule="ucb",
        query="q",
        skills=tuple(RetrievedSkill(skill_id=s, score=0.0, rank=i, tokens=1) for i, s in enumerate(skills)),
        block="",
        prompt_ids=np.zeros(1, np.int32),
        budget=160,
        tokens_used=0,
        tokens_cut=0,
    )


def test_usefulness_by_hand() -> None:
    # Means 1.0 / 2 and -0.2 / 2.
    assert usefulness(stat("a", 2, 1.0, 2, -0.2)) == pytest.approx(0.6, abs=1e-12)
    assert usefulness(stat("a", 1, 3.0, 2, 8.0)) == pytest.approx(-1.0, abs=1e-12)


@pytest.mark.parametrize("seen", [stat("a", 3, 9.0, 0, 0.0), stat("a", 0, 0.0, 3, 9.0)])
def test_a_skill_with_one_outcome_only_is_neither_useful_nor_harmful(seen: SkillStat) -> None:
    assert usefulness(seen) == 0.0


def test_upper_bound_by_hand() -> None:
    # sqrt(ln 5 / 4) = 0.634318, sqrt(ln 5 / 1) = 1.268636
    assert upper_bound(stat("a", 2, 1.0, 2, -0.2), 5, 1.0) == pytest.approx(1.234318, abs=1e-6)
    assert upper_bound(stat("a", 2, 1.0, 2, -0.2), 5, 0.0) == pytest.approx(0.6, abs=1e-12)
    assert upper_bound(stat("b", 1, 0.3, 0, 0.0), 5, 1.0) == pytest.approx(1.268636, abs=1e-6)


@given(uses=st.integers(1, 50), more=st.integers(1, 50), total=st.integers(100, 10_000))
def test_the_bonus_falls_with_the_uses_of_a_skill(uses: int, more: int, total: int) -> None:
    few, many = stat("a", uses, 1.0 * uses, 0, 0.0), stat("a", uses + more, 1.0 * (uses + more), 0, 0.0)
    assert upper_bound(few, total, 1.0) > upper_bound(many, total, 1.0)


def test_uses_are_added_to_those_before() -> None:
    before = [stat("b", 1, 0.5, 0, 0.0)]
    contexts = [context("e1", "b", "a"), context("e2", "b"), context("e3", "b"), context("e4")]
    success = {"e1": True, "e2": False, "e3": True, "e4": True}
    found = count_uses(before, contexts, success, {"e1": 0.25, "e2": -1.0, "e4": 9.0})
    # e3 has no scored token, e4 no skill.
    assert found == [stat("a", 1, 0.25, 0, 0.0), stat("b", 2, 0.75, 1, -1.0)]
    assert before == [stat("b", 1, 0.5, 0, 0.0)]


@given(
    st.lists(
        st.tuples(st.sets(st.sampled_from("abc")), st.booleans(), st.integers(-8, 8)), min_size=1, max_size=12
    ),
    st.integers(0, 12),
)
def test_two_rounds_count_as_much_as_one(episodes: list[tuple[set[str], bool, int]], cut: int) -> None:
    contexts = [context(f"e{i}", *sorted(skills)) for i, (skills, _, _) in enumerate(episodes)]
    success = {f"e{i}": won for i, (_, won, _) in enumerate(episodes)}
    gaps = {f"e{i}": gap / 4 for i, (_, _, gap) in enumerate(episodes)}
    whole = count_uses([], contexts, success, gaps)
    assert count_uses(count_uses([], contexts[:cut], success, gaps), contexts[cut:], success, gaps) == whole
    assert sum(found.uses for found in whole) == sum(len(skills) for skills, _, _ in episodes)
    assert all(found.uses == found.successes + found.failures for found in whole)
    assert not any(math.isnan(usefulness(found)) for found in whole)


def test_lift_by_hand() -> None:
    # Means 0.2 and 0; variances 0.02 / 2 and 0.01 / 3, so the error is 0.115470.
    lift = skill_lift("a", [0.1, 0.3], [-0.1, 0.1, 0.0])
    assert (lift.successes, lift.failures) == (2, 3)
    assert (lift.lift_success, lift.lift_failure) == (pytest.approx(0.2), pytest.approx(0.0, abs=1e-12))
    assert lift.lift == pytest.approx(0.2)
    welch = ttest_ind([0.1, 0.3], [-0.1, 0.1, 0.0], equal_var=False).confidence_interval(0.95)
    assert (lift.low, lift.high) == (pytest.approx(welch.low, abs=1e-9), pytest.approx(welch.high, abs=1e-9))


def test_one_episode_has_a_lift_and_no_interval() -> None:
    lift = skill_lift("a", [0.5], [0.1, 0.3])
    assert (lift.lift, lift.low, lift.high) == (pytest.approx(0.3), None, None)


def test_equal_episodes_have_an_interval_without_width() -> None:
    lift = skill_lift("a", [-0.5, -0.5], [0.5, 0.5])
    assert (lift.lift, lift.low, lift.high) == (-1.0, -1.0, -1.0)
