"""Runs of two small rounds with the real stages and a real store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sdar.schemas.config import RunConfig
from sdar.schemas.seeds import derive_seed
from sdar.storage import Store, open_store
from sdar.tasks.registry import STAGES, input_places
from sdar.tasks.session import Session, StageReport
from sdar.tasks.stage import PolicyShelf, StageInputs


@dataclass
class SteppingClock:
    """Every look at it is one second later, so that stored times are alike on every machine."""

    seconds: float = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        self.seconds += 1.0
        return self.seconds


@dataclass(frozen=True)
class SmallRun:
    """A run that went through: its store, its session as it ended, and one report per stage."""

    store: Store
    session: Session
    reports: list[StageReport]

    @property
    def artifacts(self) -> dict[tuple[int, str], str]:
        return {(report.round, report.stage): report.artifact_id for report in self.reports}


def small_config(
    policy: Path, changes: Mapping[str, Mapping[str, Any]] | None = None, seed: int = 0
) -> RunConfig:
    """Two rounds of two tasks with two episodes of at most four actions; the second is evaluated."""
    values: dict[str, dict[str, Any]] = {
        "env": {"max_steps": 4},
        "policy": {"path": str(policy), "threads": 1},
        "rollout": {"tasks": 2, "group_size": 2},
        # No episode succeeds: the penalty gives the policy loss something to learn from.
        "advantage": {"invalid_penalty": 0.5},
        "update": {"minibatch": 2},
        "evaluation": {"panel_size": 8, "every": 2},
        "stop": {"rounds": 2, "patience": 3, "floor": 0.0},
    }
    for section, fields in (changes or {}).items():
        values.setdefault(section, {}).update(fields)
    return RunConfig.model_validate({"seed": seed, **values})


def start(path: Path, config: RunConfig, resume: str | None = None) -> tuple[Store, Session]:
    """A session; its store must be written to inside `store.writer`."""
    store = open_store(path)
    with store.writer("test"):
        return store, Session.start(store, config, resume, SteppingClock())


def run_all(path: Path, config: RunConfig, resume: str | None = None) -> SmallRun:
    """Run all rounds, as the flow does."""
    store, session = start(path, config, resume)
    reports = []
    with store.writer("test"):
        for number in range(config.stop.rounds + 1):
            reports += [session.execute(stage, number) for stage in session.plan(number)]
            if session.verdict is not None and session.verdict.stop:
                break
        session.finish("done")
    return SmallRun(store, session, reports)


LEARNING = ("collect", "retrieve", "score", "update")


def learn(path: Path, config: RunConfig, rounds: int, stages: Sequence[str] = LEARNING) -> SmallRun:
    """Run the learning stages alone, without panel and evaluations; unplanned ones are left out."""
    store, session = start(path, config)
    with store.writer("test"):
        reports = [session.execute(stage, 0) for stage in ("bootstrap", "bank")]
        for number in range(1, rounds + 1):
            planned = [stage for stage in session.plan(number) if stage in stages]
            reports += [session.execute(stage, number) for stage in planned]
    return SmallRun(store, session, reports)


def inputs_of(run: SmallRun, stage: str, number: int, scratch: Path) -> StageInputs:
    """What a stage of a finished run was given, to call its function once more."""
    config, store = run.session.config, run.store
    artifacts = {role: run.artifacts[place] for role, place in input_places(config, stage, number).items()}
    blobs = {role: store.artifact(artifact).blob for role, artifact in artifacts.items()}
    return StageInputs(
        config=config,
        round=number,
        seed=derive_seed(config.seed, stage, number) if STAGES[stage].seeded else 0,
        store=store,
        shelf=PolicyShelf(store, "cpu"),
        artifacts=artifacts,
        blobs={role: blob for role, blob in blobs.items() if blob is not None},
        scratch=scratch,
    )
