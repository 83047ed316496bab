"""One writer per store: an advisory lock that the operating system drops when its owner dies."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sdar.schemas.errors import StoreBusyError
from sdar.storage.database import user_errors


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
        _acquire(handle, path, time.monotonic() + wait)
        with user_errors(path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, _owner(command), 0)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, path: Path, deadline: float) -> None:
    while True:
        try:
            with user_errors(path):
                return fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise StoreBusyError(_busy(path.parent, os.pread(handle, 4096, 0))) from error
        time.sleep(0.1)


def _owner(command: str) -> bytes:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "started": started, "command": command}
    return json.dumps(owner).encode()


def _busy(folder: Path, content: bytes) -> str:
    try:
        owner = json.loads(content)
        name = f"process {owner['pid']} on {owner['host']} since {owner['started']} ({owner['command']})"
    except (ValueError, KeyError, TypeError):  # between taking the lock and writing the name
        name = "another process"
    return (
        f"the store {folder} is being written by {name}. Wait for it with --wait SECONDS, "
        "stop it, or name another store with --store. Reading stays possible: `sdar status`, `sdar sql`."
    )
