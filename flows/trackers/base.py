"""Figures of finished stages for other programs' views of a run; nothing is written unless a folder is named.

They are read from the store after each stage and written once, whichever process did that: what a tracker has
already is left alone, and what a killed process did not come to write is made up for. Figures of a stage that
was computed again take the place of those before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from sdar.flows.improve import Report, Row, Watch
from sdar.schemas.config import LoggingConfig, RunConfig
from sdar.schemas.resolve import flatten

if TYPE_CHECKING:
    from sdar.schemas.lineage import StageRun
    from sdar.schemas.records import UpdateReport
    from sdar.storage import Store
    from sdar.tasks.session import Session

LOSSES = ("policy_loss", "distillation")
"""Parts of the loss that the figures of an update leave to its steps."""


class Tracker(Protocol):
    """One place that figures are written to, for one run."""

    def written(self) -> Mapping[tuple[str, int], int]:
        """Return by name and round the figures that are there, and of which moment, see `moment`."""
        ...

    def forget(self, round: int) -> None:
        """Make way for other figures of a round: `written` says which of it and of later ones are left."""
        ...

    def write(self, figures: Mapping[str, float], round: int, when: datetime) -> None:
        """Write the figures of one stage so that they last; `when` is the moment at which it ended."""
        ...

    def close(self, *, done: bool) -> None:
        """Write no more; `done` says whether the run came to its end."""
        ...


def require_trackers(config: LoggingConfig) -> None:
    """Do nothing if what the configuration asks for can be written.

    Raises:
        EnvironmentMissingError: a package is not installed; the message names the extra.
    """
    if config.tensorboard:
        from sdar.flows.trackers.tensorboard import require_tensorboard

        require_tensorboard()
    if config.mlflow:
        from sdar.flows.trackers.mlflow import require_mlflow

        require_mlflow()


@contextmanager
def tracking(store: Store, run_id: str, config: RunConfig) -> Iterator[Callable[[], None]]:
    """Provide what writes down every stage that a run has stored and that is not written yet.

    Args:
        store: holds the run.
        run_id: the run; it is looked up with the first stage.
        config: its settings, which say where to write; nowhere by default.

    Raises:
        EnvironmentMissingError: see `require_trackers`.
    """
    notes = [_Notes(tracker) for tracker in _open(run_id, config)]
    seen = set[tuple[int, str]]()

    def catch_up() -> None:
        stages = store.stage_runs(run_id) if notes else []
        if any([note.renew(stages) for note in notes]):
            seen.clear()
        for stage in stages:
            if (stage.round, stage.stage) not in seen:
                seen.add((stage.round, stage.stage))
                steps = store.updates(stage.artifact_id or "") if stage.stage == "update" else []
                figures, when = stage_figures(stage, steps), datetime.fromisoformat(stage.finished)
                for note in notes:
                    note.add(figures, stage.round, when)

    done = False
    try:
        yield catch_up
        done = True
    finally:
        for note in notes:
            note.tracker.close(done=done)


@contextmanager
def tracked(session: Session, watch: Watch) -> Iterator[Watch]:
    """Provide a watch that also writes to the trackers which a run's settings name; see `tracking`."""
    with tracking(session.store, session.run_id, session.config) as catch_up:
        yield _Tracked(watch, catch_up)


def stage_figures(stage: StageRun, updates: Sequence[UpdateReport]) -> dict[str, float]:
    """Return what is written about a finished stage: its numbers as `stage/name`, and `seconds/stage`.

    Args:
        stage: as the store has it. Seconds are left out where the result was taken from another run.
        updates: its optimiser steps, empty for other stages than `update`.

    Returns:
        Finite numbers by name; the loss parts of an update are means over the steps that were taken.
    """
    found: dict[str, Any] = {name: v for name, v in stage.summary.items() if not name.startswith("_")}
    taken = [step for step in updates if not step.skipped]
    found |= {name: float(np.mean([getattr(step, name) for step in taken])) for name in LOSSES if taken}
    figures = {f"{stage.stage}/{name}": value for name, value in found.items()}
    figures |= {} if stage.reused_from else {f"seconds/{stage.stage}": stage.seconds}
    return {
        name: value
        for name, value in figures.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def moment(when: datetime) -> int:
    """Return a moment in milliseconds since 1970, as exact as trackers keep it."""
    return int(when.timestamp() * 1000)


@dataclass
class _Notes:
    """A tracker, and what is known to be written there."""

    tracker: Tracker
    known: dict[tuple[str, int], int] = field(init=False)

    def __post_init__(self) -> None:
        self.known = dict(self.tracker.written())

    def renew(self, stages: Sequence[StageRun]) -> bool:
        """Make way for the figures of stages that were computed again since; say whether there are any."""
        latest: dict[tuple[str, int], int] = {}
        for (name, round), written in self.known.items():
            place = name.partition("/")[0], round
            latest[place] = max(written, latest.get(place, written))
        ends = {
            (stage.stage, stage.round): moment(datetime.fromisoformat(stage.finished)) for stage in stages
        }
        outdated = [place[1] for place, written in latest.items() if written < ends.get(place, written)]
        if outdated:
            self.tracker.forget(min(outdated))
            self.known = dict(self.tracker.written())
        return bool(outdated)

    def add(self, figures: Mapping[str, float], round: int, when: datetime) -> None:
        """Write what is not there yet."""
        ended = moment(when)
        new = {name: value for name, value in figures.items() if self.known.get((name, round), -1) < ended}
        if new:
            self.tracker.write(new, round, when)
            self.known |= {(name, round): ended for name in new}


@dataclass(frozen=True)
class _Tracked:
    """Follows a run for another watch, and writes down what is stored."""

    watch: Watch
    catch_up: Callable[[], None]

    def started(self, stage: str, round: int) -> None:
        """Pass it on."""
        self.watch.started(stage, round)

    def finished(self, report: Report, table: Sequence[Row]) -> None:
        """Pass it on, then write."""
        self.watch.finished(report, table)
        self.catch_up()


def _open(run_id: str, config: RunConfig) -> list[Tracker]:
    require_trackers(config.logging)
    found = list[Tracker]()
    if config.logging.tensorboard:
        from sdar.flows.trackers.tensorboard import TensorBoard

        found.append(TensorBoard(Path(config.logging.tensorboard) / run_id))
    if config.logging.mlflow:
        from sdar.flows.trackers.mlflow import open_mlflow

        settings = flatten(config.model_dump(mode="json"))
        found.append(open_mlflow(Path(config.logging.mlflow), run_id, settings))
    return found
