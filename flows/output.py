"""What commands print: results of queries in the asked-for format, and aligned text."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from sdar.flows.commands.options import Format


def print_table(table: pa.Table, form: Format, out: Path | None = None) -> None:
    """Write the result of a query to standard output, or to the file `out`."""
    from sdar.storage import write_table

    write_table(table, form, out or sys.stdout)


def replace_text(file: Path, text: str) -> None:
    """Write a file so that a reader sees the old or the new one, never a part, also after a failure."""
    partial = file.with_name(f".{file.name}.partial-{os.getpid()}")  # another may be writing it as well
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def print_json(value: Any) -> None:
    """Write a value as one line of JSON; what JSON does not know becomes text."""
    print(json.dumps(value, default=str))


def aligned(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells below a header, each column as wide as its widest cell."""
    widths = [max(map(len, cells)) for cells in zip(columns, *lines, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        for line in (columns, *lines)
    )


def size(count: float) -> str:
    """Return a number of bytes as people write it."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
