"""What a run shows: a live table on a terminal, one line a stage without one, or JSON lines."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, TextIO, TypeGuard

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sdar.flows.improve import Report, Row, Watch
from sdar.flows.report.texts import duration, shortened
from sdar.flows.terminal import is_terminal
from sdar.schemas.records import Verdict

COLUMNS = {
    "round": "round",
    "success": "success on the panel",
    "collected": "collected",
    "gap": "gap",
    "gate_mean": "gate",
    "gate_share": "> 0.5",
    "drift": "KL",
    "entropy": "entropy",
    "tokens_per_second": "tokens/s",
    "seconds": "seconds",
}
"""Columns of the table by key of `Session.table()`; `success` and `collected` are shares whose 95 % interval
is in `low`, `high` and `collected_low`, `collected_high`. A missing value is shown as a dash."""

_INTERVALS = {"success": ("low", "high"), "collected": ("collected_low", "collected_high")}
_FORMATS = {
    "round": "{:.0f}",
    "gap": "{:+.3f}",
    "gate_mean": "{:.2f}",
    "gate_share": "{:.0%}",
    "drift": "{:.4f}",
    "entropy": "{:.3f}",
    "tokens_per_second": "{:,.0f}",
    "seconds": "{:.1f}",
}
_VISIBLE_ROUNDS = 20
_LEFT_OUT = ("tokens_per_second", "entropy", "drift", "gate_share", "collected", "gate_mean", "gap")
"""Columns that a narrow terminal does without, the first one first."""
_GUTTER = 2
_HASH_LENGTH = 64


@dataclass(frozen=True)
class Closing:
    """What is left to say when a run has ended; `environment` is empty where it is the default one."""

    run_id: str
    store: str
    policy_path: str
    verdict: Verdict | None
    table: Sequence[Row]
    environment: str = ""


def cell(row: Row, key: str) -> str:
    """Return one cell of the table as text: shares in per cent with their interval, a dash for nothing."""
    value = row.get(key)
    if not _is_number(value):
        return "-" if value is None else str(value)
    if key not in _INTERVALS:
        return _FORMATS.get(key, "{:g}").format(value)
    low, high = (row.get(end) for end in _INTERVALS[key])
    if not _is_number(low) or not _is_number(high):
        return f"{100 * value:.1f} %"
    return f"{100 * value:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


@dataclass(frozen=True)
class Warned:
    """A kind of warning: its first sentence, the round of that, and in how many rounds the kind came."""

    sentence: str
    first: int
    rounds: int

    def __str__(self) -> str:
        if self.rounds == 1:
            return f"Warning in round {self.first}: {self.sentence}"
        return f"Warning in {self.rounds} rounds, first in round {self.first}: {self.sentence}"


def warned(table: Sequence[Row]) -> list[Warned]:
    """Return each kind of warning in `Session.table()` once, in the order in which they came up.

    Sentences of one kind differ in their numbers only, so what lasts for many rounds is said once.
    """
    found: dict[str, Warned] = {}
    for row in table:
        for kind, sentence in _kinds(row.get("warnings")).items():
            first = found.get(kind, Warned(sentence, int(row["round"]), 0))
            found[kind] = Warned(first.sentence, first.first, first.rounds + 1)
    return list(found.values())


def time_left(rounds_done: int, rounds: int, elapsed: float) -> str:
    """Return at most how long the remaining rounds take, as text; nothing before a round is done."""
    if rounds_done < 1:
        return ""
    return duration(elapsed / rounds_done * max(rounds - rounds_done, 0), 0)


def fitting(rows: Sequence[Row], width: int) -> list[str]:
    """Return the keys of the columns of the live table that fit beside one another.

    Args:
        rows: of the table.
        width: of the terminal in characters.
    """
    needed = {
        key: _GUTTER + max(len(title), *(len(cell(row, key)) for row in rows), 0)
        for key, title in COLUMNS.items()
    }
    for key in _LEFT_OUT:
        if sum(needed.values()) - _GUTTER > width:
            del needed[key]
    return list(needed)


@contextmanager
def open_watch(rounds: int, *, as_json: bool = False, stream: TextIO | None = None) -> Iterator[Watch]:
    """Provide the display that fits: JSON lines if asked for, else a live table, else plain lines.

    Args:
        rounds: the most rounds that the run may take; for the progress bar.
        as_json: one JSON object a stage.
        stream: where to write, standard output by default.
    """
    stream = stream or sys.stdout
    if as_json:
        yield JsonLines(stream)
        return
    if not is_terminal(stream):
        yield PlainLines(stream)
        return
    console = Console(file=stream)
    table = LiveTable(rounds, console=console)
    with Live(get_renderable=table.render, console=console, refresh_per_second=2):
        yield table
        table.ended = True


@dataclass
class JsonLines:
    """One JSON object per finished stage."""

    stream: TextIO

    def started(self, stage: str, round: int) -> None:
        """Say nothing: a stage is reported when it is stored."""

    def finished(self, report: Report, table: Sequence[Row]) -> None:
        """Write the report as one line."""
        write_json(
            self.stream,
            {
                "event": "stage",
                "round": report.round,
                "stage": report.stage,
                "artifact_id": report.artifact_id,
                "reused": report.reused,
                "seconds": report.seconds,
                "summary": dict(report.summary),
            },
        )


@dataclass
class PlainLines:
    """One line of text per finished stage, for logs and pipes; a warning when its kind comes up first."""

    stream: TextIO
    _told: set[str] = field(default_factory=set)

    def started(self, stage: str, round: int) -> None:
        """Say nothing: a stage is reported when it is stored."""

    def finished(self, report: Report, table: Sequence[Row]) -> None:
        """Write the report as one line."""
        done = "reused" if report.reused else f"{report.seconds:.1f} s"
        line = f"round {report.round:>3}  {report.stage:<20}  {done:>8}  {_figures(report.summary)}"
        print(line.rstrip(), file=self.stream, flush=True)
        for kind, sentence in _kinds(report.summary.get("warnings")).items():
            if kind not in self._told:
                self._told.add(kind)
                print(f"           warning: {sentence}", file=self.stream, flush=True)


@dataclass
class LiveTable:
    """A table with one row per round; until the run has ended, the stage that is running and time left."""

    rounds: int
    clock: Callable[[], float] = time.monotonic
    console: Console | None = None
    ended: bool = False
    _rows: Sequence[Row] = ()
    _now: str = "starting"
    _round: int = 0
    _first: int | None = None
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def started(self, stage: str, round: int) -> None:
        """Show which stage is running."""
        self._now, self._round = f"round {round}: {stage}", round

    def finished(self, report: Report, table: Sequence[Row]) -> None:
        """Show the new figures; reused rounds do not count for the time left."""
        self._rows = table
        if self._first is None and not report.reused:
            self._first, self._began = report.round, self.clock() - report.seconds

    def render(self) -> Group:
        """Return what the terminal shows at this moment."""
        table, rows = Table(box=None, pad_edge=False), self._rows[-_VISIBLE_ROUNDS:]
        keys = fitting(rows, self.console.width) if self.console else list(COLUMNS)
        for key in keys:
            table.add_column(COLUMNS[key], justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*(cell(row, key) for key in keys))
        if self.ended:
            return Group(table)  # the closing lines repeat the warnings
        elapsed, first = self.clock() - self._began, self._first or 0
        left = time_left(self._round - first, self.rounds + 1 - first, elapsed)  # round 0 counts
        progress = Table.grid(padding=(0, 2))
        progress.add_row(
            ProgressBar(total=self.rounds + 1, completed=self._round, width=30),
            Text(self._now),
            Text(f"{elapsed:.0f} s so far"),
            Text(f"at most {left} left" if left else ""),
        )
        warnings = [Text(str(warning), style="yellow") for warning in warned(self._rows)]
        return Group(table, *warnings, progress)


def close(closing: Closing, *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Write the summary of a finished run: verdict, best policy, where it is, and what to do next."""
    stream = stream or sys.stdout
    if as_json:
        write_json(stream, {"event": "run", **_final(closing)})
        return
    verdict, option = closing.verdict, f" --store {shlex.quote(closing.store)}"
    lines = [f"Run {closing.run_id} is done."]
    if verdict is not None:
        success = cell(_best_row(closing), "success")
        lines += [
            shortened(verdict.sentence),
            f"Best policy: {verdict.best_policy}, of round {verdict.best_round}.",
            f"Its success on the panel: {success} (95 % interval).",
            f"It is a Hugging Face folder: {closing.policy_path}"
            if closing.policy_path
            else f"Write it with its adapter added: sdar policy export best --to FOLDER{option}",
        ]
    if verdict is not None and verdict.reason == "collapse":
        lines.append("To go on from it, choose other settings, for instance a lower update.learning_rate.")
    lines += [
        *map(str, warned(closing.table)),
        "Next:",
        f"  sdar report --open --run {shlex.quote(closing.run_id)}{option}  # all of it on one page",
        *_go_on(closing),
        f"  sdar policy list{option}",
        f"  sdar sql 'SELECT * FROM learning_curve'{option}",
        f"  sdar sql --tables{option}",
    ]
    print("\n".join(lines), file=stream, flush=True)


def write_json(stream: TextIO, value: Mapping[str, Any]) -> None:
    """Write one JSON object on one line; numbers that are not finite become null."""
    print(json.dumps(_finite(value), default=str), file=stream, flush=True)


def _final(closing: Closing) -> dict[str, Any]:
    verdict = closing.verdict.model_dump(mode="json") if closing.verdict else None
    best = _best_row(closing)
    return {
        "run_id": closing.run_id,
        "store": closing.store,
        "policy_path": closing.policy_path,
        "verdict": verdict,
        "warnings": [asdict(warning) for warning in warned(closing.table)],
        "best": {key: best.get(key) for key in ("success", "low", "high")},
        "rounds": [dict(row) for row in closing.table],
    }


def _go_on(closing: Closing) -> list[str]:
    """Return the command of a new run that begins with the best policy."""
    if not closing.policy_path:
        return []
    start, store = shlex.quote(f"policy.path={closing.policy_path}"), shlex.quote(closing.store)
    world = f" --env {shlex.quote(closing.environment)}" if closing.environment else ""
    return [f"  sdar run{world} --set {start} --store {store}  # a new run from the best policy"]


def _best_row(closing: Closing) -> Row:
    if closing.verdict is None:
        return {}
    rows = [row for row in closing.table if row.get("round") == closing.verdict.best_round]
    return rows[-1] if rows else {"success": closing.verdict.best_success}


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _kinds(warnings: Any) -> dict[str, str]:
    """Split warnings into sentences by kind, which is the sentence without its numbers."""
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", str(warnings or "").strip())
    return {
        re.sub(r"-?(?:\d+(?:\.\d+)?(?:e[+-]?\d+)?|\b(?:nan|inf)\b)", "#", text): text
        for text in sentences
        if text
    }


def _figures(summary: Mapping[str, float | str]) -> str:
    """Return a summary on one line; a success takes its interval along, ids are shortened."""
    success = {"success": cell(summary, "success")} if {"success", "low", "high"} <= set(summary) else {}
    hidden = {"warnings", "low", "high"} if success else {"warnings"}
    return "  ".join(
        f"{name}={_plain(value)}" for name, value in {**summary, **success}.items() if name not in hidden
    )


def _plain(value: float | str) -> str:
    if isinstance(value, str):
        return value[:12] if len(value) == _HASH_LENGTH else value
    return f"{value:.4g}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
