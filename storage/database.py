"""Opening the DuckDB file: for a short time, once at a time in this process, with retry between processes."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from sdar.schemas.errors import InputError, IntegrityError, StoreBusyError

WAIT = 30.0
"""Seconds that an open is retried while another process holds the file."""

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    # Files stay readable for DuckDB 1.5 clients, the command-line shell among them.
    "storage_compatibility_version": "v1.5.0",
    # Without these DuckDB tries to download an extension, which costs seconds before it fails offline.
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "threads": "2",
    "memory_limit": "2GB",
}

PROCESS_LOCK = threading.RLock()
"""Held while this process has the file open: two opens with different settings would refuse each other."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")
_REFUSED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENOENT,
    errno.ENOLCK,
    errno.EISDIR,
}
_DAMAGED_TEXTS = (
    "not a valid DuckDB database file",
    "Could not read enough bytes",
    "Corrupt database file",
    "Corrupt WAL file",
    "WAL does not match database file",
    "Is a directory",
)
_BROKEN = (duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)


def no_room(error: BaseException) -> bool:
    """Whether a write failed because its disk, or the user's share of it, is full."""
    number = error.errno if isinstance(error, OSError) else None
    return number in _FULL or any(text in str(error) for text in _FULL_TEXTS)


def is_damage(error: duckdb.Error) -> bool:
    """Whether DuckDB found a file to be cut off, overwritten, or no database at all."""
    return any(text in str(error) for text in _DAMAGED_TEXTS)


@contextmanager
def user_errors(path: Path) -> Iterator[None]:
    """Turn failures that the user can mend (full disk, no permission) into an `InputError` naming `path`."""
    try:
        yield
    except (OSError, duckdb.Error) as error:
        if no_room(error):
            raise InputError(
                f"no room left to write {path} ({error}). What was stored before is unharmed: "
                "free some space and repeat the command."
            ) from error
        if isinstance(error, OSError) and error.errno in _REFUSED:
            raise InputError(
                f"cannot use {path} as a store ({error}). Give a folder that you may write to, with --store."
            ) from error
        raise


@contextmanager
def _file_errors(database: Path) -> Iterator[None]:
    with user_errors(database):
        try:
            yield
        except duckdb.Error as error:
            if is_damage(error):
                raise IntegrityError(_damaged(database, error)) from error
            raise


@contextmanager
def connection(database: Path, *, read_only: bool, wait: float = WAIT) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the database for the length of a `with` block; closing discards an unfinished transaction.

    Args:
        database: the `.duckdb` file.
        read_only: open for reading; several processes may do so at once.
        wait: seconds to retry while another process holds the file.

    Raises:
        StoreBusyError: another process held the file for longer than `wait`.
        IntegrityError: the file is damaged.
        InputError: the disk is full, or the file may not be opened.
    """
    with PROCESS_LOCK, _file_errors(database):
        opened = _patiently(
            lambda: duckdb.connect(database, read_only=read_only, config=CONFIG), database, wait
        )
        try:
            yield opened
        finally:
            opened.close()


class Attachment:
    """One DuckDB for all that a writer does; the file is attached to it while it is read or written.

    To start a DuckDB costs several times what it costs to attach a file. Errors are those of `connection`;
    any exception in a `with` block throws away the DuckDB, and with it what was not committed.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._opened: duckdb.DuckDBPyConnection | None = None
        self._access = ""

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Attach the file for reading, and leave it attached: other processes may read, but not write."""
        with self._guarded():
            yield self._attach("READ_ONLY")

    @contextmanager
    def writing(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Attach the file for writing for the length of a `with` block."""
        with self._guarded():
            yield self._attach("READ_WRITE")
            self.detach()

    def detach(self) -> None:
        """Leave the file to others; the DuckDB stays."""
        with PROCESS_LOCK:
            if self._opened and self._access:
                self._opened.execute("USE memory; DETACH store")
            self._access = ""

    def close(self) -> None:
        """Leave the file to others and end the DuckDB; the next use starts another one."""
        with PROCESS_LOCK:
            if self._opened is not None:
                self._opened.close()
            self._opened, self._access = None, ""

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        with PROCESS_LOCK, _file_errors(self._database):
            try:
                yield
            except BaseException:
                self.close()
                raise

    def _attach(self, access: str) -> duckdb.DuckDBPyConnection:
        opened = self._opened = self._opened or duckdb.connect(":memory:", config=CONFIG)
        if self._access != access:
            self.detach()
            attach = f"ATTACH {literal(str(self._database))} AS store ({access})"
            _patiently(lambda: opened.execute(attach), self._database, WAIT)
            self._access = access
            opened.execute("USE store")
        return opened


def wal_file(database: Path) -> Path:
    """Return where DuckDB keeps what is committed and not yet in the file: its write-ahead log."""
    return database.with_name(f"{database.name}.wal")


def literal(text: str) -> str:
    """Return a text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _patiently(
    opening: Callable[[], duckdb.DuckDBPyConnection], database: Path, wait: float
) -> duckdb.DuckDBPyConnection:
    """Open the file, and try again while another process holds it."""
    deadline = time.monotonic() + wait
    while True:
        try:
            return opening()
        except duckdb.IOException as error:
            if "Could not set lock" in str(error):
                if time.monotonic() >= deadline:
                    raise StoreBusyError(_held(database, error)) from error
                time.sleep(0.05)
            elif "Permission denied" in str(error) or "Read-only file system" in str(error):
                raise InputError(f"cannot open {database} ({error}). Check its permissions.") from error
            else:
                raise
        except _BROKEN as error:
            raise IntegrityError(_damaged(database, error)) from error


def _held(database: Path, error: Exception) -> str:
    return (
        f"another process keeps {database} open: {error}. End it (most often a notebook or a shell) "
        "and repeat the command; to look at a store while it is written, use `sdar sql`."
    )


def _damaged(database: Path, error: Exception) -> str:
    log = wal_file(database)
    removed = f", remove {log.name}" if log.exists() else ""
    return (
        f"{database} is damaged or no DuckDB file ({error}). snapshots/{database.name} beside it holds the "
        f"last published state: copy that over the damaged file{removed}, then run `sdar store verify`."
    )
