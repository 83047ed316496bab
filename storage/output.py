"""Results of queries as text or files, and the schema explained."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TextIO, get_args

import pyarrow as pa
import pyarrow.parquet as pq

from sdar.schemas.errors import ConfigError, InputError

Form = Literal["table", "csv", "json", "parquet"]
FORMS: tuple[Form, ...] = get_args(Form)

SCHEMA_QUERY = """
    WITH thing AS (
        SELECT 'view' AS kind, view_name AS name, comment FROM duckdb_views() WHERE NOT internal
        UNION ALL SELECT 'table', table_name, comment FROM duckdb_tables() WHERE NOT internal)
    SELECT t.kind, t.name, t.comment, c.column_name AS "column", c.data_type AS type, c.comment AS meaning
    FROM thing t JOIN duckdb_columns() c ON c.table_name = t.name AND NOT c.internal
    ORDER BY t.kind DESC, t.name, c.column_index"""
"""SQL that lists every column of every view and table with its meaning."""

_WIDEST = 60


def write_table(table: pa.Table, form: Form, target: Path | TextIO) -> None:
    """Write the result of a query.

    Args:
        table: the result.
        form: `table` is aligned text in which cells are cut at 60 characters; `csv` and `json` (a list of
            objects) are complete, lists within csv are JSON, numbers that JSON lacks become null; `parquet`
            keeps the types.
        target: a file to write, or an open text stream, which cannot take `parquet`.

    Raises:
        ConfigError: unknown form, or `parquet` into a stream.
        InputError: the file cannot be written.
    """
    if form not in FORMS:
        raise ConfigError(f"a result can be written as {', '.join(FORMS)}; found {form!r}.")
    if not isinstance(target, Path):
        if form == "parquet":
            raise ConfigError(
                "parquet is no text; name a file with --out, for instance --out result.parquet."
            )
        target.writelines(_lines(table, form))
        return
    try:
        if form == "parquet":
            pq.write_table(table, target, compression="zstd")
        else:
            with target.open("w", encoding="utf-8", newline="") as stream:
                stream.writelines(_lines(table, form))
    except OSError as error:
        raise InputError(f"cannot write {target} ({error}). Name another file with --out.") from error


def schema_text(table: pa.Table) -> str:
    """Return the result of `SCHEMA_QUERY` as Markdown: one section per view and table."""
    rows = table.to_pylist()
    sections = []
    for (kind, name, comment), columns in groupby(
        rows, lambda row: (row["kind"], row["name"], row["comment"])
    ):
        lines = [f"- `{row['column']}` {row['type']}: {row['meaning'] or ''}".rstrip() for row in columns]
        sections.append("\n".join([f"## {name} ({kind})", "", comment or "", "", *lines]))
    return "\n\n".join(sections) + "\n"


def _lines(table: pa.Table, form: Form) -> Iterator[str]:
    rows = [tuple(row.values()) for row in table.to_pylist()] if table.num_columns else []
    if form == "json":
        objects = [dict(zip(table.column_names, map(_plain, row), strict=True)) for row in rows]
        yield json.dumps(objects, default=str, ensure_ascii=False) + "\n"
    elif form == "csv":
        yield from _csv(table.column_names, rows)
    else:
        yield from _aligned(table.column_names, [[_short(value) for value in row] for row in rows])


class _Line:
    """A file for `csv.writer` that hands each line back."""

    def write(self, text: str) -> str:
        return text


def _csv(names: list[str], rows: list[tuple[Any, ...]]) -> Iterator[str]:
    writer = csv.writer(_Line(), lineterminator="\n")
    for row in [names, *rows]:
        yield writer.writerow([_cell(value) for value in row])


def _cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return json.dumps(_plain(value), default=str, ensure_ascii=False)
    return value


def _plain(value: Any) -> Any:
    """Replace what JSON lacks."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _aligned(names: list[str], rows: list[list[str]]) -> Iterator[str]:
    widths = [max(len(text) for text in column) for column in zip(names, *rows, strict=True)]
    for line in [names, ["-" * width for width in widths], *rows]:
        yield "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() + "\n"


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
