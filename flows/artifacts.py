"""What the Prefect page shows of a run: its name and tags, a table of the rounds, the verdict, the progress.

It is plain text and needs no Prefect; `sdar.flows.improve` publishes it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from sdar.flows.display import COLUMNS, cell, warned
from sdar.flows.improve import Row
from sdar.flows.report.texts import DASH, shortened
from sdar.schemas.config import RunConfig
from sdar.schemas.records import Verdict


def run_name(run_id: str, config: RunConfig) -> str:
    """Return the name of a flow run: the world, and the run with its time, method and seed."""
    return f"{config.env.name}: {run_id}"


def run_tags(config: RunConfig) -> list[str]:
    """Return the tags by which the page filters runs: environment, method and sampling engine."""
    return [f"env:{config.env.name}", f"method:{config.method}", f"engine:{config.rollout.engine}"]


def round_table(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return `Session.table()` as the terminal shows it: titles, units, intervals, a dash for nothing."""
    return [{title: _markdown(cell(row, key)) for key, title in COLUMNS.items()} for row in rows]


def _markdown(text: str) -> str:
    """Return a cell for the page, which reads Markdown and makes a bullet of a lone hyphen."""
    return DASH if text == "-" else text


def progress_percent(round_number: int, rounds: int, verdict: Verdict | None) -> float:
    """Return how much of a run is done after a round, from 0 to 100: all of it once the verdict says stop."""
    if verdict is not None and verdict.stop:
        return 100.0
    return min(100.0, 100 * (round_number + 1) / (rounds + 1))  # round 0 counts as one


def verdict_text(run_id: str, store: Path, verdict: Verdict | None, rows: Sequence[Row]) -> str:
    """Return the verdict, the warnings and where the report is, as Markdown."""
    report = store.absolute() / "reports" / f"{run_id}.html"
    command = f"sdar report --run {shlex.quote(run_id)} --store {shlex.quote(str(store))}"
    lines = ["## No verdict yet"]
    if verdict is not None:
        head, colon, rest = shortened(verdict.sentence).partition(": ")
        lines = [f"## {head}", *([rest] if colon else [])]
        lines.append(f"Best policy: round {verdict.best_round}, `{verdict.best_policy}`")
    lines += [f"- {warning}" for warning in warned(rows)]
    lines.append(f"`{command}` writes the report: `{report}`")
    return "\n\n".join(lines)
