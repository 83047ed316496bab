"""Records to Arrow columns and back, without loss: equal records, bit-equal arrays.

A table has one column per field of its record, plus `artifact_id` and `ordinal`, the place within the
artifact. Fields that hold a tuple of records (turns, retrieved skills) have their own table.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from operator import attrgetter
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from pydantic import BaseModel

from sdar.schemas.errors import IntegrityError
from sdar.schemas.keys import canonical_json
from sdar.schemas.lineage import TokenPiece
from sdar.schemas.records import (
    BankVersion,
    Comparison,
    Episode,
    PanelResult,
    PolicyRecord,
    Record,
    RetrievedSkill,
    Selection,
    SelfJudgement,
    Skill,
    SkillLift,
    SkillStat,
    SkillState,
    SkillTrial,
    TaskSpec,
    TeacherContext,
    TokenScores,
    Turn,
    UpdateReport,
    Verdict,
)


@dataclass(frozen=True)
class RowTable:
    """How one record type is stored.

    Attributes:
        record: the record type.
        json: fields stored as JSON text.
        renamed: column by field, where the field's name is a word of SQL.
        key: field that is unique within an artifact, or None.
        child: field whose items are rows of `child_table`, which names the parent in `child_column`.
    """

    record: type[Record]
    json: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    child: str | None = None
    child_table: str = ""
    child_column: str = "episode_id"


TABLES: dict[str, RowTable] = {
    "task": RowTable(TaskSpec, json=("payload",)),
    "panel": RowTable(TaskSpec, json=("payload",)),
    "episode": RowTable(
        Episode, renamed={"group": "group_index"}, key="id", child="turns", child_table="turn"
    ),
    "turn": RowTable(Turn, renamed={"index": "turn", "start": "token_start", "end": "token_end"}),
    "teacher_context": RowTable(
        TeacherContext, key="episode_id", child="skills", child_table="context_skill"
    ),
    "context_skill": RowTable(RetrievedSkill),
    "token_score": RowTable(TokenScores, key="episode_id"),
    "self_judgement": RowTable(SelfJudgement, key="episode_id"),
    "selection": RowTable(Selection, key="episode_id"),
    "skill": RowTable(Skill),
    "skill_stat": RowTable(SkillStat, key="skill_id"),
    "skill_state": RowTable(SkillState, key="skill_id"),
    "skill_trial": RowTable(SkillTrial, key="skill_id"),
    "skill_lift": RowTable(SkillLift, key="skill_id"),
    "bank_version": RowTable(BankVersion),
    "policy": RowTable(PolicyRecord),
    "update_step": RowTable(UpdateReport),
    "evaluation": RowTable(PanelResult, json=("by_type",)),
    "verdict": RowTable(Verdict, json=("last_gain",)),
    "comparison": RowTable(Comparison),
    "token_piece": RowTable(TokenPiece),
}
_PLACE = ("artifact_id", "ordinal")
CHILD_TABLES = {table.child_table for table in TABLES.values() if table.child}
ROW_NAMES = tuple(name for name in TABLES if name not in CHILD_TABLES)
"""The names under which a stage may commit rows."""


def insert_rows(
    connection: duckdb.DuckDBPyConnection, artifact_id: str, name: str, records: Sequence[Record]
) -> None:
    """Insert the records of one table of an artifact, and those of its child table.

    Raises:
        IntegrityError: a record has the wrong type, or two records have the same key.
    """
    for table, columns in arrow_tables(artifact_id, name, records):
        connection.register("incoming", columns)
        try:
            connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")
        finally:
            connection.unregister("incoming")


def arrow_tables(artifact_id: str, name: str, records: Sequence[Record]) -> list[tuple[str, pa.Table]]:
    """Return the rows of one table of an artifact as Arrow, by the table that each goes into.

    Raises:
        IntegrityError: a record has the wrong type, or two records have the same key.
    """
    table = TABLES[name]
    _check(name, table, records)
    tables = [(_stored_name(name), _columns(table, records))]
    if name == "panel":
        types = ", ".join(sorted({record.type for record in records if isinstance(record, TaskSpec)}))
        tables.append(("panel", {"tasks": pa.array([len(records)]), "types": pa.array([types])}))
    if table.child is not None and table.key is not None:
        tables.append((table.child_table, _child_columns(table, table.key, table.child, records)))
    return [(found, _keyed(artifact_id, columns)) for found, columns in tables if _length(columns)]


def _child_columns(table: RowTable, key: str, child: str, records: Sequence[Record]) -> dict[str, pa.Array]:
    families = [(getattr(record, key), getattr(record, child)) for record in records]
    columns = _columns(TABLES[table.child_table], [item for _, items in families for item in items])
    columns[table.child_column] = pa.array([parent for parent, items in families for _ in items], pa.string())
    return columns


def _keyed(artifact_id: str, columns: dict[str, pa.Array]) -> pa.Table:
    count = _length(columns)
    fixed = {"artifact_id": pa.repeat(artifact_id, count), "ordinal": pa.array(np.arange(count))}
    return pa.table({**fixed, **columns})


def _length(columns: dict[str, pa.Array]) -> int:
    return len(next(iter(columns.values())))


def select_rows(connection: duckdb.DuckDBPyConnection, artifact_id: str, name: str) -> list[Any]:
    """Return the records of one table of an artifact in the order in which they were committed."""
    table, stored = TABLES[name], _stored_name(name)
    names = (stored, table.child_table) if table.child is not None else (stored,)
    return records_of(name, {each: _selected(connection, each, artifact_id) for each in names})


def records_of(name: str, tables: Mapping[str, pa.Table]) -> list[Any]:
    """Return the records that Arrow tables hold, in order: what `arrow_tables` was given.

    Args:
        name: of the records' table.
        tables: by the table that each would go into; one without rows may be absent.
    """
    table, stored = TABLES[name], _stored_name(name)
    fields = _fields(tables.get(stored), table)
    if table.child is not None and table.key is not None:
        children = defaultdict(list)
        for row in _fields(tables.get(table.child_table), TABLES[table.child_table]):
            children[row.pop(table.child_column)].append(row)
        for row in fields:
            row[table.child] = children[row[table.key]]
    return [table.record.model_validate(row) for row in fields]


def _stored_name(name: str) -> str:
    return "panel_task" if name == "panel" else name


def _check(name: str, table: RowTable, records: Sequence[Record]) -> None:
    for record in records:
        if type(record) is not table.record:
            raise IntegrityError(
                f"rows of table {name} must be {table.record.__name__}, found {type(record).__name__}."
            )
    if table.key is not None:
        keys = [getattr(record, table.key) for record in records]
        twice = sorted({key for key in keys if keys.count(key) > 1}) if len(set(keys)) < len(keys) else []
        if twice:
            raise IntegrityError(f"table {name}: {table.key} {twice[0]} occurs twice in one artifact.")


def _columns(table: RowTable, records: Sequence[Record]) -> dict[str, pa.Array]:
    return {
        table.renamed.get(name, name): _column(list(map(attrgetter(name), records)), name in table.json)
        for name in table.record.model_fields
        if name != table.child
    }


def _column(values: list[Any], as_json: bool) -> pa.Array:
    if as_json:
        return pa.array([None if value is None else to_json(value) for value in values], pa.string())
    if values and isinstance(values[0], np.ndarray):
        offsets = np.cumsum([0, *(len(value) for value in values)], dtype=np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.concatenate(values)))
    if values and isinstance(values[0], tuple):
        return pa.array(values, pa.list_(pa.string()))
    return pa.array(values)


def to_json(value: Any) -> str:
    """Return canonical JSON of JSON values or of a record."""
    return canonical_json(value.model_dump(mode="json") if isinstance(value, BaseModel) else value)


def _selected(connection: duckdb.DuckDBPyConnection, name: str, artifact_id: str) -> pa.Table:
    query = f"SELECT * FROM {name} WHERE artifact_id = ? ORDER BY ordinal"
    return connection.sql(query, params=[artifact_id]).to_arrow_table()


def _fields(rows: pa.Table | None, table: RowTable) -> list[dict[str, Any]]:
    if rows is None:
        return []
    original = {column: name for name, column in table.renamed.items()}
    columns = {
        original.get(column, column): _values(rows[column], original.get(column, column) in table.json)
        for column in rows.column_names
        if column not in _PLACE
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _values(column: pa.ChunkedArray, from_json: bool) -> list[Any]:
    if from_json:
        return [None if text is None else json.loads(text) for text in column.to_pylist()]
    if pa.types.is_list(column.type) and not pa.types.is_string(column.type.value_type):
        return [row for chunk in column.chunks for row in _slices(chunk)]
    values: list[Any] = column.to_pylist()
    return values


def _slices(chunk: pa.ListArray) -> list[np.ndarray[Any, Any]]:
    values = chunk.values.to_numpy(zero_copy_only=False)
    bounds = chunk.offsets.to_numpy()
    return [values[start:end] for start, end in pairwise(bounds)]
