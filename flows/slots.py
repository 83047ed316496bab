"""The Prefect flow `slot`: at a scheduled moment, more rounds of the run of a store.

`sdar serve` and the workers of prefect.yaml run it in a process of its own. It imports Prefect, so it is
imported only where a flow is served or run.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from prefect import flow, runtime
from prefect.client.schemas.objects import State
from prefect.states import Completed

from sdar.flows.commands.options import change_store, find_run
from sdar.flows.commands.report import write_report
from sdar.flows.display import PlainLines
from sdar.flows.environment import prepare_environment
from sdar.flows.improve import improve
from sdar.flows.interrupts import LIMIT_S, Interrupted, by_signal, interruptible
from sdar.flows.progress import recorded
from sdar.flows.report.texts import shortened
from sdar.flows.slot_record import SCHEDULE_LOG, STAGE_LOG, CatchUp, Overlap, SlotRecord, shown, why_not
from sdar.flows.trackers.base import tracked
from sdar.schemas.errors import StoreBusyError

if TYPE_CHECKING:
    from sdar.storage import Store

_WATCH_S = 0.5


@dataclass(frozen=True)
class _Slot:
    """One slot and what to do in it; see `slot`."""

    due: datetime
    run: str | None
    rounds: int
    overlap: Overlap
    catch_up: CatchUp
    retries: int


def slot_name() -> str:
    """Return the name of this flow run: the moment for which it was scheduled."""
    return f"slot of {shown(_due(runtime.flow_run.parameters.get('timezone', 'UTC')))}"


# The server checks the parameters against their schema; the annotations cannot be resolved in a new process.
@flow(name="slot", flow_run_name=slot_name, persist_result=False, validate_parameters=False)
def slot(
    store: str,
    run: str | None = None,
    rounds: int = 5,
    overlap: Overlap = "refuse",
    catch_up: CatchUp = "one",
    retries: int = 0,
    timezone: str = "UTC",
) -> State[None]:
    """Go on with the newest continuation of a run for a number of rounds.

    Args:
        store: folder of the store.
        run: id of the run; by default the latest one.
        rounds: how many more; fewer when a stop criterion of the run holds before.
        overlap: what to do while somebody else writes to the store: `refuse` the slot, or `queue` it.
        catch_up: whether `one` slot, or `none`, makes up for those that were missed.
        retries: how often to try again after a failure.
        timezone: of the moments that are told, for instance Europe/Berlin.
    """
    prepare_environment()
    _stand_alone()
    wish = _Slot(_due(timezone), run, rounds, overlap, catch_up, retries)
    try:
        with interruptible(lambda: None):
            return _carry_out(Path(store), wish)
    except Interrupted as interruption:
        raise SystemExit(interruption.exit_code) from None


def _due(timezone: str) -> datetime:
    due, zone = runtime.flow_run.scheduled_start_time, ZoneInfo(timezone)
    return datetime.now(zone) if due is None else datetime.fromtimestamp(due.timestamp(), zone)


def _stand_alone() -> None:
    """Leave Ctrl-C to the parent, which ends its slots in order, and end when the parent has gone."""
    with suppress(PermissionError):  # already the leader of a group, under a worker
        os.setsid()
    starter = multiprocessing.parent_process()  # which may have gone before this process came here
    parent = starter.pid if starter else os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(LIMIT_S)
        os._exit(128 + signal.SIGTERM)  # it still waits for a server that has gone as well

    threading.Thread(target=watch, daemon=True).start()


def _carry_out(path: Path, wish: _Slot) -> State[None]:
    store, record = change_store(path), SlotRecord(path / SCHEDULE_LOG)
    wait = math.inf if wish.overlap == "queue" else 0.0
    try:
        if not _is_due(record, wish):
            return Completed(name="Skipped", message="another slot stands for it")
        with store.writer(f"sdar serve, slot of {shown(wish.due)}", wait):
            if not _is_due(record, wish):  # while it waited, another one may have begun
                return Completed(name="Skipped", message="another slot stands for it")
            record.note("began", wish.due, pid=os.getpid())
            _work(store, wish, record)
    except StoreBusyError as busy:
        record.note("refused", wish.due, reason=str(busy))
        _tell(wish, f"refused: {busy} With --overlap queue a slot waits.")
        return Completed(name="Refused", message=str(busy))
    return Completed()


def _is_due(record: SlotRecord, wish: _Slot) -> bool:
    reason = why_not(wish.due, datetime.now(UTC), record.last(), wish.catch_up)
    if reason is not None:
        record.note("skipped", wish.due, reason=reason)
        _tell(wish, f"skipped: {reason}.")
    return reason is None


def _work(store: Store, wish: _Slot, record: SlotRecord) -> None:
    """Go on with the run; note how that ended."""
    from sdar.tasks.continuation import go_on
    from sdar.tasks.session import SystemClock

    try:
        session, first = go_on(store, find_run(store, wish.run), wish.rounds, SystemClock())
        _tell(wish, f"run {session.run_id} goes on with round {first}.")
        with recorded(session), (store.path / STAGE_LOG).open("a") as stream:
            print(f"Slot of {shown(wish.due)}: run {session.run_id}", file=stream, flush=True)
            with tracked(session, PlainLines(stream)) as watch:
                improve(session, watch, first, wish.retries)
        report = write_report(store, store.run(session.run_id))
    except (Exception, Interrupted) as error:
        if by_signal(error):
            record.note("interrupted", wish.due)
        else:
            record.note("failed", wish.due, reason=str(error))
            _tell(wish, f"failed: {error}")
        raise
    sentence = shortened(session.verdict.sentence) if session.verdict else ""
    record.note("done", wish.due, run=session.run_id, first=first, reason=sentence, report=str(report))
    _tell(wish, f"run {session.run_id} is done. {sentence} Report: {report}")


def _tell(wish: _Slot, text: str) -> None:
    print(f"{datetime.now(wish.due.tzinfo):%H:%M:%S}  slot of {shown(wish.due)}: {text}", flush=True)
