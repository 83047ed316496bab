"""One writer per store: an advisory lock that the operating system drops when its owner dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from sdar.schemas.errors import StoreBusyError
from sdar.storage.database import user_errors

GLANCE_S = 0.15
"""Shortest time for which a lock is tried: whoever looks who has it holds it for an instant."""


@dataclass(frozen=True)
class Owner:
    """Who writes to a store; `started` is an ISO 8601 time, empty like the rest where it is not known."""

    pid: int = 0
    host: str = ""
    started: str = ""
    command: str = ""

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        return f"process {self.pid} on {self.host} since {self.started} ({self.command})"


@contextmanager
def writer_lock(path: Path, command: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the store's lock for the length of a `with` block.

    Args:
        path: the lock file; it names the owner while the lock is held.
        command: what the owner does, shown to a second writer.
        wait: seconds to wait for the present owner.

    Raises:
        StoreBusyError: someone else held the lock for longer than `wait`.
        InputError: the lock file cannot be written.
    """
    with user_errors(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _acquire(handle, path, time.monotonic() + max(wait, GLANCE_S))
        with user_errors(path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, _myself(command), 0)
        yield
    finally:
        os.close(handle)


def owner(path: Path) -> Owner | None:
    """Return who holds a lock, or None where nobody does; the lock file is only read."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # never locked, or not ours to look at
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(handle)
    except OSError:  # a file system without locks: then nobody can hold one
        return None
    finally:
        os.close(handle)
    return None


def _acquire(handle: int, path: Path, deadline: float) -> None:
    while True:
        try:
            with user_errors(path):
                return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise StoreBusyError(_busy(path.parent, _read(handle))) from error
        time.sleep(0.1)


def _myself(command: str) -> bytes:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return json.dumps(asdict(Owner(os.getpid(), socket.gethostname(), started, command))).encode()


def _read(handle: int) -> Owner:
    try:
        return Owner(**json.loads(os.pread(handle, 4096, 0)))
    except (ValueError, TypeError):  # between taking the lock and writing the name
        return Owner()


def _busy(folder: Path, owner: Owner) -> str:
    return (
        f"the store {folder} is being written by {owner}. Wait for it with --wait SECONDS, "
        "stop it, or name another store with --store. Reading stays possible: `sdar watch`, `sdar sql`."
    )
