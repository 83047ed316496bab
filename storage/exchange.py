"""Folders of Arrow files, through which processes hand each other rows; no part of a store's data."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

SUFFIX = ".arrow"


def write_tables(folder: Path, tables: Mapping[str, pa.Table]) -> None:
    """Write tables as Arrow files, one each, so that the folder is there either wholly or not at all.

    Args:
        folder: made here, in one that is there; where it is there already, for instance because the work was
            done twice, it stays.
        tables: by name.
    """
    partial = folder.with_name(f"{folder.name}.partial-{uuid.uuid4().hex}")
    partial.mkdir()
    try:
        for name, table in tables.items():
            file = str(partial / f"{name}{SUFFIX}")
            with pa.OSFile(file, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
        try:
            partial.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_tables(folder: Path) -> dict[str, pa.Table]:
    """Return the tables of a folder by name; they stay valid when the folder is removed.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    return {path.stem: _read(path) for path in sorted(folder.iterdir()) if path.suffix == SUFFIX}


def _read(path: Path) -> pa.Table:
    with pa.OSFile(str(path), "rb") as source, pa.ipc.open_file(source) as reader:
        return reader.read_all()
