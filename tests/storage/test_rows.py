"""Rows come back as they went in, and equal rows have equal ids."""

from __future__ import annotations

import math
import time

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_samples import (
    context,
    episode,
    evaluation,
    judgement,
    pieces,
    policy,
    same,
    scores,
    skill,
    task,
    trial,
)

from sdar.schemas.errors import IntegrityError
from sdar.schemas.records import (
    BankVersion,
    Comparison,
    Record,
    Selection,
    SkillLift,
    SkillStat,
    SkillState,
    TokenScores,
    UpdateReport,
    Verdict,
)
from sdar.storage import ROW_NAMES, artifact_id
from sdar.storage.migrate import migrate
from sdar.storage.rows import insert_rows, select_rows

STEP = UpdateReport(
    step=0, loss=math.pi, policy_loss=1e-300, distillation=-0.0, kl=float("nan"), drift=0.0,
    entropy=float("inf"), clip_share=0.1, ratio_mean=1.0, gate_mean=0.5, gate_share=0.5,
    coefficient=10.0, gap_mean=0.1, gap_std=0.2, gradient_norm=1.0, skipped=False, tokens=12,
)  # fmt: skip
GAIN = Comparison(before="p0", after="p1", difference=0.1, low=0.1 + 0.2, high=0.3, verdict="better")
VERDICT = Verdict(
    round=1, stop=False, reason="continue", sentence="On.", best_policy="p1", best_round=1, best_success=0.5
)
RECORDS: dict[str, list[Record]] = {
    "task": [task("t2"), task("t1")],
    "panel": [task("t9"), task("t3")],
    "episode": [episode("e9"), episode("e1", success=False), episode("e5").model_copy(update={"turns": ()})],
    "teacher_context": [context("e9"), context("e1", ())],
    "token_score": [
        scores("e9"),
        TokenScores(episode_id="e1", positions=[], student=[], teacher=[], entropy=[]),
    ],
    "self_judgement": [judgement("e9", 0.25), judgement("e1", -0.5)],
    "selection": [
        Selection(episode_id="e9", kept=True, reason=""),
        Selection(episode_id="e1", kept=False, reason="It did not succeed."),
    ],
    "skill": [skill("s2"), skill("s1")],
    "skill_stat": [
        SkillStat(skill_id="s2", uses=3, successes=2, gap_success=0.1 + 0.2, failures=1, gap_failure=-1e-300),
        SkillStat(skill_id="s1", uses=0, successes=0, gap_success=0.0, failures=0, gap_failure=0.0),
    ],
    "skill_state": [
        SkillState(skill_id="s2", evidence=("e1", "e9"), retired=True, reason="It hurts."),
        SkillState(skill_id="s1", evidence=(), retired=False, reason=""),
    ],
    "skill_trial": [
        trial("s2", "refused"),
        trial("s1", "admitted").model_copy(
            update={"difference": 0.1 + 0.2, "turns_with": 3.5, "turns_high": -0.1, "lift_success": -1e-300}
        ),
    ],
    "skill_lift": [
        SkillLift(
            skill_id=name,
            successes=2,
            lift_success=0.1,
            failures=1,
            lift_failure=-0.1,
            lift=0.2,
            low=low,
            high=low,
        )
        for name, low in (("s2", None), ("s1", 0.1 + 0.2))
    ],
    "bank_version": [BankVersion(parent="a0", round=2, skills=3, retired=1)],
    "policy": [policy()],
    "evaluation": [evaluation(True), evaluation(False)],
    "verdict": [VERDICT, VERDICT.model_copy(update={"last_gain": GAIN})],
    "comparison": [GAIN],
    "token_piece": pieces(),
    "update_step": [STEP.model_copy(update={"kl": 0.0}), STEP.model_copy(update={"kl": 0.1 + 0.2})],
}


@pytest.fixture(scope="module")
def database():
    with duckdb.connect() as connection:
        migrate(connection)
        yield connection


def test_every_table_has_an_example():
    assert set(RECORDS) == set(ROW_NAMES)


@pytest.mark.parametrize("name", ROW_NAMES)
def test_round_trip(database, name):
    insert_rows(database, "other", name, RECORDS[name][:1])
    insert_rows(database, "this", name, RECORDS[name])
    assert same(select_rows(database, "this", name), RECORDS[name])


def test_nan_survives(database):
    insert_rows(database, "nan", "update_step", [STEP])
    (found,) = select_rows(database, "nan", "update_step")
    assert math.isnan(found.kl)
    assert found.entropy == math.inf
    assert math.copysign(1, found.distillation) == -1


@settings(max_examples=25)
@given(st.lists(st.lists(st.floats(width=32), max_size=5), min_size=1, max_size=4))
def test_float32_is_bit_equal(database, rows):
    records = [
        TokenScores(episode_id=f"e{i}", positions=range(len(row)), student=row, teacher=row, entropy=row)
        for i, row in enumerate(rows)
    ]
    database.execute("DELETE FROM token_score WHERE artifact_id = 'bits'")
    insert_rows(database, "bits", "token_score", records)
    found = select_rows(database, "bits", "token_score")
    assert [item.student.tobytes() for item in found] == [item.student.tobytes() for item in records]


def test_wrong_records_are_refused(database):
    with pytest.raises(IntegrityError, match="must be Skill, found TaskSpec"):
        insert_rows(database, "bad", "skill", [task()])
    with pytest.raises(IntegrityError, match="id e1 occurs twice"):
        insert_rows(database, "bad", "episode", [episode("e1"), episode("e1")])


def test_artifact_id_depends_on_content_only():
    rows = {"episode": [episode("e1"), episode("e2")], "task": [task()]}
    same_rows = {"task": [task()], "skill": [], "episode": [episode("e1"), episode("e2")]}
    assert artifact_id("episodes", rows, None) == artifact_id("episodes", same_rows, None)
    changed = episode("e2").model_copy(
        update={"sampler_logprobs": np.nextafter(episode().sampler_logprobs, 1)}
    )
    others = [
        artifact_id("other", rows, None),
        artifact_id("episodes", rows, "blob"),
        artifact_id("episodes", {"episode": rows["episode"][::-1], "task": [task()]}, None),
        artifact_id("episodes", {"episode": [episode("e1"), changed], "task": [task()]}, None),
    ]
    assert len({artifact_id("episodes", rows, None), *others}) == 5


def test_artifact_id_is_fast_enough_for_a_round():
    long = np.arange(300)
    row = episode().model_copy(
        update={"token_ids": long, "action_mask": long > 1, "sampler_logprobs": long / 7}
    )
    rows = {"episode": [row.model_copy(update={"id": f"e{i}", "turns": row.turns * 8}) for i in range(128)]}
    began = time.perf_counter()
    artifact_id("episodes", rows, None)
    assert time.perf_counter() - began < 1.0
