"""`sdar skills stats`: which skills of a run help, how surely, and which were retired and why."""

from __future__ import annotations

from typing import Any

import typer

from sdar.flows.commands.options import STORE, JsonOption, RunOption, StoreOption, find_run, read_store
from sdar.flows.output import aligned, print_json

_COLUMNS = ("skill", "source", "support", "uses", "last round", "usefulness", "lift", "state")


def stats(store: StoreOption = STORE, run: RunOption = None, json_: JsonOption = False) -> None:
    """List the skills of the latest bank of a run: uses, usefulness and lift with 95 % intervals."""
    opened = read_store(store)
    record = find_run(opened, run)
    table = opened.query("SELECT * FROM skill_report").to_pylist()
    rows = [
        {name: value for name, value in row.items() if name != "run_id"}
        for row in table
        if row["run_id"] == record.id
    ]
    if json_:
        print_json(rows)
        return
    if not rows:
        typer.echo(f"The bank of run {record.id} has no skills.")
        return
    typer.echo(aligned(_COLUMNS, [_line(row) for row in rows]))
    typer.echo(
        "\nUsefulness: mean gap of successful minus failed episodes. Lift: the same for the difference that "
        "the one skill makes; measured by stage distill. Both in nats a token."
    )


def _line(row: dict[str, Any]) -> list[str]:
    return [
        row["skill"],
        row["source"],
        str(row["support"]),
        str(row["uses"]),
        "" if row["last_round"] is None else str(row["last_round"]),
        _interval(row["difference"], row["low"], row["high"]),
        _interval(row["lift"], row["lift_low"], row["lift_high"]),
        f"retired: {row['reason']}" if row["retired"] else row["reason"] or "active",
    ]


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return ""
    return f"{value:+.3f}" + ("" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]")
