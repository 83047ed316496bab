"""What the user sees when something fails: one message, and for a bug the place of the traceback."""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from sdar.flows.output import size
from sdar.schemas.errors import InputError, SdarError

LITTLE_ROOM = 64 << 20
"""Bytes: with less than this free on a disk, an unforeseen failure may well come from there."""


class UnexpectedError(SdarError, RuntimeError):
    """A failure that the code did not foresee; the message says where its traceback is."""

    def __init__(self, error: BaseException, log: Path, blame: str = "This is a bug") -> None:
        super().__init__(f"unexpected {_reason(error)}. {blame}; its traceback is in {log}.")


class ReaderGoneError(SdarError, BrokenPipeError):
    """Whoever read what a command prints, `head` for instance, has closed the pipe."""

    exit_code = 1

    def __init__(self) -> None:
        super().__init__(
            "whoever read the output has closed it, and the command ended there. What was stored before is "
            "unharmed. Send the output to a file; `sdar watch` shows a run from another terminal."
        )


def explained(error: BaseException, store: Path | None = None) -> SdarError:
    """Return what the user is told of a failure that is no `SdarError`: a full disk, a closed pipe, or a bug.

    Libraries report a full disk each in their own way, and a server that cannot write only as a failure of
    its own; so the causes are looked through, and the room that is left.
    """
    from sdar.storage import no_room

    if isinstance(error, BrokenPipeError):
        return ReaderGoneError()
    room = {place: shutil.disk_usage(place).free for place in _written(store)}
    found = (
        ", ".join(f"{size(free)} free at {place}" for place, free in room.items()) or "no temporary folder"
    )
    if any(no_room(cause) for cause in causes(error)):
        return InputError(
            f"no room left to write ({_reason(error)}); {found}. What was stored before is unharmed. Make "
            "room first; `sdar store prune` removes weights that nothing needs any more."
        )
    log = keep_traceback(error, store / "logs" if store else None)
    if min(room.values(), default=LITTLE_ROOM) < LITTLE_ROOM:
        return UnexpectedError(error, log, f"A disk that is full may be the cause ({found})")
    return UnexpectedError(error, log)


def keep_traceback(error: BaseException, folder: Path | None = None) -> Path:
    """Write the traceback to a file in `folder`, or in the temporary folder, and return its path."""
    text = "".join(traceback.format_exception(error))
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}.log"
    for place in (folder, *_temporary()):
        try:
            if place is not None and place.is_dir():
                (place / name).write_text(text)
                return place / name
        except OSError:
            continue
    return Path(name)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and what it came from, one after the other."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"


def _written(store: Path | None) -> list[Path]:
    """Return the folders that a command writes to: the store's, and that of temporary files."""
    return [store, *_temporary()] if store is not None and store.is_dir() else _temporary()


def _temporary() -> list[Path]:
    """Return the folder of temporary files, or nothing where none can be written to, as on a full disk."""
    try:
        return [Path(tempfile.gettempdir())]
    except OSError:
        return []
