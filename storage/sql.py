"""SQL for users: one statement, reading only, on a published copy of the store."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from sdar.schemas.errors import InputError, IntegrityError
from sdar.storage.database import CONFIG, is_damage

TABLES_QUERY = """
    SELECT 'view' AS kind, view_name AS name, comment FROM duckdb_views() WHERE NOT internal
    UNION ALL SELECT 'table', table_name, comment FROM duckdb_tables() WHERE NOT internal
    ORDER BY kind DESC, name"""
"""SQL that lists every view and table with its meaning."""

_ALLOWED = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN)
_SHUT = {"enable_external_access": "false", "lock_configuration": "true"}


def read_query(database: Path, sql: str) -> pa.Table:
    """Run one reading statement and return its result.

    The statement can neither change the store nor reach files, the network or the settings of the session.

    Args:
        database: the DuckDB file to read.
        sql: a SELECT, SHOW, DESCRIBE, SUMMARIZE or EXPLAIN statement.

    Raises:
        InputError: anything else, or a statement that DuckDB refuses.
        IntegrityError: the file is damaged.
    """
    try:
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1 or statements[0].type not in _ALLOWED:
            found = ", ".join(statement.type.name for statement in statements) or "nothing"
            raise InputError(
                f"`sdar sql` takes one statement that reads (SELECT, SHOW, DESCRIBE, SUMMARIZE, EXPLAIN); "
                f"found {found}. `sdar sql --tables` lists what can be read."
            )
        with duckdb.connect(database, read_only=True, config={**CONFIG, **_SHUT}) as connection:
            return connection.sql(sql).to_arrow_table()
    except duckdb.Error as error:
        if is_damage(error):
            raise IntegrityError(
                f"{database} is damaged ({error}). The copy in snapshots/ may be removed: `sdar store "
                "snapshot` publishes it anew. `sdar store verify` checks the rest of the store."
            ) from error
        raise InputError(f"{error}\n`sdar sql --tables` lists tables and views.") from error
