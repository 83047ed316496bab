"""Wall and processor time of pieces of work that take turns: a busy machine is then busy for all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Spent:
    """Seconds by the clock, and seconds of processor time of all threads of this process."""

    wall: float
    cpu: float


def plus(a: Spent, b: Spent) -> Spent:
    """Return the sum."""
    return Spent(a.wall + b.wall, a.cpu + b.cpu)


def minus(a: Spent, b: Spent) -> Spent:
    """Return the difference."""
    return Spent(a.wall - b.wall, a.cpu - b.cpu)


def timed(work: Callable[[], Any]) -> tuple[Any, Spent]:
    """Run it; return its result and what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, Spent(time.perf_counter() - wall, time.process_time() - cpu)


def interleaved(works: Mapping[str, Callable[[], Any]], repetitions: int) -> dict[str, list[Spent]]:
    """Run all of them once, untimed, and then in turns; return what each repetition of each took."""
    for work in works.values():
        work()
    spent: dict[str, list[Spent]] = {name: [] for name in works}
    for _ in range(repetitions):
        for name, work in works.items():
            spent[name].append(timed(work)[1])
    return spent


def seconds(spent: Sequence[Spent]) -> dict[str, float]:
    """Return the medians."""
    return {
        "wall": round(statistics.median(each.wall for each in spent), 4),
        "cpu": round(statistics.median(each.cpu for each in spent), 4),
    }


def ratios(of: Sequence[Spent], over: Sequence[Spent]) -> dict[str, dict[str, float]]:
    """Return median, least and greatest ratio of the repetitions, each with the one beside it in time."""
    return {
        "cpu": _spread([a.cpu / b.cpu for a, b in zip(of, over, strict=True)]),
        "wall": _spread([a.wall / b.wall for a, b in zip(of, over, strict=True)]),
    }


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "greatest": round(max(values), 3),
    }
