"""Small, complete records and a store with one run, for the tests of this folder."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from sdar.schemas.lineage import RunRecord, StageRun, TokenPiece
from sdar.schemas.records import (
    Episode,
    PanelResult,
    PolicyRecord,
    Record,
    RetrievedSkill,
    SelfJudgement,
    Skill,
    SkillTrial,
    StopReason,
    TaskSpec,
    TeacherContext,
    TokenScores,
    Turn,
)
from sdar.storage import Store, open_store
from sdar.storage.rows import to_json

CONFIG: dict[str, Any] = {"sdar": {"gate": "gap", "beta": 5.0}}


def same(left: Any, right: Any) -> bool:
    """Deep equality that compares arrays by type and bytes."""
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()
    if isinstance(left, Record):
        return type(left) is type(right) and all(
            same(getattr(left, name), getattr(right, name)) for name in type(left).model_fields
        )
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def run(identity: str = "r1", config: dict[str, Any] = CONFIG, **changes: Any) -> RunRecord:
    fields = {"id": identity, "created": "2026-01-01T00:00:00", "method": "sdar", "seed": 0, "config": config}
    return RunRecord(**{**fields, **changes})


def stage(name: str, key: str | None = None, **changes: Any) -> StageRun:
    fields = {
        "run_id": "r1", "round": 1, "stage": name, "key": key or f"key-{name}", "version": 1, "config": {},
        "inputs": {}, "started": "2026-01-01T00:00:00", "finished": "2026-01-01T00:00:02", "seconds": 2.0,
    }  # fmt: skip
    return StageRun(**{**fields, **changes})


def task(identity: str = "t1") -> TaskSpec:
    return TaskSpec(
        id=identity, environment="household", split="train", type="pick", goal="take the mug", seed=2**62,
        payload={"rooms": [1, 2.5, None], "name": "küche"},
    )  # fmt: skip


def episode(identity: str = "e1", success: bool = True) -> Episode:
    """Prompt of 2 tokens, then actions at positions 2, 3 and 5."""
    turns = (
        Turn(index=0, observation="a room", action="go\n", reward=0.0, valid=True, start=2, end=4),
        Turn(index=1, observation="", action="take", reward=float(success), valid=False, start=5, end=6),
    )
    return Episode(
        id=identity, task_id="t1", task_type="pick", group=0, sample=1, seed=7, turns=turns, prompt_length=2,
        token_ids=[5, 6, 7, 8, 9, 10], action_mask=[False, False, True, True, False, True],
        sampler_logprobs=[0, 0, -0.1, -1e-30, 0, -3.3], episode_return=float(success), success=success,
        stop_reason=StopReason.SUCCESS if success else StopReason.MAX_STEPS,
        error=None if success else "it broke",
    )  # fmt: skip


def context(episode_id: str = "e1", skills: tuple[str, ...] = ("s1", "s2")) -> TeacherContext:
    found = tuple(
        RetrievedSkill(skill_id=name, score=0.5 - rank, rank=rank, tokens=3)
        for rank, name in enumerate(skills)
    )
    return TeacherContext(
        episode_id=episode_id, rule="embedding", query="mug", skills=found, block="do this",
        prompt_ids=[1, 2, 3], budget=160, tokens_used=6, tokens_cut=1,
    )  # fmt: skip


def scores(episode_id: str = "e1", gap: tuple[float, float, float] = (0.5, -1.0, 0.0)) -> TokenScores:
    student = np.array([-1.0, -2.0, -3.0], np.float32)
    return TokenScores(
        episode_id=episode_id, positions=[2, 3, 5], student=student,
        teacher=student + np.array(gap, np.float32), entropy=[0.25, 0.5, 1.0],
    )  # fmt: skip


def skill(identity: str) -> Skill:
    return Skill(
        id=identity, name=f"name of {identity}", description="d", environment="household", task_types=(),
        body="b", source="builtin", parents=("p",) if identity == "s2" else (),
    )  # fmt: skip


def trial(identity: str, verdict: str) -> SkillTrial:
    fields = skill(identity).model_dump(exclude={"id", "environment", "version"})
    counts = {"skill_id": identity, "support": 2, "contradictions": 1, "reason": "So it was."}
    return SkillTrial.model_validate({**fields, **counts, "verdict": verdict})


def judgement(episode_id: str, score: float) -> SelfJudgement:
    return SelfJudgement(
        episode_id=episode_id, verdicts=[score - 0.25, score + 0.25], score=score, consistency=0.75
    )


def policy() -> PolicyRecord:
    return PolicyRecord(
        id="p0", parent=None, method="starter", round=0, tokenizer_hash="tok", parameters=3_000_000_000
    )


def evaluation(with_skills: bool) -> PanelResult:
    return PanelResult(
        panel_id="panel", policy_id="p0", with_skills=with_skills, episodes=4, successes=1,
        success=0.75 if with_skills else 0.25, low=0.05, high=0.7, mean_return=0.25, mean_turns=5.5,
        by_type={"pick": (1, 4)},
    )  # fmt: skip


def pieces() -> list[TokenPiece]:
    return [TokenPiece(tokenizer_hash="tok", token_id=number, text=f"<{number}>") for number in range(5, 10)]


def child_environment() -> dict[str, str]:
    """Variables with which a child process imports what this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


_templates: dict[str, tempfile.TemporaryDirectory[str]] = {}


def filled(folder: Path, config: dict[str, Any] = CONFIG) -> Store:
    """A copy of the store that `_fill` makes; a copy takes a tenth of the time."""
    name = to_json(config)
    if name not in _templates:
        _templates[name] = tempfile.TemporaryDirectory()
        _fill(Path(_templates[name].name), config)
    shutil.copytree(_templates[name].name, folder, dirs_exist_ok=True)
    return open_store(folder)


def leave_log(database: Path) -> None:
    """Commit to a database as a process does that is killed before the change is in the file itself."""
    with duckdb.connect(database) as connection:
        connection.execute("PRAGMA disable_checkpoint_on_shutdown")
        connection.execute("INSERT INTO pin VALUES ('p', '')")


def _fill(folder: Path, config: dict[str, Any]) -> None:
    """Make a store with round 1 of run r1: two episodes, one success and one failure, scored with skills."""
    store = open_store(folder)
    episodes = [episode("e1"), episode("e2", success=False)]
    with store.writer("test"):
        store.begin_run(run(config=config))
        start = store.commit(
            stage("bootstrap", round=0), "start",
            {"policy": [policy()], "token_piece": pieces(), "skill": [skill("s1"), skill("s2")]},
        )  # fmt: skip
        made = store.commit(
            stage("collect", inputs={"policy": start.id}), "episodes", {"task": [task()], "episode": episodes}
        )
        used = store.commit(
            stage("retrieve"), "contexts", {"teacher_context": [context("e1"), context("e2", ("s2",))]}
        )
        store.commit(
            stage("score", inputs={"episodes": made.id, "contexts": used.id}),
            "scores",
            {"token_score": [scores("e1"), scores("e2", (-0.5, -0.5, -0.5))]},
        )
        store.commit(stage("evaluate"), "evaluation", {"evaluation": [evaluation(True), evaluation(False)]})
