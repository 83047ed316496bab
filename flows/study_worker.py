"""A process that carries out runs of a study: `python -m sdar.flows.study_worker STORE STUDY`.

Each line on its standard input is the id of a run; each line on its standard output is an event as JSON. The
end of its input, however that comes about, ends the process at once: the store is safe at any point.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TextIO

from sdar.flows.environment import prepare_environment
from sdar.schemas.errors import SdarError

if TYPE_CHECKING:
    from sdar.tasks.session import StageReport


def _read_input(requests: SimpleQueue[str]) -> None:
    for line in sys.stdin:
        requests.put(line.strip())
    os._exit(0)


def _tell(stream: TextIO, event: str, **values: Any) -> None:
    print(json.dumps({"event": event, **values}), file=stream, flush=True)


def _take_output() -> TextIO:
    """Return a stream for events; whatever a library prints goes to standard error from now on."""
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return events


def main() -> None:
    """Carry out runs until the input ends."""
    prepare_environment()
    events, requests = _take_output(), SimpleQueue[str]()
    threading.Thread(target=_read_input, args=[requests], daemon=True).start()

    from sdar.flows.trackers.base import tracking
    from sdar.storage.study import StudyStore
    from sdar.tasks.session import SystemClock
    from sdar.tasks.study import run_member

    store = StudyStore(Path(sys.argv[1]))
    store.join()
    study = store.study(sys.argv[2])
    assert study is not None  # the process that started this one has just recorded it
    pairs = {member.run_id: (arm, member) for arm, member in study.pairs()}

    def watch(catch_up: Callable[[], None], report: StageReport) -> None:
        catch_up()
        _tell(
            events,
            "stage",
            round=report.round,
            stage=report.stage,
            reused=report.reused,
            seconds=report.seconds,
            summary=dict(report.summary),
        )

    while True:
        arm, member = pairs[requests.get()]
        try:
            with tracking(store, member.run_id, arm.run_config(member.seed)) as catch_up:
                run_member(store, arm, member, SystemClock(), partial(watch, catch_up))
        except SdarError as error:
            _tell(events, "failed", error=str(error), code=error.exit_code)
        except Exception as error:
            traceback.print_exc()
            _tell(events, "failed", error=f"unexpected {type(error).__name__}: {error}", code=1)
        else:
            _tell(events, "done")


if __name__ == "__main__":
    main()
