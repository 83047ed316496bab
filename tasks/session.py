"""One run in progress: executes stages, or finds them done, and remembers what they gave."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import torch

from sdar.rl.statistics import wilson_interval
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError, InputError
from sdar.schemas.keys import stage_key
from sdar.schemas.lineage import Artifact, RunRecord, RunStatus, StageRun, Summary
from sdar.schemas.records import Verdict
from sdar.schemas.seeds import derive_seed
from sdar.storage import Store
from sdar.tasks.registry import STAGES, Place, input_places, plan, policy_place
from sdar.tasks.stage import PolicyShelf, Stage, StageInputs, read_fields


class Clock(Protocol):
    """Tells the time; passed in so that no stage reads it."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds from an arbitrary start."""
        return time.monotonic()


@dataclass(frozen=True)
class StageReport:
    """What one execution of a stage gave; `reused` when it was found in the store."""

    stage: str
    round: int
    artifact_id: str
    reused: bool
    seconds: float
    summary: Mapping[str, float | str]


@dataclass
class Session:
    """A run and its store; stages are executed one by one, in the order of `plan`."""

    store: Store
    config: RunConfig
    run_id: str
    clock: Clock
    shelf: PolicyShelf
    known: dict[Place, StageRun] = field(default_factory=dict)
    done: dict[Place, StageRun] = field(default_factory=dict)
    artifacts: dict[Place, Artifact] = field(default_factory=dict)
    verdict: Verdict | None = None
    seconds_before: float = 0.0
    began: float = 0.0

    @classmethod
    def start(cls, store: Store, config: RunConfig, resume: str | None, clock: Clock) -> Session:
        """Begin a run, or go on with a stored one under its own configuration.

        Args:
            store: open for writing, inside `store.writer`.
            config: of a new run; ignored when one is resumed.
            resume: id of the run to go on with, `latest`, or None for a new run.
            clock: tells the time.

        Raises:
            InputError: there is no such run.
        """
        record = _resumed(store, resume) if resume else _new_run(store, config, clock)
        config = RunConfig.model_validate(record.config)
        store.begin_run(record)
        use_threads(config)
        known = {(stage.round, stage.stage): stage for stage in store.stage_runs(record.id)}
        return cls(
            store=store,
            config=config,
            run_id=record.id,
            clock=clock,
            shelf=PolicyShelf(store, config.policy.device),
            known=known,
            seconds_before=sum(stage.seconds for stage in known.values() if not stage.reused_from),
            began=clock.monotonic(),
        )

    def plan(self, round: int) -> tuple[str, ...]:
        """Return the names of a round's stages in order."""
        return plan(self.config, round)

    def execute(self, stage: str, round: int) -> StageReport:
        """Run one stage, or take its artifact from the store when the same inputs gave one before.

        Rows, files and the stage's status are stored together, or not at all.

        Raises:
            SdarError: whatever the stage or the store found wrong; nothing of the stage is stored.
        """
        spec, began, started = STAGES[stage], self.clock.monotonic(), self.clock.now()
        inputs = self._inputs(stage, round)
        fields = read_fields(self.config, spec)
        seed = derive_seed(self.config.seed, stage, round) if spec.seeded else 0
        stage_run = StageRun(
            run_id=self.run_id,
            round=round,
            stage=stage,
            key=stage_key(stage, spec.version, fields, inputs, seed),
            version=spec.version,
            config=fields,
            inputs=inputs,
            started=started.isoformat(timespec="milliseconds"),
            finished="",
            seconds=0.0,
        )
        artifact, reused = self._find(stage_run), True
        if artifact is None:
            artifact, reused = self._compute(spec, stage_run, seed, began), False
        else:
            self._reuse(stage_run, artifact, began)
        self.artifacts[round, stage] = artifact
        if stage == "decide":
            self.verdict = self.store.verdicts(artifact.id)[0]
        finished = self.done[round, stage]
        return StageReport(stage, round, artifact.id, reused, finished.seconds, finished.summary)

    def finish(self, status: RunStatus) -> None:
        """Record how the run ended."""
        self.store.finish_run(self.run_id, status)

    def minutes(self) -> float:
        """Return the run's wall time so far in minutes, earlier sessions of it included."""
        return (self.seconds_before + self.clock.monotonic() - self.began) / 60

    def best_policy_folder(self) -> Path | None:
        """Return the folder of the best policy by the panel, a Hugging Face model folder."""
        if self.verdict is None:
            return None
        blob = self.artifacts[policy_place(self.verdict.best_round)].blob
        return self.store.blob(blob) if blob else None

    def table(self) -> list[dict[str, Any]]:
        """Return one row of figures per round that has begun; shares come with their 95 % interval."""
        rounds = sorted({round_number for round_number, _ in self.done})
        return [self._row(round_number) for round_number in rounds]

    def _inputs(self, stage: str, round: int) -> dict[str, str]:
        places = input_places(self.config, stage, round)
        missing = [
            f"{name} of round {number}"
            for number, name in places.values()
            if (number, name) not in self.artifacts
        ]
        if missing:
            raise InputError(f"{stage} of round {round} needs {', '.join(missing)}; run these first")
        return {role: self.artifacts[place].id for role, place in places.items()}

    def _find(self, stage_run: StageRun) -> Artifact | None:
        mine = self.known.get((stage_run.round, stage_run.stage))
        if mine is not None and mine.key == stage_run.key and mine.artifact_id is not None:
            return self.store.artifact(mine.artifact_id)
        return self.store.find(stage_run.key)

    def _reuse(self, stage_run: StageRun, artifact: Artifact, began: float) -> None:
        place = (stage_run.round, stage_run.stage)
        mine = self.known.get(place)
        if mine is not None and mine.key == stage_run.key:
            self.done[place] = mine
            return
        finished = self._finished(stage_run, began, artifact.summary)
        self.store.reuse(finished, artifact)
        self.done[place] = finished

    def _compute(self, spec: Stage, stage_run: StageRun, seed: int, began: float) -> Artifact:
        with tempfile.TemporaryDirectory(prefix=f"sdar-{spec.name}-") as scratch:
            output = spec.run(self._stage_inputs(stage_run, seed, Path(scratch)))
            finished = self._finished(stage_run, began, output.summary)
            blob = self.store.put_blob(output.folder) if output.folder else None
            artifact = self.store.commit(finished, output.kind, output.rows, blob)
        self.done[stage_run.round, stage_run.stage] = finished
        return artifact

    def _stage_inputs(self, stage_run: StageRun, seed: int, scratch: Path) -> StageInputs:
        places = input_places(self.config, stage_run.stage, stage_run.round)
        blobs = {role: self.artifacts[place].blob for role, place in places.items()}
        return StageInputs(
            config=self.config,
            round=stage_run.round,
            seed=seed,
            store=self.store,
            shelf=self.shelf,
            artifacts=stage_run.inputs,
            blobs={role: blob for role, blob in blobs.items() if blob is not None},
            scratch=scratch,
            minutes=self.minutes(),
        )

    def _finished(self, stage_run: StageRun, began: float, summary: Summary) -> StageRun:
        return stage_run.model_copy(
            update={
                "finished": self.clock.now().isoformat(timespec="milliseconds"),
                "seconds": self.clock.monotonic() - began,
                "summary": summary,
            }
        )

    def _row(self, round: int) -> dict[str, Any]:
        stages = {name: run for (number, name), run in self.done.items() if number == round}
        figures: dict[str, Any] = {"round": round, "seconds": sum(run.seconds for run in stages.values())}
        if "evaluate" in stages:
            figures |= {name: stages["evaluate"].summary[name] for name in ("success", "low", "high")}
        if "collect" in stages:
            summary, count = (
                stages["collect"].summary,
                self.config.rollout.tasks * self.config.rollout.group_size,
            )
            interval = wilson_interval(round_half(float(summary["success"]) * count), count)
            tokens, seconds = float(summary["tokens"]), stages["collect"].seconds
            figures |= {
                "collected": summary["success"],
                "collected_low": interval.low,
                "collected_high": interval.high,
                "tokens_per_second": tokens / max(seconds, 1e-9),
            }
        if "score" in stages:
            figures |= {"gap": stages["score"].summary["gap"], "entropy": stages["score"].summary["entropy"]}
        if "update" in stages:
            figures |= {name: stages["update"].summary[name] for name in ("gate_share", "kl")}
        return figures


def use_threads(config: RunConfig) -> None:
    """Give torch the configured number of threads, by default as many as this process has cores."""
    torch.set_num_threads(config.policy.threads or len(os.sched_getaffinity(0)))


def round_half(value: float) -> int:
    """Return the nearest whole number."""
    return int(value + 0.5)


def _resumed(store: Store, resume: str) -> RunRecord:
    if resume != "latest":
        return store.run(resume).model_copy(update={"status": "running"})
    record = store.latest_run()
    if record is None:
        raise InputError(f"the store {store.path} has no run to resume; start one with `sdar run`")
    return record.model_copy(update={"status": "running"})


def _new_run(store: Store, config: RunConfig, clock: Clock) -> RunRecord:
    now = clock.now()
    stem = f"{now:%Y%m%d-%H%M%S}-{config.method}-seed{config.seed}"
    taken = {run.id for run in store.runs()}
    names = (stem, *(f"{stem}-{number}" for number in range(2, 1000)))
    name = next((name for name in names if name not in taken), None)
    if name is None:
        raise ConfigError(f"run id {stem} is taken; wait a second and start again")
    return RunRecord(
        id=name,
        created=now.isoformat(timespec="seconds"),
        method=config.method,
        seed=config.seed,
        config=config.model_dump(mode="json"),
    )
