"""Reading and writing runs, stage runs, artifacts and what was made from what; one open connection each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import duckdb

from sdar.schemas.errors import InputError, IntegrityError
from sdar.schemas.lineage import Artifact, RunRecord, RunStatus, StageRun
from sdar.schemas.near import did_you_mean
from sdar.storage.identity import Rows
from sdar.storage.rows import ROW_NAMES, insert_rows, to_json

Connection = duckdb.DuckDBPyConnection

_RUN = tuple(RunRecord.model_fields)
_STAGE = tuple(StageRun.model_fields)
_JSON = {"config", "inputs", "summary"}


def save_run(connection: Connection, run: RunRecord) -> None:
    """Insert a run, or mark a known run as running again when it is the same one."""
    known = [found for found in select_runs(connection) if found.id == run.id]
    if not known:
        _insert(connection, "run", run, _RUN)
        return
    if (known[0].method, known[0].seed, known[0].config) != (run.method, run.seed, run.config):
        raise IntegrityError(
            f"run {run.id} is already in the store with another method, seed or configuration. "
            "Resume it without changes, or start a new run."
        )
    set_status(connection, run.id, "running")


def set_status(connection: Connection, run_id: str, status: RunStatus) -> None:
    """Change the status of a run."""
    select_run(connection, run_id)
    connection.execute("UPDATE run SET status = ? WHERE id = ?", [status, run_id])


def select_runs(connection: Connection) -> list[RunRecord]:
    """Return all runs in the order in which they began, whatever the clock said."""
    rows = connection.execute(f"SELECT {', '.join(_RUN)} FROM run ORDER BY rowid").fetchall()
    return [RunRecord.model_validate(_record(_RUN, row)) for row in rows]


def select_run(connection: Connection, run_id: str) -> RunRecord:
    """Return one run, or raise `InputError` naming the runs that there are."""
    runs = select_runs(connection)
    for run in runs:
        if run.id == run_id:
            return run
    known = ", ".join(run.id for run in runs[-5:]) or "none yet"
    near = did_you_mean(run_id, [run.id for run in runs])
    raise InputError(f"no run {run_id!r} in this store; the latest are: {known}.{near} See `sdar runs`.")


def select_stage_runs(connection: Connection, run_id: str) -> list[StageRun]:
    """Return the stage runs of a run, by round and then in the order in which they were recorded."""
    query = f"SELECT {', '.join(_STAGE)} FROM stage_run WHERE run_id = ? ORDER BY round, rowid"
    rows = connection.execute(query, [run_id]).fetchall()
    return [StageRun.model_validate(_record(_STAGE, row)) for row in rows]


def select_by_key(connection: Connection, key: str) -> list[Artifact]:
    """Return the artifacts that stages with this key produced, the latest first."""
    query = """
        SELECT a.id, a.kind, a.blob, a.summary FROM stage_run s JOIN artifact a ON a.id = s.artifact_id
        WHERE s.key = ? ORDER BY s.rowid DESC"""
    return [_artifact(row) for row in connection.execute(query, [key]).fetchall()]


def select_artifacts(connection: Connection, ids: list[str] | None = None) -> list[Artifact]:
    """Return the artifacts with these ids that the store holds, or all of them."""
    query = (
        "SELECT id, kind, blob, summary FROM artifact WHERE $1 IS NULL OR list_contains($1, id) ORDER BY id"
    )
    return [_artifact(row) for row in connection.execute(query, [ids]).fetchall()]


def row_counts(connection: Connection, artifact_id: str) -> dict[str, int]:
    """Return how many records of each table an artifact was stored with.

    Raises:
        InputError: the store has no such artifact.
    """
    rows = connection.execute("SELECT row_counts FROM artifact WHERE id = ?", [artifact_id]).fetchall()
    if not rows:
        raise InputError(f"no artifact {artifact_id} in this store; `sdar status` lists what a run has.")
    counts: dict[str, int] = json.loads(rows[0][0])
    return counts


def save_artifact(connection: Connection, artifact: Artifact, rows: Rows) -> Artifact:
    """Insert an artifact with its rows, once; return the one that the store holds.

    Its blob, which is there again if it was pruned before, no longer counts as pruned.
    """
    if artifact.blob is not None:
        connection.execute("DELETE FROM pruned WHERE blob = ?", [artifact.blob])
    known = select_artifacts(connection, [artifact.id])
    if known:
        return known[0]
    counts = {name: len(rows[name]) for name in ROW_NAMES if len(rows.get(name, ()))}
    connection.execute(
        "INSERT INTO artifact (id, kind, blob, summary, row_counts) VALUES (?, ?, ?, ?, ?)",
        [artifact.id, artifact.kind, artifact.blob, to_json(artifact.summary), to_json(counts)],
    )
    for name in counts:
        insert_rows(connection, artifact.id, name, rows[name])
    return artifact


def save_stage_run(connection: Connection, stage_run: StageRun) -> None:
    """Record a stage run with its lineage, in place of an earlier one of the same run, round and stage."""
    select_run(connection, stage_run.run_id)
    place = [stage_run.run_id, stage_run.round, stage_run.stage]
    for table in ("stage_run", "lineage"):
        connection.execute(f"DELETE FROM {table} WHERE run_id = ? AND round = ? AND stage = ?", place)
    _insert(connection, "stage_run", stage_run, _STAGE)
    inputs = stage_run.inputs
    missing = set(inputs.values()) - {found.id for found in select_artifacts(connection, [*inputs.values()])}
    if missing:
        raise IntegrityError(
            f"stage {stage_run.stage} of round {stage_run.round} names inputs that the store does not hold: "
            f"{', '.join(sorted(missing))}. Run the stages before it first."
        )
    for role, input_id in inputs.items():
        row = [*place, role, input_id, stage_run.artifact_id]
        connection.execute("INSERT INTO lineage VALUES (?, ?, ?, ?, ?, ?)", row)


def copy_stage_runs(connection: Connection, stage_runs: Sequence[StageRun], run_id: str) -> None:
    """Record finished stage runs of other runs, with their lineage, as those of a run that has none yet."""
    select_run(connection, run_id)
    places = [{"run_id": made.run_id, "round": made.round, "stage": made.stage} for made in stage_runs]
    connection.execute(
        "CREATE TEMP TABLE taken (run_id VARCHAR, round INTEGER, stage VARCHAR, place INTEGER)"
    )
    rows = [[*place.values(), number] for number, place in enumerate(places)]
    if rows:
        connection.executemany("INSERT INTO taken VALUES (?, ?, ?, ?)", rows)
    values = {"run_id": "?", "reused_from": "coalesce(s.reused_from, s.run_id)"}
    columns = ", ".join(values.get(name, f"s.{name}") for name in _STAGE)
    connection.execute(
        f"INSERT INTO stage_run ({', '.join(_STAGE)}) SELECT {columns} FROM stage_run s "
        "JOIN taken USING (run_id, round, stage) ORDER BY place",
        [run_id],
    )
    connection.execute(
        "INSERT INTO lineage SELECT ?, round, stage, role, input_id, artifact_id FROM lineage "
        "JOIN taken USING (run_id, round, stage) ORDER BY place",
        [run_id],
    )
    connection.execute("DROP TABLE taken")


def first_run_of(connection: Connection, key: str, artifact_id: str) -> str | None:
    """Return the run that computed an artifact under a stage key, or None.

    It may have computed that stage anew since; then those that took the artifact over still name it.
    """
    query = """
        SELECT coalesce(reused_from, run_id) FROM stage_run
        WHERE key = ? AND artifact_id = ? ORDER BY reused_from IS NOT NULL, rowid"""
    rows = connection.execute(query, [key, artifact_id]).fetchall()
    return str(rows[0][0]) if rows else None


def _insert(
    connection: Connection, table: str, record: RunRecord | StageRun, columns: tuple[str, ...]
) -> None:
    values = [to_json(getattr(record, name)) if name in _JSON else getattr(record, name) for name in columns]
    places = ", ".join("?" * len(columns))
    connection.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", values)


def _record(columns: tuple[str, ...], row: tuple[Any, ...]) -> dict[str, Any]:
    return {
        name: json.loads(value) if name in _JSON else value for name, value in zip(columns, row, strict=True)
    }


def _artifact(row: tuple[Any, ...]) -> Artifact:
    return Artifact(id=row[0], kind=row[1], blob=row[2], summary=json.loads(row[3]))


def check_tables(rows: Rows) -> None:
    """Raise `IntegrityError` when rows are given for a table that does not exist."""
    unknown = sorted(set(rows) - set(ROW_NAMES))
    if unknown:
        raise IntegrityError(f"no table {unknown[0]} to store rows in; there are: {', '.join(ROW_NAMES)}.")
