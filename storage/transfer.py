"""A whole store as Parquet files and blobs, and back into an empty store."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import duckdb
from pydantic import BaseModel, ConfigDict, ValidationError

from sdar.schemas.errors import InputError, IntegrityError
from sdar.schemas.keys import canonical_json
from sdar.storage.blobs import blob_path, put_blob, remove_partial
from sdar.storage.database import CONFIG, user_errors, wal_file
from sdar.storage.lock import writer_lock
from sdar.storage.migrate import CURRENT_VERSION, migrate, refuse_newer, schema_version
from sdar.storage.prune import pruned_blobs
from sdar.storage.verify import faults

MANIFEST = "manifest.json"
_PARTIAL = ".partial-import.duckdb"
_TABLES = "SELECT table_name FROM duckdb_tables() WHERE NOT internal ORDER BY table_name"


class Manifest(BaseModel):
    """What an exported folder holds: schema version, rows by table, and blobs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int
    tables: Mapping[str, int]
    blobs: tuple[str, ...]


def export_store(database: Path, blobs: Path, folder: Path) -> Manifest:
    """Write every table as Parquet, every blob, and last of all a manifest; nothing stays of a failed export.

    Args:
        database: the DuckDB file to read, best a published copy.
        blobs: the store's folder of blobs.
        folder: where to write; it must be empty or not exist.

    Raises:
        InputError: `folder` holds something, or cannot be written.
        IntegrityError: a blob is missing or damaged.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        broken = (folder / "tables").is_dir() and not (folder / MANIFEST).exists()
        left = " It holds what an export left that was killed: remove it and repeat the command."
        raise InputError(
            f"{folder} is not empty; an export needs a new or an empty folder.{left if broken else ''}"
        )
    with user_errors(folder), _removed_on_failure(folder):
        (folder / "tables").mkdir(parents=True)
        (folder / "blobs").mkdir()
        with duckdb.connect(database, read_only=True, config=CONFIG) as connection:
            names = [row[0] for row in connection.execute(_TABLES).fetchall()]
            tables = {name: _write_table(connection, name, _parquet(folder, name)) for name in names}
            kept = _present_blobs(connection, blobs)
            version = schema_version(connection)
        for digest in kept:
            _copy_blob(blob_path(blobs, digest), folder / "blobs")
        manifest = Manifest(schema_version=version, tables=tables, blobs=tuple(kept))
        (folder / MANIFEST).write_text(canonical_json(manifest.model_dump()), encoding="utf-8")
    return manifest


def import_store(folder: Path, path: Path) -> Manifest:
    """Make a store from an exported folder: wholly, with all hashes computed again, or not at all.

    Args:
        folder: what `export_store` wrote, by this or an older version.
        path: folder of the new store; a store there must be empty.

    Raises:
        InputError: `folder` is no whole export, or `path` holds runs already.
        IntegrityError: the export was written by newer code, or its content differs from its hashes.
        StoreBusyError: another process writes to `path`.
    """
    manifest = _read_manifest(folder)
    refuse_newer(manifest.schema_version, folder)
    target = path / "store.duckdb"
    with user_errors(path):
        (path / "blobs").mkdir(parents=True, exist_ok=True)
    with writer_lock(path / "store.lock", "import"), user_errors(path):
        remove_partial(path / "blobs")
        _refuse_filled(target)
        partial = path / _PARTIAL
        partial.unlink(missing_ok=True)
        try:
            for digest in manifest.blobs:
                _copy_blob(blob_path(folder / "blobs", digest), path / "blobs")
            _load(manifest, folder, partial, path / "blobs")
            wal_file(target).unlink(missing_ok=True)  # of the empty store; DuckDB refuses it beside another
            os.replace(partial, target)
            (path / "snapshots" / target.name).unlink(missing_ok=True)  # it shows the empty store
        finally:
            partial.unlink(missing_ok=True)
    return manifest


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    """Take an export out of its folder again when the `with` block fails or is interrupted."""
    there = folder.exists()
    try:
        yield
    except BaseException:
        for name in ("tables", "blobs"):
            shutil.rmtree(folder / name, ignore_errors=True)
        with suppress(OSError):
            (folder / MANIFEST).unlink(missing_ok=True)
            if not there:
                folder.rmdir()
        raise


def _load(manifest: Manifest, folder: Path, database: Path, blobs: Path) -> None:
    """Fill a new database at the version of the export, bring it to the present one, and check it."""
    with duckdb.connect(database, config=CONFIG) as connection:
        migrate(connection, manifest.schema_version)
        known = {row[0] for row in connection.execute(_TABLES).fetchall()}
        for name in manifest.tables:
            if name not in known:
                raise InputError(
                    f"{folder / MANIFEST} names a table {name!r} that no store has; export again."
                )
            if name != "_migration":  # the new store records its own
                _read_table(connection, name, _parquet(folder, name))
        found = {name: _count(connection, name) for name in manifest.tables if name != "_migration"}
        expected = {name: count for name, count in manifest.tables.items() if name != "_migration"}
        wrong = [f"table {name} has {found[name]} of {expected[name]} rows" for name in expected
                 if found[name] != expected[name]]  # fmt: skip
        migrate(connection, CURRENT_VERSION)
        wrong += faults(connection, blobs)
    if wrong:
        raise IntegrityError(
            f"{folder} differs from what was exported, {len(wrong)} faults, the first: {wrong[0]} "
            "Nothing was imported. Run `sdar store verify` on the original and export it again."
        )


def _read_manifest(folder: Path) -> Manifest:
    try:
        return Manifest.model_validate(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise InputError(
            f"{folder} is no whole export: its {MANIFEST} is missing or unreadable ({error}). "
            "Write one with `sdar store export FOLDER`."
        ) from error


def _refuse_filled(database: Path) -> None:
    if not database.exists():
        return
    with duckdb.connect(database, read_only=True, config=CONFIG) as connection:
        runs = _count(connection, "run") if schema_version(connection) else 0
    if runs:
        raise InputError(
            f"the store {database.parent} already has {runs} runs; an import needs an empty one. "
            "Name a new folder with --store."
        )


def _write_table(connection: duckdb.DuckDBPyConnection, name: str, file: Path) -> int:
    connection.table(name).write_parquet(str(file), compression="zstd")
    return _count(connection, name)


def _read_table(connection: duckdb.DuckDBPyConnection, name: str, file: Path) -> None:
    if not file.is_file():
        raise InputError(f"{file} is missing: the export is not whole. Export the store again.")
    connection.execute(f'INSERT INTO "{name}" BY NAME SELECT * FROM read_parquet(?)', [str(file)])


def _count(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    return int(connection.execute(f'SELECT count(*) FROM "{name}"').fetchall()[0][0])


def _present_blobs(connection: duckdb.DuckDBPyConnection, blobs: Path) -> list[str]:
    query = "SELECT DISTINCT blob FROM artifact WHERE blob IS NOT NULL ORDER BY blob"
    named = [row[0] for row in connection.execute(query).fetchall()]
    gone = {digest for digest in pruned_blobs(connection) if not (blobs / digest).is_dir()}
    return [digest for digest in named if digest not in gone]


def _copy_blob(source: Path, blobs: Path) -> None:
    if put_blob(blobs, source) != source.name:
        raise IntegrityError(
            f"the files of blob {source} differ from its hash. `sdar store verify` lists all damage."
        )


def _parquet(folder: Path, name: str) -> Path:
    return folder / "tables" / f"{name}.parquet"
