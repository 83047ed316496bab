"""`sdar status`: which stages of a run are what the present code, settings and inputs would give."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

import typer

from sdar.flows.commands.options import (
    STORE,
    JsonOption,
    RunOption,
    StoreOption,
    find_run,
    read_store,
    resume_command,
)
from sdar.flows.output import print_json

if TYPE_CHECKING:
    from sdar.schemas.lineage import RunRecord
    from sdar.tasks.staleness import Reason, StageState

_SHORT = 40


def status(run: RunOption = None, store: StoreOption = STORE, json_: JsonOption = False) -> None:
    """Say for every round and stage of a run whether it is fresh, stale or missing, and why."""
    from sdar.tasks.branches import read_history
    from sdar.tasks.rerun import run_states

    opened = read_store(store)
    record = find_run(opened, run)
    states = run_states(opened, read_history(opened, record))
    if json_:
        print_json({"run": record.id, "status": record.status, "stages": [asdict(state) for state in states]})
        return
    typer.echo("\n".join(_lines(record, states)))
    if record.status != "done":
        typer.echo(f"Go on with it: {resume_command(record.id, opened.path)}")


def _lines(record: RunRecord, states: Sequence[StageState]) -> Iterator[str]:
    counts = Counter(state.condition for state in states)
    amounts = ", ".join(f"{counts[name]} {name}" for name in ("fresh", "stale", "missing"))
    yield f"Run {record.id} ({record.status}): {amounts}."
    rounds = [(number, list(group)) for number, group in groupby(states, lambda state: state.round)]
    for fresh, same in groupby(rounds, lambda item: all(s.condition == "fresh" for s in item[1])):
        members = list(same)
        if fresh:
            numbers = [number for number, _ in members]
            name = f"round {numbers[0]}" if len(numbers) == 1 else f"rounds {numbers[0]}-{numbers[-1]}"
            yield f"{name}: fresh ({sum(len(group) for _, group in members)} stages)"
            continue
        for number, group in members:
            settled = ", ".join(state.stage for state in group if state.condition == "fresh")
            yield f"round {number}: {f'fresh: {settled}' if settled else 'nothing fresh'}"
            for state in group:
                if state.condition != "fresh":
                    yield from _state(state)
    yield from sorted({f"Warning: {state.warning}." for state in states if state.warning})


def _state(state: StageState) -> Iterator[str]:
    yield f"  {state.stage:<21} {state.condition}"
    for reason in state.reasons:
        yield f"    {reason_text(reason)}"


def reason_text(reason: Reason) -> str:
    """Return a reason as text, with its values shortened."""
    if reason.before is None and reason.after is None:
        return f"{reason.cause:<8} {reason.what}"
    return f"{reason.cause:<8} {reason.what}: {_value(reason.before)} -> {_value(reason.after)}"


def _value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str) and len(value) == 64:  # the beginning of a hash says enough
        return value[:12]
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"
