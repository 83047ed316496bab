"""Published copies of the database, so that a query works at any time and never holds up a run.

A commit asks for a copy; it is made at most `DELAY` seconds later by a timer thread, so that a burst of
commits costs one copy, and at once when the writer leaves. The thread holds the process lock meanwhile, so
the database does not change under the copy. Nothing is copied when the published file has the size and the
time of the database already; where the file system can share blocks between files, a copy shares them.

The database is detached first: a process that closes a file loses all the locks that it has on that file.
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import suppress
from pathlib import Path

from sdar.schemas.errors import InputError
from sdar.storage.database import PROCESS_LOCK, Attachment

DELAY = 0.3
PARTIAL = ".partial-"


class Publisher:
    """Publishes copies of one database; used by the process that holds the writer lock.

    Args:
        database: the `.duckdb` file.
        target: the published copy.
        attachment: the DuckDB of this process that may have the database attached.
    """

    def __init__(self, database: Path, target: Path, attachment: Attachment) -> None:
        self._database = database
        self._target = target
        self._attachment = attachment
        self._pending = False
        self._timer: threading.Timer | None = None

    def soon(self) -> None:
        """Ask for a copy within `DELAY` seconds, if the database has changed, and return at once."""
        with PROCESS_LOCK:
            if not self._stale():
                return
            self._pending = True
            if self._timer is None:
                self._timer = threading.Timer(DELAY, self._on_timer)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Make the copy that was asked for, if it has not been made yet, and wait for it.

        Raises:
            InputError: the copy could not be written.
        """
        with PROCESS_LOCK:
            # Not asked for any more even if it fails: a later flush may come when another process writes.
            asked, self._pending = self._pending, False
            if asked and self._stale():
                self._attachment.detach()
                _publish(self._database, self._target)

    def _stale(self) -> bool:
        return not self._target.exists() or _state(self._target) != _state(self._database)

    def _on_timer(self) -> None:
        with PROCESS_LOCK:
            self._timer = None
            try:
                self.flush()
            except InputError:
                self._pending = True  # the flush on leaving the writer reports a fault that lasts


def _state(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def remove_partial(folder: Path) -> None:
    """Remove what interrupted copies left behind; call only while holding the writer lock."""
    for leftover in folder.glob(f"{PARTIAL}*"):
        leftover.unlink(missing_ok=True)


def _publish(database: Path, target: Path) -> None:
    partial = target.parent / f"{PARTIAL}{os.getpid()}"
    try:
        modified = database.stat().st_mtime_ns
        _copy(database, partial)
        os.utime(partial, ns=(modified, modified))
        partial.replace(target)
    except OSError as error:
        raise InputError(
            f"cannot publish a snapshot to {target} ({error}). What was stored is unharmed: free some space "
            "or mend the permissions; the next command that writes publishes again."
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as reader, target.open("wb") as writer:
            while os.copy_file_range(reader.fileno(), writer.fileno(), 1 << 30):
                pass
    except (AttributeError, OSError):  # no such call, or not between these file systems
        shutil.copyfile(source, target)
