"""Serves the slots of a store: Prefect's runner begins each in a process of its own, and none outlives it."""

from __future__ import annotations

import asyncio
import hashlib
import multiprocessing
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sdar.flows.server import Server, ServerError
from sdar.flows.timetable import Timetable, prefect_schedule

GRACE_S = 2.0
"""Seconds that a slot gets to record its interruption; the store is safe without that too."""
_POLL_S = 5.0
_AGAIN = "Nothing is lost; start `sdar serve` again."


def serve(server: Server, times: Timetable, parameters: Mapping[str, Any], *, at_once: bool) -> None:
    """Begin each slot at its time until the process is asked to end; end the slots with it.

    Args:
        server: the Prefect server, which answers.
        times: when slots are due.
        parameters: of `sdar.flows.slots.slot`.
        at_once: whether one more is due now.

    Raises:
        ServerError: the Prefect server or the runner ended.
    """
    failures: list[BaseException] = []

    def work() -> None:
        try:
            asyncio.run(_run(times, parameters, at_once=at_once))
        except BaseException as error:
            failures.append(error)

    # In a thread, because the runner would take over SIGTERM and then wait for its slots to end.
    runner = threading.Thread(target=work, daemon=True)
    with _no_orphans():
        runner.start()
        while runner.is_alive():
            runner.join(1.0)
            if server.process is not None and server.process.poll() is not None:
                raise ServerError(f"the Prefect server ended; its log is {server.log}. {_AGAIN}")
    reason = failures[0] if failures else "no reason given"
    raise ServerError(f"Prefect's runner ended: {reason}. {_AGAIN}") from next(iter(failures), None)


async def _run(times: Timetable, parameters: Mapping[str, Any], *, at_once: bool) -> None:
    from prefect import get_client
    from prefect.runner import Runner
    from prefect.types.entrypoint import EntrypointType

    from sdar.flows.slots import slot

    store = Path(parameters["store"])
    # One after another in a queue; otherwise each begins at its time, and finds the store free or not.
    limit = 1 if parameters["overlap"] == "queue" else None
    runner = Runner(name=_name(store), limit=limit, pause_on_shutdown=False, query_seconds=_POLL_S)
    deployment = await runner.aadd_flow(
        slot,
        name=_name(store),
        schedule=prefect_schedule(times),
        parameters=dict(parameters),
        description=f"More rounds for {store}: {times}",
        tags=["sdar"],
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    if at_once:
        async with get_client() as client:
            await client.create_flow_run_from_deployment(deployment)
    await runner.start()


def _name(store: Path) -> str:
    """Name of the deployment: the same for the same store, so that a restart finds the missed slots."""
    folder = re.sub(r"[^\w.-]", "-", store.name)  # Prefect refuses some characters
    return f"{folder}-{hashlib.sha256(str(store).encode()).hexdigest()[:8]}"


@contextmanager
def _no_orphans() -> Iterator[None]:
    """End the processes of slots at the end of a `with` block: a polite signal first, then the other one."""
    try:
        yield
    finally:
        slots = multiprocessing.active_children()
        for process in slots:
            process.terminate()
        deadline = time.monotonic() + GRACE_S
        while any(process.is_alive() for process in slots) and time.monotonic() < deadline:
            time.sleep(0.05)
        for process in multiprocessing.active_children():
            process.kill()
