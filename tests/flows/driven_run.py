"""A small run without Prefect, begun or gone on with; see test_kill.py.

Usage: driven_run.py STORE POLICY [STAGES]. Prints `begun`, and at the end artifacts by stage and seconds as
JSON; after that many stages it kills itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

from small_runs import SteppingClock, small_config

from sdar.flows.improve import run_rounds
from sdar.storage import open_store
from sdar.tasks.session import Session


def main() -> None:
    path, policy = map(Path, sys.argv[1:3])
    last = int(sys.argv[3]) if len(sys.argv) > 3 else None
    print("begun", flush=True)
    began = time.monotonic()
    store, config = open_store(path), small_config(policy)
    # Two threads, as users have: a process that adds up in another order than the one before would show.
    config = config.model_copy(update={"policy": config.policy.model_copy(update={"threads": 2})})
    with store.writer("driven run"):
        resume = "latest" if store.runs() else None
        session = Session.start(store, config, resume, SteppingClock())

        def execute(stage: str, number: int) -> None:
            session.execute(stage, number)
            if len(session.done) == last:
                os.kill(os.getpid(), signal.SIGKILL)

        run_rounds(session, execute, void)
        session.finish("done")
    artifacts = {f"{number} {stage}": made.id for (number, stage), made in session.artifacts.items()}
    print(json.dumps([artifacts, time.monotonic() - began]))


def void(_: object) -> None:
    """Take a value and do nothing with it."""


if __name__ == "__main__":
    main()
