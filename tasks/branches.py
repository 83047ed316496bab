"""Runs that share a beginning: which settings hold where, what is stored, and how a branch begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError, IntegrityError
from sdar.schemas.lineage import BRANCH, RunRecord, StageRun
from sdar.storage import Store
from sdar.tasks import decide
from sdar.tasks.registry import STAGES, Place, evaluated, input_places, order


@dataclass(frozen=True)
class History:
    """A run and those that it branched from, the run itself first.

    `configs` and `points` belong to the runs: a run's settings hold from its point on, and everywhere when
    it is None. `stored` has the stage run of each place, its own ones before those of its ancestors.
    """

    runs: tuple[str, ...]
    configs: tuple[RunConfig, ...]
    points: tuple[Place | None, ...]
    stored: Mapping[Place, StageRun]

    def config(self, place: Place) -> RunConfig:
        """Return the settings under which a place is computed."""
        return self.configs[self._owner(place)]

    def inherited(self, place: Place) -> bool:
        """Say whether a place lies before the point where the run has branched."""
        return self._owner(place) > 0

    def input_places(self, place: Place) -> dict[str, Place]:
        """Return, by role, which stages' artifacts a place reads.

        A verdict is over what was evaluated as the settings of each round said: the last round of a run that
        was gone on with is one of them, whatever its number.
        """
        number, stage = place
        found = input_places(self.config(place), stage, number)
        if stage != "decide":
            return found
        earlier = ((n, "evaluate") for n in range(number) if evaluated(self.config((n, "evaluate")), n))
        others = {role: made for role, made in found.items() if made[1] != "evaluate"}
        latest = (number, "evaluate")
        return {f"{decide.EVALUATION}{made[0]}": made for made in (*earlier, latest)} | others

    def with_branch(self, config: RunConfig, point: Place) -> History:
        """Return the history that a branch with other settings from `point` on would have.

        Later stage runs are kept: they are what the branch is compared with.
        """
        return replace(
            self,
            runs=("", *self.runs),
            configs=(config, *self.configs),
            points=(point, *self.points),
        )

    def _owner(self, place: Place) -> int:
        for index, point in enumerate(self.points):
            if point is None or order(place) >= order(point):
                return index
        return len(self.points) - 1


def read_history(store: Store, run: RunRecord) -> History:
    """Return the history of a stored run."""
    runs = [run]
    while runs[-1].parent is not None and runs[-1].branch is not None:
        runs.append(store.run(runs[-1].parent))
    stored: dict[Place, StageRun] = {}
    limit: tuple[int, int] | None = None
    for record in runs:
        for stage_run in store.stage_runs(record.id):
            place = (stage_run.round, stage_run.stage)
            if place[1] in STAGES and (limit is None or order(place) < limit):
                stored.setdefault(place, stage_run)
        if record.branch is not None:
            limit = min(limit or order(record.branch), order(record.branch))
    return History(
        runs=tuple(record.id for record in runs),
        configs=tuple(RunConfig.model_validate(record.settings) for record in runs),
        points=tuple(record.branch for record in runs),
        stored=stored,
    )


def new_run(
    store: Store,
    config: RunConfig,
    now: datetime,
    parent: str | None = None,
    point: Place | None = None,
) -> RunRecord:
    """Return the record of a run that begins now, under an id that is not taken; nothing is stored.

    Args:
        store: the store that the run will be in.
        config: its settings.
        now: the present moment.
        parent: the run that it branches from.
        point: round and stage of the first stage that is its own.

    Raises:
        ConfigError: a thousand runs began in this second.
    """
    stem = f"{now:%Y%m%d-%H%M%S}-{config.method}-seed{config.seed}"
    taken = {run.id for run in store.runs()}
    names = (stem, *(f"{stem}-{number}" for number in range(2, 1000)))
    name = next((name for name in names if name not in taken), None)
    if name is None:
        raise ConfigError(f"run id {stem} is taken; wait a second and start again with `sdar run`")
    note = {BRANCH: {"round": point[0], "stage": point[1]}} if point else {}
    return RunRecord(
        id=name,
        created=now.isoformat(timespec="seconds"),
        method=config.method,
        seed=config.seed,
        config={**config.model_dump(mode="json"), **note},
        parent=parent,
    )


def begin_branch(
    store: Store, parent: RunRecord, config: RunConfig, point: Place, now: datetime
) -> RunRecord:
    """Store a run that shares everything before `point` with its parent, as it is; return its record.

    Where it begins is stored first and at once. An interruption afterwards loses nothing: what was not yet
    taken over is found in the parent when the branch goes on.
    """
    record = new_run(store, config, now, parent.id, point)
    store.begin_run(record)
    stored = read_history(store, record).stored
    store.take_over([stored[place] for place in sorted(stored, key=order)], record.id)
    return record


def files_there(store: Store, blob: str | None) -> bool:
    """Say whether the files of an artifact are in the store; an artifact without files has all of them."""
    if blob is None:
        return True
    try:
        store.blob(blob)
    except IntegrityError:
        return False
    return True
