"""TensorBoard's event files: one folder per run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sdar.flows.trackers.base import moment
from sdar.schemas.errors import EnvironmentMissingError, InputError


def require_tensorboard() -> None:
    """Do nothing if TensorBoard is installed, else raise `EnvironmentMissingError`."""
    if find_spec("tensorboard") is None:
        raise EnvironmentMissingError(
            "logging.tensorboard needs the package tensorboard, which is not installed. "
            "Next: pip install 'sdar[tensorboard]', or leave the setting empty"
        )


class TensorBoard:
    """Scalars of one run, in the folder that `tensorboard --logdir` shows; see `base.Tracker`."""

    def __init__(self, folder: Path) -> None:
        """Open the folder of a run for more figures.

        Args:
            folder: made where there is none.

        Raises:
            InputError: it cannot be written to.
        """
        from torch.utils.tensorboard import SummaryWriter

        self._written = _read(folder)
        try:
            self._writer = SummaryWriter(str(folder))
        except OSError as error:
            raise InputError(
                f"logging.tensorboard: cannot write to {folder} ({error}). Allowed: a folder that you may "
                "write to"
            ) from error

    def written(self) -> dict[tuple[str, int], int]:
        """Return name, round and moment of each figure in the folder."""
        return self._written

    def forget(self, round: int) -> None:
        """Have TensorBoard drop what the files hold of this round and of later ones."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        again = Event(session_log=SessionLog(status=SessionLog.START))
        file: Any = self._writer.file_writer
        file.add_event(again, step=round)
        self._written = {place: when for place, when in self._written.items() if place[1] < round}

    def write(self, figures: Mapping[str, float], round: int, when: datetime) -> None:
        """Append the figures and hand them to the operating system."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, round, when.timestamp())
            self._written[name, round] = moment(when)
        self._writer.flush()

    def close(self, *, done: bool) -> None:
        """Close the file."""
        self._writer.close()


def _read(folder: Path) -> dict[tuple[str, int], int]:
    """Read the figures of earlier processes; the torn end of a killed one's file is left out."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not folder.is_dir():
        return {}
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    events = ((name, event) for name in found.Tags()["scalars"] for event in found.Scalars(name))
    return {(name, event.step): int(event.wall_time * 1000) for name, event in events}
