"""Which skills of a bank are tried again, and which are retired: hand-made trials and a real round."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_runs import SmallRun, inputs_of, run_all, small_config

from sdar.schemas.config import DistillConfig
from sdar.schemas.records import SkillLift, SkillTrial
from sdar.skills.files import make_skill
from sdar.skills.writers import Candidate
from sdar.tasks.material import Book, read_material, trial_record
from sdar.tasks.recheck import LEAST_TASKS, find_suspects, harm, judge_again, past_trials, recheck
from sdar.tasks.tryout import Tryout

PLAY, GAP = DistillConfig(), DistillConfig(trial="gap")
LIFT = SkillLift(
    skill_id="a", successes=2, lift_success=0.0, failures=2, lift_failure=0.2, lift=-0.2, low=-0.3, high=-0.1
)


def tryout(turns: list[tuple[int, int]], most: int = 16) -> Tryout:
    """A trial by turns (without, with); `most` turns are a failure."""
    outcomes = tuple((before < most, after < most) for before, after in turns)
    return Tryout(outcomes, (), (), seed=0, turns=tuple(turns))


def stored(trial: Tryout, name: str = "a") -> SkillTrial:
    skill = make_skill(name, "d", "household", (), "b", "file")
    return trial_record(Candidate(skill, 0), "kept", "So it was.", trial.numbers())


def test_the_turns_of_a_trial() -> None:
    numbers = tryout([(4, 6), (5, 5), (6, 10)]).numbers()
    assert (numbers["turns_without"], numbers["turns_with"]) == (5.0, 7.0)
    # Differences 2, 0, 4: mean 2, deviation 2, t of 2 degrees at 99 % 9.924843: half 9.924843 * 2 / sqrt(3).
    assert numbers["turns_low"] == pytest.approx(2 - 11.460222, abs=1e-5)
    assert numbers["turns_high"] == pytest.approx(2 + 11.460222, abs=1e-5)
    assert tryout([(4, 6)]).numbers().get("turns_low") is None
    assert (tryout([]).harm(), tryout([(4, 6), (5, 5)]).harm()) == (0.0, 1.0)


@given(
    st.lists(st.tuples(st.integers(1, 16), st.integers(1, 16)), min_size=2, max_size=12),
    st.lists(st.tuples(st.integers(1, 16), st.integers(1, 16)), min_size=2, max_size=12),
    st.lists(st.tuples(st.integers(1, 16), st.integers(1, 16)), max_size=12),
)
@settings(max_examples=60, deadline=None)
def test_harm_over_several_trials_is_that_of_all_their_tasks(first: Any, second: Any, third: Any) -> None:
    pooled = harm([stored(tryout(first)), stored(tryout(second))], tryout(third))
    together = harm([], tryout([*first, *second, *third]))
    assert pooled is not None
    assert together is not None
    assert pooled.tasks == together.tasks == len(first) + len(second) + len(third)
    assert (pooled.mean, pooled.low, pooled.high) == pytest.approx(
        (together.mean, together.low, together.high), abs=1e-5
    )


def test_without_two_tasks_there_is_no_harm() -> None:
    assert harm([]) is None
    assert harm([stored(tryout([]))], tryout([(4, 6)])) is None


def test_a_skill_is_retired_for_proven_harm() -> None:
    slower, same = [(5, 8), (5, 9)] * 6, [(5, 5), (6, 6)] * 6
    worse, reason = judge_again(tryout(slower), None, PLAY)
    # Differences 3 and 4, six each: mean 3.5, deviation 0.522233, t of 11 degrees 3.105807.
    assert worse
    assert (
        "12 instead of 12 of 12 held-out tasks with it; over 12 tasks it costs +3.5 turns [+3.03, +3.97]"
        in (reason)
    )
    assert not judge_again(tryout(slower[: LEAST_TASKS - 1]), None, PLAY)[0]
    assert not judge_again(tryout(same), None, PLAY)[0]
    assert not judge_again(tryout([]), None, PLAY)[0]
    # Wins count as well as turns: here all episodes have all turns, and eight failed.
    lost = Tryout(tuple((True, at >= 8) for at in range(12)), (), (), 0, ((16, 16),) * 12)
    assert judge_again(lost, None, PLAY)[0]


def test_earlier_trials_count() -> None:
    mild = [(5, 5), (5, 7), (5, 9), (5, 4), (5, 8), (5, 6)]
    assert not judge_again(tryout(mild * 2), None, PLAY)[0]
    assert judge_again(tryout(mild * 2), None, PLAY, [stored(tryout(mild * 2))])[0]
    # And they count in favour of a skill that fares badly once.
    slower, faster = [(5, 8), (5, 9)] * 6, [(9, 5), (8, 5)] * 6
    assert not judge_again(tryout(slower), None, PLAY, [stored(tryout(faster))])[0]


def test_lift_decides_only_where_nothing_is_played() -> None:
    assert not judge_again(tryout([(5, 5)] * 12), LIFT, PLAY)[0]
    assert judge_again(tryout([]), LIFT, GAP)[0]
    assert not judge_again(tryout([]), LIFT.model_copy(update={"high": 0.0}), GAP)[0]
    assert not judge_again(tryout([]), LIFT.model_copy(update={"low": None, "high": None}), GAP)[0]
    assert not judge_again(tryout([]), None, GAP)[0]


@pytest.fixture(scope="module")
def played(policy_path: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    changes = {"distill": {"every": 1, "trial_tasks": 6, "recheck": 1, "writer": "none", "lift_sample": 2}}
    return run_all(tmp_path_factory.mktemp("played") / "store", small_config(policy_path, changes))


def test_those_never_tried_come_first_and_then_those_that_may_cost_most(
    played: SmallRun, tmp_path: Path
) -> None:
    inputs = inputs_of(played, "distill", 2, tmp_path)
    material, skills = read_material(inputs), played.store.skills(inputs.artifacts["bank"])
    used = {one.skill_id for context in material.contexts.values() for one in context.skills}
    mine = [skill for skill in skills if skill.id in used]
    assert len(mine) > 3
    a, b, c = mine[:3]
    past = {
        a.id: [stored(tryout([(5, 5), (6, 6)]))],
        b.id: [stored(tryout([(5, 5), (6, 9)]))],
        **{each.id: [stored(tryout([(9, 5), (9, 5)]))] for each in mine[3:]},
    }
    lift = {c.id: LIFT.model_copy(update={"skill_id": c.id})}
    found = find_suspects(inputs, material, Book(tuple(skills)), lift, past)
    assert [question.skill for question in found] == [c, b, a]  # recheck 1: three are screened
    for question in found:
        assert {skill.id for skill in question.having} - {skill.id for skill in question.lacking} == {
            question.skill.id
        }


def test_what_nobody_used_or_a_person_spared_is_not_tried(played: SmallRun, tmp_path: Path) -> None:
    inputs = inputs_of(played, "distill", 2, tmp_path)
    material, skills = read_material(inputs), played.store.skills(inputs.artifacts["bank"])
    used = {one.skill_id for context in material.contexts.values() for one in context.skills}
    idle = [skill for skill in skills if skill.id not in used]
    assert idle
    assert find_suspects(inputs, material, Book(tuple(idle)), {}, {}) == []
    spared = ", ".join(skill.name for skill in skills)
    distill = inputs.config.distill.model_copy(update={"restore": spared})
    config = inputs.config.model_copy(update={"distill": distill})
    kept = type(inputs)(**{**vars(inputs), "config": config})
    assert find_suspects(kept, material, Book(tuple(skills)), {}, {}) == []


def test_every_round_tries_other_skills_until_all_were_tried(played: SmallRun) -> None:
    first, second = (
        {trial.skill_id for trial in played.store.skill_trials(played.artifacts[number, "distill"])}
        for number in (1, 2)
    )
    assert first
    assert first.isdisjoint(second)
    past = past_trials(played.store, played.artifacts[2, "distill"])
    assert set(past) == first | second
    assert all(len(trials) == 1 for trials in past.values())


def test_a_screened_skill_is_tried_on_other_tasks_only_if_it_seems_to_hurt(
    played: SmallRun, tmp_path: Path
) -> None:
    trials = [t for n in (1, 2) for t in played.store.skill_trials(played.artifacts[n, "distill"])]
    for trial in trials:
        assert trial.verdict == "kept"
        assert trial.tasks <= (2 if trial.reason.startswith("Screened") else 8)
        if trial.tasks > 1:
            assert trial.turns_with is not None
            assert trial.turns_without is not None
            assert not math.isnan(trial.turns_with)
            assert trial.turns_with <= 4  # env.max_steps of this run


def test_a_bank_without_used_skills_is_left_alone(played: SmallRun, tmp_path: Path) -> None:
    inputs = inputs_of(played, "distill", 2, tmp_path)
    material = read_material(inputs)
    book, trials = recheck(inputs, material, Book(()), [])
    assert (book, trials) == (Book(()), [])
    assert np.isfinite(material.share)
