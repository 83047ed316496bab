"""Indexes on the disk: made once, read by every later process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sdar.schemas.errors import InputError

Index = TypeVar("Index")


def kept(
    folder: Path,
    name: str,
    build: Callable[[], Index],
    save: Callable[[Index, Path], None],
    load: Callable[[Path], Index],
) -> Index:
    """Return a stored index, or build it and store it.

    It is written beside its place and moved there as a whole, so that two processes may do so at once.

    Args:
        folder: of all indexes; made if it is missing.
        name: of this one; must say everything that decides its content.
        build: makes it.
        save: writes it into an empty folder.
        load: reads it from such a folder.

    Raises:
        InputError: the folder cannot be written to, or what is stored there cannot be read.
    """
    place = folder / name
    if place.is_dir():
        try:
            return load(place)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise InputError(
                f"the index {place} cannot be read: {error}. Remove that folder; it is then made anew"
            ) from error
    index = build()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
        save(index, fresh)
        _move(fresh, place)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"the index cannot be written to {folder}: {error}. "
            "Name another folder with --set env.options.index=FOLDER"
        ) from error
    return index


def _move(fresh: Path, place: Path) -> None:
    try:
        os.replace(fresh, place)
    except OSError:
        shutil.rmtree(fresh)
        # Another process was faster: what it wrote under this name is the same.
        if not place.is_dir():
            raise
