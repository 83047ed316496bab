"""Runs that go on from one another: a continuation is a branch that only runs longer than its parent."""

from __future__ import annotations

from collections.abc import Sequence

from sdar.schemas.config import RunConfig
from sdar.schemas.lineage import RunRecord


def newest(runs: Sequence[RunRecord], run: RunRecord) -> RunRecord:
    """Return the last of the runs that went on from `run`; branches with other settings do not count."""
    later = [each for each in runs if each.parent == run.id and _continues(each, run)]
    return newest(runs, later[-1]) if later else run


def unfinished(runs: Sequence[RunRecord], run: RunRecord) -> bool:
    """Say whether a run is a continuation that was stopped before its end."""
    parents = [each for each in runs if each.id == run.parent]
    return run.status != "done" and any(_continues(run, parent) for parent in parents)


def _continues(run: RunRecord, parent: RunRecord) -> bool:
    return run.branch is not None and _but_length(run) == _but_length(parent)


def _but_length(run: RunRecord) -> RunConfig:
    config = RunConfig.model_validate(run.settings)
    return config.model_copy(update={"stop": config.stop.model_copy(update={"rounds": 0})})
