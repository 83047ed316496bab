"""The schema of the store: numbered SQL files, applied in order, each in one transaction, never edited."""

from __future__ import annotations

from pathlib import Path

import duckdb

from sdar.schemas.errors import IntegrityError

MIGRATIONS = sorted((Path(__file__).parent / "migrations").glob("[0-9]*.sql"))
CURRENT_VERSION = len(MIGRATIONS)


def schema_version(connection: duckdb.DuckDBPyConnection) -> int:
    """Return the number of the last migration that was applied; 0 for an empty database."""
    # fetchall, as everywhere: after fetchone the connection refuses other work until the result is used up.
    if not connection.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = '_migration'").fetchall():
        return 0
    return int(connection.execute("SELECT coalesce(max(version), 0) FROM _migration").fetchall()[0][0])


def refuse_newer(version: int, database: Path) -> None:
    """Raise `IntegrityError` when `database` was written by a newer version of this package."""
    if version > CURRENT_VERSION:
        raise IntegrityError(
            f"{database} has schema version {version}, this program knows versions up to {CURRENT_VERSION}: "
            "it was written by a newer sdar. Upgrade with `pip install --upgrade sdar`, or name another "
            "store with --store."
        )


def migrate(connection: duckdb.DuckDBPyConnection, version: int = CURRENT_VERSION) -> None:
    """Apply every migration up to `version` that the database does not have yet."""
    done = schema_version(connection)
    for number, file in enumerate(MIGRATIONS[done:version], done + 1):
        connection.begin()
        connection.execute(file.read_text(encoding="utf-8"))
        connection.execute("INSERT INTO _migration VALUES (?, now())", [number])
        connection.commit()
    connection.execute("CHECKPOINT")
