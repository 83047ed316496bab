"""Results of queries as aligned text, CSV or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

Format = Literal["table", "csv", "json"]

_WIDEST = 64


def render(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], form: Format) -> str:
    """Return rows as text in the asked-for format, without a final line break.

    Args:
        columns: names in order; shown even when there are no rows.
        rows: values by column.
        form: `table` cuts cells that are wider than 64 characters, `csv` and `json` are complete.
    """
    if form == "json":
        return json.dumps([dict(row) for row in rows], default=str)
    if form == "csv":
        return _csv(columns, rows)
    lines = [[_short(row[name]) for name in columns] for row in rows]
    return _aligned(columns, lines)


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row[name] for name in columns] for row in rows)
    return text.getvalue().rstrip("\n")


def _aligned(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(name), *(len(line[index]) for line in lines), 0) for index, name in enumerate(columns)]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in [columns, rule, *lines]
    )


def _short(value: Any) -> str:
    if value is None:
        return ""
    text = f"{value:.6g}" if isinstance(value, float) else " ".join(str(value).split())
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"
