"""`sdar serve`: more rounds of a run at set times."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from sdar.flows.commands.options import STORE, RunOption, StoreOption, change_store, find_run
from sdar.flows.report.texts import settings
from sdar.flows.server import Server, prefect_server, wait_until_ready
from sdar.flows.serving import serve as serve_slots
from sdar.flows.slot_record import SCHEDULE_LOG, STAGE_LOG, CatchUp, Overlap
from sdar.flows.timetable import Timetable, next_slots, timetable
from sdar.schemas.chain import newest, unfinished
from sdar.schemas.lineage import RunRecord
from sdar.schemas.resolve import changes

_SHOWN_SLOTS = 3


def serve(
    cron: Annotated[
        str | None, typer.Option("--cron", metavar="LINE", help="When, as in a crontab: `0 2 * * *`.")
    ] = None,
    interval: Annotated[
        str | None, typer.Option("--interval", metavar="TIME", help="Or how often: 90s, 30m, 12h, 1d.")
    ] = None,
    timezone: Annotated[
        str, typer.Option("--timezone", metavar="NAME", help="Timezone of the times, such as Europe/Berlin.")
    ] = "UTC",
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds in each slot at most.")] = 5,
    run: RunOption = None,
    overlap: Annotated[
        Overlap, typer.Option("--overlap", help="What a slot does while another process writes to the store.")
    ] = "refuse",
    catch_up: Annotated[
        CatchUp, typer.Option("--catch-up", help="How many slots make up for all that were missed.")
    ] = "one",
    retries: Annotated[int, typer.Option("--retries", min=0, help="Tries after a failure in a slot.")] = 0,
    store: StoreOption = STORE,
) -> None:
    """Go on with a run at set times: each slot adds rounds to it. See docs/schedule.md."""
    opened = change_store(store)
    record = find_run(opened, run)
    runs = opened.runs()
    left = unfinished(runs, newest(runs, record))
    at_once = left and catch_up == "one"
    parameters = {
        "store": str(opened.path),
        "run": record.id,
        "rounds": rounds,
        "overlap": overlap,
        "catch_up": catch_up,
        "retries": retries,
        "timezone": timezone,
    }
    with prefect_server(opened.path / "logs" / "prefect", schedules=True) as server:
        # Not before: reading a cron line imports Prefect, which takes up its settings then and for good.
        times = timetable(cron, interval, timezone)
        typer.echo(f"Run      {record.id} goes on; rounds in a slot: at most {rounds}")
        for line in _branch(record, runs):
            typer.echo(line)
        if left:
            when = "at once" if at_once else "in the next slot"
            typer.echo(f"         A slot was interrupted; it goes on {when}.")
        typer.echo(f"Overlap  {overlap}; catch-up {catch_up}; retries {retries}")
        for line in _greeting(opened.path, times, server):
            typer.echo(line)
        wait_until_ready(server)
        serve_slots(server, times, parameters, at_once=at_once)


def _branch(record: RunRecord, runs: Sequence[RunRecord]) -> Iterator[str]:
    """Say in which settings the run differs from the one that it began in, if it is such a branch."""
    for parent in runs:
        if parent.id == record.parent:
            found = changes(parent.settings, record.settings)
            found.pop("stop.rounds", None)
            if text := settings(found):
                yield f"         It is a branch of {parent.id} with {text}; --run takes another run."


def _greeting(store: Path, times: Timetable, server: Server) -> Iterator[str]:
    yield f"Slots    {times} ({times.timezone}), the next ones:"
    for slot in next_slots(times, _SHOWN_SLOTS, datetime.now(UTC)):
        yield f"           {slot:%a %Y-%m-%d %H:%M:%S %Z}"
    yield f"Stop     Ctrl-C, or kill {os.getpid()}: nothing is lost, the next start goes on."
    yield f"Logs     {store / SCHEDULE_LOG} (slots), {store / STAGE_LOG} (stages)"
    yield f"Report   {store / 'reports'}, written after each slot"
    yield f"Prefect  {server.page}"
