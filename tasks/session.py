"""One run in progress: executes stages, or finds them done, and remembers what they gave."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import torch

from sdar.envs.workers import use_workers
from sdar.rl.rewards import check_reward
from sdar.rl.statistics import wilson_interval
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import InputError
from sdar.schemas.keys import stage_key
from sdar.schemas.lineage import Artifact, RunRecord, RunStatus, StageRun, Summary
from sdar.schemas.machine import cores
from sdar.schemas.records import Verdict
from sdar.storage import Store
from sdar.storage.news import News, told
from sdar.tasks.branches import History, files_there, new_run, read_history
from sdar.tasks.engine import check_engine
from sdar.tasks.ranks import check_devices
from sdar.tasks.registry import STAGES, Place, plan, policy_place
from sdar.tasks.shards import BatchMap
from sdar.tasks.stage import (
    SOURCE,
    PolicyShelf,
    StageInputs,
    base_folder,
    read_fields,
    shown,
    source_hash,
    stage_seed,
)


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
    """What one execution of a stage gave.

    `reused` says that it was found in the store under `key`, and `origin` names the run that computed it.
    """

    stage: str
    round: int
    artifact_id: str
    reused: bool
    seconds: float
    summary: Mapping[str, float | str]
    key: str = ""
    origin: str = ""


@dataclass
class Session:
    """A run and its store; stages are executed one by one, in the order of `plan`.

    `known` is what the run had when the session began, `done` what the session executed; `mapper` is who does
    batches of a stage's work, this process by default.
    """

    store: Store
    config: RunConfig
    run_id: str
    clock: Clock
    shelf: PolicyShelf
    history: History
    known: dict[Place, StageRun] = field(default_factory=dict)
    done: dict[Place, StageRun] = field(default_factory=dict)
    artifacts: dict[Place, Artifact] = field(default_factory=dict)
    verdict: Verdict | None = None
    seconds_before: float = 0.0
    began: float = 0.0
    mapper: BatchMap | None = None

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
            EnvironmentMissingError, ConfigError: its engine is not there, or cannot run its policy.
        """
        record = new_run(store, config, clock.now()) if resume is None else _resumed(store, resume)
        history = read_history(store, record)
        config = history.configs[0]
        check_engine(config)
        check_reward(config)  # a missing one is told before the run begins
        check_devices(config.policy)
        store.begin_run(record)
        use_threads(config)
        use_workers(config.workers)
        own = [stage for stage in history.stored.values() if stage.run_id == record.id]
        return cls(
            store=store,
            config=config,
            run_id=record.id,
            clock=clock,
            shelf=PolicyShelf(store, config.policy.device),
            history=history,
            known=dict(history.stored),
            seconds_before=sum(stage.seconds for stage in own if not stage.reused_from),
            began=clock.monotonic(),
        )

    def plan(self, round: int) -> tuple[str, ...]:
        """Return the names of a round's stages in order."""
        return plan(self.config, round)

    def execute(self, stage: str, round: int, *, force: bool = False) -> StageReport:
        """Run one stage, or take its artifact from the store when the same inputs gave one before.

        Inputs that this session did not execute are those that the run has stored. Rows, files and the
        stage's status are stored together, or not at all.

        Args:
            stage: name of the stage.
            round: its round.
            force: run it in any case.

        Raises:
            SdarError: whatever the stage or the store found wrong; nothing of the stage is stored.
        """
        began = self.clock.monotonic()
        stage_run = self._planned(stage, round)
        artifact = None if force else self._find(stage_run)
        reused = artifact is not None
        if artifact is None:
            if self._restore_inputs(stage_run):
                stage_run = self._planned(stage, round)
            artifact = self._compute(stage_run, began)
        else:
            self._reuse(stage_run, artifact, began)
        self.artifacts[round, stage] = artifact
        if stage == "decide":
            self.verdict = self._verdict(artifact, round)
        finished = self.done[round, stage]
        return StageReport(
            stage,
            round,
            artifact.id,
            reused,
            finished.seconds,
            shown(finished.summary),
            finished.key,
            finished.reused_from or self.run_id,
        )

    def recall(self, first: int) -> None:
        """Take what the run has of the rounds before `first` as it is, whether it still holds or not."""
        self.done |= {place: made for place, made in self.known.items() if place[0] < first}

    def finish(self, status: RunStatus) -> None:
        """Record how the run ended."""
        self.store.finish_run(self.run_id, status)

    def minutes(self) -> float:
        """Return the run's wall time so far in minutes, earlier sessions of it included."""
        return (self.seconds_before + self.clock.monotonic() - self.began) / 60

    def best_policy_folder(self) -> Path | None:
        """Return the folder of the best policy by the panel, a Hugging Face model folder.

        None where its files are an adapter alone, or there is no verdict.
        """
        if self.verdict is None:
            return None
        made = self.done[policy_place(self.verdict.best_round)].artifact_id
        blob = self.store.artifact(made).blob if made else None
        return self.store.blob(blob) if blob and base_folder(self.store, blob) is None else None

    def table(self) -> list[dict[str, Any]]:
        """Return one row of figures per round that has begun; shares come with their 95 % interval.

        Seconds are those of stages that this run computed, as in the view `round_summary`.
        """
        rounds = sorted({round_number for round_number, _ in self.done})
        return [self._row(round_number) for round_number in rounds]

    def _planned(self, stage: str, round: int) -> StageRun:
        """Return the stage run as far as it is known before anything is computed."""
        spec, config, started = STAGES[stage], self.history.config((round, stage)), self.clock.now()
        inputs, fields = self._inputs(stage, round), read_fields(config, spec)
        return StageRun(
            run_id=self.run_id,
            round=round,
            stage=stage,
            key=stage_key(stage, spec.version, fields, inputs, stage_seed(config, spec, round)),
            version=spec.version,
            config=fields,
            inputs=inputs,
            started=started.isoformat(timespec="milliseconds"),
            finished="",
            seconds=0.0,
        )

    def _input_places(self, stage: str, round: int) -> dict[str, Place]:
        return self.history.input_places((round, stage))

    def _inputs(self, stage: str, round: int) -> dict[str, str]:
        places = self._input_places(stage, round)
        for place in places.values():
            made = self.known.get(place)
            if place not in self.artifacts and made is not None and made.artifact_id is not None:
                self.artifacts[place] = self.store.artifact(made.artifact_id)
        missing = [
            f"{place[1]} of round {place[0]}" for place in places.values() if place not in self.artifacts
        ]
        if missing:
            raise InputError(
                f"{stage} of round {round} needs {', '.join(missing)}; "
                f"run these first with `sdar run --resume {self.run_id} --store {self.store.path}`"
            )
        return {role: self.artifacts[place].id for role, place in places.items()}

    def _restore_inputs(self, stage_run: StageRun) -> bool:
        """Compute again whatever lost its files, for instance to a prune; say whether that was needed."""
        if not STAGES[stage_run.stage].files:
            return False
        places = self._input_places(stage_run.stage, stage_run.round).values()
        lost = [place for place in places if not files_there(self.store, self.artifacts[place].blob)]
        for place in lost:
            self.execute(place[1], place[0], force=True)
        return bool(lost)

    def _find(self, stage_run: StageRun) -> Artifact | None:
        mine = self.known.get((stage_run.round, stage_run.stage))
        if mine is not None and mine.key == stage_run.key and mine.artifact_id is not None:
            return self.store.artifact(mine.artifact_id)
        return self.store.find(stage_run.key)

    def _reuse(self, stage_run: StageRun, artifact: Artifact, began: float) -> None:
        place = (stage_run.round, stage_run.stage)
        mine = self.known.get(place)
        if mine is not None and mine.key == stage_run.key and mine.run_id == self.run_id:
            self.done[place] = mine
            return
        self.done[place] = self.store.reuse(self._finished(stage_run, began, artifact.summary), artifact)

    def _compute(self, stage_run: StageRun, began: float) -> Artifact:
        spec = STAGES[stage_run.stage]
        with told(self.store.path, self._news(stage_run)), self.store.scratch() as scratch:
            output = spec.run(self._stage_inputs(stage_run, scratch))
            summary: Summary = {**output.summary, SOURCE: source_hash(spec)}
            finished = self._finished(stage_run, began, summary)
            blob = self.store.put_blob(output.folder) if output.folder else None
            artifact = self.store.commit(finished, output.kind, output.rows, blob)
        stored = finished.model_copy(update={"artifact_id": artifact.id, "status": "done"})
        self.done[stage_run.round, stage_run.stage] = stored
        return artifact

    def _news(self, stage_run: StageRun) -> News:
        return News(
            run_id=self.run_id,
            round=stage_run.round,
            rounds=self.config.stop.rounds,
            stage=stage_run.stage,
            plan=self.plan(stage_run.round),
            began=stage_run.started,
        )

    def _verdict(self, artifact: Artifact, round: int) -> Verdict:
        verdict = self.store.verdicts(artifact.id)[0]
        if self.history.inherited((round, "decide")):
            return verdict.model_copy(update={"stop": False})  # a branch goes on where its parent stopped
        return verdict

    def _stage_inputs(self, stage_run: StageRun, scratch: Path) -> StageInputs:
        places = self._input_places(stage_run.stage, stage_run.round)
        config = self.history.config((stage_run.round, stage_run.stage))
        blobs = {role: self.artifacts[place].blob for role, place in places.items()}
        return StageInputs(
            config=config,
            round=stage_run.round,
            seed=stage_seed(config, STAGES[stage_run.stage], stage_run.round),
            store=self.store,
            shelf=self.shelf,
            artifacts=stage_run.inputs,
            blobs={role: blob for role, blob in blobs.items() if blob is not None},
            scratch=scratch,
            minutes=self.minutes(),
            mapper=self.mapper,
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
        computed = [run.seconds for run in stages.values() if not run.reused_from]
        figures: dict[str, Any] = {"round": round, "seconds": sum(computed)}
        if "evaluate" in stages:
            figures |= {name: stages["evaluate"].summary[name] for name in ("success", "low", "high")}
        if "collect" in stages:
            summary, rollout = stages["collect"].summary, self.history.config((round, "collect")).rollout
            # Older stores do not say how many episodes there were; then it is what the settings ask for.
            count = int(summary.get("episodes", rollout.tasks * rollout.group_size))
            interval = wilson_interval(round_half(float(summary["success"]) * count), count)
            figures |= {
                "collected": summary["success"],
                "collected_low": interval.low,
                "collected_high": interval.high,
            }
            if not stages["collect"].reused_from:  # else the seconds are those of looking it up
                seconds = max(stages["collect"].seconds, 1e-9)
                figures["tokens_per_second"] = float(summary["tokens"]) / seconds
        if "score" in stages:
            figures |= {"gap": stages["score"].summary["gap"], "entropy": stages["score"].summary["entropy"]}
        if "update" in stages:
            learnt = stages["update"].summary  # without these where every step was skipped
            figures |= {name: learnt[name] for name in ("gate_mean", "gate_share", "drift") if name in learnt}
        warnings = [str(run.summary["warnings"]) for run in stages.values() if run.summary.get("warnings")]
        return figures | ({"warnings": " ".join(warnings)} if warnings else {})


def use_threads(config: RunConfig) -> None:
    """Give torch the configured number of threads, by default as many as this process has cores."""
    torch.set_num_threads(config.policy.threads or cores())


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
