"""What the user sees when something fails: one message, and for a bug the place of the traceback."""

from __future__ import annotations

import tempfile
import time
import traceback
from pathlib import Path

from sdar.schemas.errors import SdarError


class UnexpectedError(SdarError, RuntimeError):
    """A failure that the code did not foresee; the message says where its traceback is."""

    def __init__(self, error: BaseException, log: Path) -> None:
        reason = " ".join(str(error).split()) or "no message"
        super().__init__(
            f"unexpected {type(error).__name__}: {reason}. This is a bug; its traceback is in {log}."
        )


def keep_traceback(error: BaseException, folder: Path | None = None) -> Path:
    """Write the traceback to a file in `folder`, or in the temporary folder, and return its path."""
    text = "".join(traceback.format_exception(error))
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}.log"
    for place in (folder, Path(tempfile.gettempdir())):
        try:
            if place is not None and place.is_dir():
                (place / name).write_text(text)
                return place / name
        except OSError:
            continue
    return Path(name)
