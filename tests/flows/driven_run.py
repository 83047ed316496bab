"""A small run without Prefect, begun or gone on with; see test_kill.py.

Usage: driven_run.py STORE POLICY. Prints `begun`, and at the end artifacts by stage and seconds as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from small_runs import SteppingClock, small_config

from sdar.flows.improve import run_rounds
from sdar.storage import open_store
from sdar.tasks.session import Session


def main() -> None:
    path, policy = map(Path, sys.argv[1:])
    print("begun", flush=True)
    began = time.monotonic()
    store = open_store(path)
    with store.writer("driven run"):
        resume = "latest" if store.runs() else None
        session = Session.start(store, small_config(policy), resume, SteppingClock())
        run_rounds(session, lambda stage, number: void(session.execute(stage, number)), void)
        session.finish("done")
    artifacts = {f"{number} {stage}": made.id for (number, stage), made in session.artifacts.items()}
    print(json.dumps([artifacts, time.monotonic() - began]))


def void(_: object) -> None:
    """Take a value and do nothing with it."""


if __name__ == "__main__":
    main()
