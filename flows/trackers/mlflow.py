"""MLflow's tracking store: an SQLite file in a folder, without a server."""

from __future__ import annotations

import fcntl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sdar.flows.trackers.base import moment
from sdar.schemas.errors import EnvironmentMissingError, InputError

EXPERIMENT = "sdar"
TAG = "sdar.run"
DATABASE = "mlflow.db"
LOCK = "mlflow.lock"
_LONGEST = 500
"""Characters of a setting that are written; MLflow refuses very long ones."""


def require_mlflow() -> None:
    """Do nothing if MLflow and what its SQLite store needs are installed, else raise."""
    missing = [name for name in ("mlflow", "sqlalchemy", "alembic") if find_spec(name) is None]
    if missing:
        raise EnvironmentMissingError(
            f"logging.mlflow needs the package {missing[0]}, which is not installed. "
            "Next: pip install 'sdar[mlflow]', or leave the setting empty"
        )


@dataclass(frozen=True)
class MLflow:
    """Metrics of one run, with the round as step; see `base.Tracker`."""

    client: Any
    id: str

    def written(self) -> dict[tuple[str, int], int]:
        """Return name and round of each figure in the file, and the moment of the last one."""
        found: dict[tuple[str, int], int] = {}
        for name in self.client.get_run(self.id).data.metrics:
            for metric in self.client.get_metric_history(self.id, name):
                found[name, metric.step] = max(metric.timestamp, found.get((name, metric.step), 0))
        return found

    def forget(self, round: int) -> None:
        """Leave all as it is: MLflow takes no figure away, and shows the later one of a round last."""

    def write(self, figures: Mapping[str, float], round: int, when: datetime) -> None:
        """Store the figures of a stage in one transaction."""
        from mlflow.entities import Metric

        ended = moment(when)
        self.client.log_batch(self.id, [Metric(name, v, ended, round) for name, v in figures.items()])

    def close(self, *, done: bool) -> None:
        """Record how the run ended."""
        self.client.set_terminated(self.id, "FINISHED" if done else "KILLED")


def open_mlflow(folder: Path, run_id: str, settings: Mapping[str, Any]) -> MLflow:
    """Open the run of this name in a folder's tracking store, and make what is missing of them.

    Args:
        folder: made where there is none.
        run_id: name of the run.
        settings: by dotted path, written as its parameters when it is made.

    Raises:
        InputError: the folder or the file in it cannot be used.
    """
    from mlflow.exceptions import MlflowException

    place = folder.resolve()
    try:
        place.mkdir(parents=True, exist_ok=True)
        with (place / LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two runs of a study would both make the tables
            return _open_run(place, run_id, settings)
    except (OSError, MlflowException) as error:
        raise InputError(
            f"logging.mlflow: cannot use {place / DATABASE} ({error}). Allowed: a folder that you may "
            "write to"
        ) from error


def _open_run(place: Path, run_id: str, settings: Mapping[str, Any]) -> MLflow:
    from mlflow.entities import Param
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{place / DATABASE}")
    known = client.get_experiment_by_name(EXPERIMENT)
    files = (place / "artifacts").as_uri()  # else a folder where the program happens to run
    experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT, files)
    runs = client.search_runs([experiment], f"tags.`{TAG}` = '{run_id}'")
    if runs:
        client.update_run(runs[0].info.run_id, "RUNNING")
        return MLflow(client, runs[0].info.run_id)
    made = client.create_run(experiment, run_name=run_id, tags={TAG: run_id}).info.run_id
    told = [Param(name, str(value)[:_LONGEST]) for name, value in settings.items()]
    for start in range(0, len(told), 100):  # the most that it takes at once
        client.log_batch(made, params=told[start : start + 100])
    return MLflow(client, made)
