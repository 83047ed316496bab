"""TensorBoard's event files: one folder per run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path

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

    def written(self) -> set[tuple[str, int]]:
        """Return name and round of each figure that was there when the folder was opened."""
        return self._written

    def write(self, figures: Mapping[str, float], round: int, when: datetime) -> None:
        """Append the figures and hand them to the operating system."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, round, when.timestamp())
        self._writer.flush()

    def close(self, *, done: bool) -> None:
        """Close the file."""
        self._writer.close()


def _read(folder: Path) -> set[tuple[str, int]]:
    """Read the figures of earlier processes; the torn end of a killed one's file is left out."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not folder.is_dir():
        return set()
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return {(name, event.step) for name in found.Tags()["scalars"] for event in found.Scalars(name)}
