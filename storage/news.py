"""What the runs of a store are doing at this moment: one small file a run, there while a stage is computed.

A stage enters the database when it is done. These files say what happens until then; they are replaced as a
whole, a few times a second at most, are no part of what the store keeps, and may be lost at any time. A
process that is killed leaves its file behind, which then says what it was doing last.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from sdar.schemas.counting import counting
from sdar.schemas.records import Record

FOLDER = "live"
EVERY_S = 0.5
"""Seconds between two versions of a file, whatever the work counts."""


class News(Record):
    """The stage that a run is computing, and how far it is.

    `rounds` is the most rounds that the run may take, `plan` the stages of this round in order, `began` an
    ISO 8601 time. `done` of `total` units are finished; `total` is 0 while nothing was counted.
    """

    run_id: str
    round: int
    rounds: int
    stage: str
    plan: tuple[str, ...]
    began: str
    done: int = 0
    total: int = 0
    unit: str = ""


@dataclass(frozen=True)
class Told:
    """News, and when they were written in seconds since the epoch."""

    news: News
    at: float


@contextmanager
def told(store: Path, news: News) -> Iterator[None]:
    """Tell others what a run is doing for the length of a `with` block, and how far it is.

    Args:
        store: folder of the store.
        news: the stage; what the work counts is filled in here.
    """
    file, last = store / FOLDER / f"{news.run_id}.json", time.monotonic()

    def hear(done: int, total: int, unit: str) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY_S:
            _write(file, news.model_copy(update={"done": done, "total": total, "unit": unit}))
            last = time.monotonic()

    _write(file, news)
    try:
        with counting(hear):
            yield
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def read_news(store: Path) -> list[Told]:
    """Return what is told of the runs of a store, the latest first."""
    found = []
    for file in (store / FOLDER).glob("*.json"):
        with suppress(OSError, ValidationError):  # it may go at any moment, or be of another version
            written = file.stat().st_mtime
            found.append(Told(News.model_validate_json(file.read_bytes()), written))
    return sorted(found, key=lambda told: told.at, reverse=True)


def _write(file: Path, news: News) -> None:
    """Replace a file; a disk that is full must not end a run for the sake of its news."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    with suppress(OSError):
        file.parent.mkdir(exist_ok=True)
        partial.write_text(news.model_dump_json())
        partial.replace(file)
