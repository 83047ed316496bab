"""What a study shows while it runs: a live table on a terminal, lines without one, or JSON lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sdar.flows.display import time_left, write_json
from sdar.flows.study_pool import Event
from sdar.flows.terminal import is_terminal
from sdar.schemas.study import Member, StudyRecord

_EVALUATIONS = ("evaluate", "evaluate_with_skills")


class StudyWatch(Protocol):
    """Whoever follows a study."""

    def event(self, member: Member, event: Event) -> None:
        """Call with every event of a run."""


@contextmanager
def open_study_watch(
    study: StudyRecord, done: set[str], *, as_json: bool = False, stream: TextIO | None = None
) -> Iterator[StudyWatch]:
    """Provide the display that fits: JSON lines if asked for, else a live table, else plain lines.

    Args:
        study: what is run.
        done: ids of the runs that are done already.
        as_json: one JSON object an event.
        stream: where to write, standard output by default.
    """
    stream = stream or sys.stdout
    if as_json:
        yield JsonLines(stream)
        return
    if not is_terminal(stream):
        yield PlainLines(stream, len(study.members), sum(m.run_id in done for m in study.members))
        return
    table = LiveTable(study, done)
    with Live(get_renderable=table.render, console=Console(file=stream), refresh_per_second=2):
        yield table


@dataclass
class JsonLines:
    """One JSON object per event, with the arm, the seed and the run it is about."""

    stream: TextIO

    def event(self, member: Member, event: Event) -> None:
        """Write the event as one line."""
        about = {"arm": member.arm, "seed": member.seed, "run_id": member.run_id}
        write_json(self.stream, {"event": event["event"], **about, **event})


@dataclass
class PlainLines:
    """One line for every evaluated round and for every run that ends."""

    stream: TextIO
    runs: int
    ended: int = 0
    clock: Callable[[], float] = time.monotonic
    _began: dict[str, float] = field(default_factory=dict)

    def event(self, member: Member, event: Event) -> None:
        """Write what is worth a line."""
        name = f"{member.arm}  seed {member.seed}"
        if event["event"] == "begun":
            self._began[member.run_id] = self.clock()
        elif event["event"] == "stage" and event["stage"] in _EVALUATIONS:
            how = "with skills  " if event["stage"] == "evaluate_with_skills" else ""
            reused = "  (reused)" if event["reused"] else ""
            self._say(f"{name}  round {event['round']}  {how}{_success(event)}{reused}")
        elif event["event"] in ("done", "failed"):
            self.ended += 1
            seconds = self.clock() - self._began[member.run_id]
            error = f": {event['error']}" if event["event"] == "failed" else ""
            self._say(f"{name}  {event['event']} in {seconds:.0f} s, {self.ended} of {self.runs} runs{error}")

    def _say(self, line: str) -> None:
        print(line, file=self.stream, flush=True)


@dataclass
class _Row:
    done: int = 0
    failed: int = 0
    running: dict[int, int] = field(default_factory=dict)
    success: str = "-"


@dataclass
class LiveTable:
    """A row for every arm, and how far the whole study is."""

    study: StudyRecord
    finished: set[str]
    clock: Callable[[], float] = time.monotonic
    _rows: dict[str, _Row] = field(init=False)
    _rounds: int = 0
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._rows = {arm.label: _Row() for arm in self.study.definition.arms}
        for member in self.study.members:
            self._rows[member.arm].done += member.run_id in self.finished
        self._began = self.clock()

    def event(self, member: Member, event: Event) -> None:
        """Note where the run is."""
        row = self._rows[member.arm]
        if event["event"] == "begun":
            row.running[member.seed] = -1
        elif event["event"] == "stage":
            if event["round"] > row.running[member.seed]:
                self._rounds += row.running[member.seed] >= 0
                row.running[member.seed] = event["round"]
            if event["stage"] == "evaluate":
                row.success = f"{_success(event)} (seed {member.seed}, round {event['round']})"
        else:
            self._rounds += 1
            del row.running[member.seed]
            row.done += event["event"] == "done"
            row.failed += event["event"] == "failed"

    def render(self) -> Group:
        """Return what the terminal shows at this moment."""
        seeds = len(self.study.definition.seeds)
        table = Table(box=None, pad_edge=False)
        for title in ("arm", "seeds done", "running", "latest success on the panel"):
            table.add_column(title, no_wrap=True)
        for label, row in self._rows.items():
            running = ", ".join(f"seed {seed} round {max(n, 0)}" for seed, n in row.running.items())
            failed = f", {row.failed} failed" if row.failed else ""
            table.add_row(Text(label), f"{row.done} of {seeds}{failed}", running or "-", row.success)
        done, total = sum(row.done + row.failed for row in self._rows.values()), len(self.study.members)
        progress = Table.grid(padding=(0, 2))
        elapsed = self.clock() - self._began
        left = time_left(self._rounds, self._rounds + self._rounds_left(), elapsed)
        progress.add_row(
            ProgressBar(total=total, completed=done, width=30),
            Text(f"{done} of {total} runs"),
            Text(f"{elapsed:.0f} s so far"),
            Text(f"about {left} left" if left else ""),
        )
        return Group(table, progress)

    def _rounds_left(self) -> int:
        left = 0
        for arm in self.study.definition.arms:
            row, rounds = self._rows[arm.label], int(arm.config["stop"]["rounds"]) + 1
            waiting = len(self.study.definition.seeds) - row.done - row.failed - len(row.running)
            left += waiting * rounds + sum(rounds - max(number, 0) for number in row.running.values())
        return left


def _success(event: Event) -> str:
    summary: dict[str, Any] = event["summary"]
    share, low, high = (100 * float(summary[key]) for key in ("success", "low", "high"))
    return f"{share:.1f} % [{low:.1f}, {high:.1f}]"
