"""`sdar serve` with a real Prefect server: slots go on from one another, and nothing outlives the command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sdar.flows.commands.options import configuration
from sdar.flows.improve import run_rounds
from sdar.flows.slot_record import SlotRecord
from sdar.storage import open_store
from sdar.tasks.continuation import go_on
from sdar.tasks.session import Session, SystemClock

PATIENCE_S = 1500.0
"""Longest wait for anything; a busy machine needs minutes for what takes seconds."""
BERLIN = ("--timezone", "Europe/Berlin")
SMALL = ("rollout.tasks=4", "evaluation.panel_size=32", "policy.threads=1", "stop.rounds=1")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(4 * PATIENCE_S)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run of one round."""
    path = tmp_path_factory.mktemp("served") / "store"
    opened = open_store(path)
    with opened.writer("test"):
        session = Session.start(opened, configuration(None, SMALL).config, None, SystemClock())
        run_rounds(session, lambda stage, number: void(session.execute(stage, number)), void)
        session.finish("done")
    return path


def void(_: object) -> None:
    """Take a value and do nothing with it."""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}


@contextmanager
def _served(store: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Serve the store; the output goes to `serve.txt` beside it."""
    command = [sys.executable, "-m", "sdar", "serve", "--store", str(store), "--rounds", "1", *arguments]
    with store.with_name("serve.txt").open("a") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, text=True, env=_environment())
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _events(store: Path, name: str) -> list[dict[str, Any]]:
    return [
        event for event in SlotRecord(store / "logs" / "schedule.jsonl").events() if event["event"] == name
    ]


def _wait(process: subprocess.Popen[str], store: Path, until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not until():
        assert process.poll() is None, store.with_name("serve.txt").read_text()
        assert time.monotonic() < deadline, store.with_name("serve.txt").read_text()
        time.sleep(0.1)


def _descendants(pid: int) -> set[int]:
    """Return the processes below one, from /proc."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found, new = set[int](), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _end(process: subprocess.Popen[str], signum: signal.Signals) -> int:
    """Send a signal; return the exit code once the process and all below it ended, within five seconds.

    After SIGKILL nothing is there to end them: they find out by themselves, within ten.
    """
    below = _descendants(process.pid)
    assert below  # the Prefect server at least
    deadline = time.monotonic() + (10 if signum == signal.SIGKILL else 5)
    process.send_signal(signum)
    code = process.wait(5)
    while any(map(_alive, below)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [Path(f"/proc/{pid}/cmdline").read_text() for pid in below if _alive(pid)] == []
    return code


def test_two_slots_go_on_from_one_another(store: Path) -> None:
    with _served(store, "--interval", "20s", "--overlap", "queue", *BERLIN) as process:
        _wait(process, store, lambda: len(_events(store, "done")) >= 2)
        assert _end(process, signal.SIGTERM) == 128 + signal.SIGTERM
    runs = open_store(store, read_only=True).runs()
    assert [(run.parent, run.branch) for run in runs[:3]] == [
        (None, None),
        (runs[0].id, (2, "collect")),
        (runs[1].id, (3, "collect")),
    ]
    assert [run.status for run in runs[:3]] == ["done"] * 3
    assert [(event["run"], event["first"]) for event in _events(store, "done")[:2]] == [
        (runs[1].id, 2),
        (runs[2].id, 3),
    ]
    assert all(Path(event["report"]).stat().st_size for event in _events(store, "done"))
    text = store.with_name("serve.txt").read_text()
    assert re.search(r"slot of \S+ \S+ CES?T: run", text)
    assert "Traceback" not in text


def test_an_interrupted_slot_goes_on_at_the_next_start(store: Path) -> None:
    yearly = ("--cron", "0 0 29 2 *")  # nothing is due, but for what was interrupted
    open_, log = open_store(store), store / "logs" / "serve.log"
    with open_.writer("test"):
        session, _ = go_on(open_, open_.runs()[0], 1, SystemClock())
        session.finish("interrupted")
    begun = len(_events(store, "began"))
    with _served(store, "--run", open_.runs()[0].id, *yearly) as process:
        _wait(process, store, lambda: len(_events(store, "began")) > begun)
        _wait(process, store, lambda: log.exists() and session.run_id in log.read_text())
        assert _end(process, signal.SIGINT) == 128 + signal.SIGINT
    assert open_.run(session.run_id).status != "done"
    done = len(_events(store, "done"))
    with _served(store, "--run", open_.runs()[0].id, *yearly) as process:
        _wait(process, store, lambda: len(_events(store, "done")) > done)
        assert _events(store, "done")[-1]["run"] == session.run_id
        _end(process, signal.SIGKILL)
    assert open_.run(session.run_id).status == "done"


def test_a_store_in_use_refuses_the_slot_and_names_the_owner(store: Path) -> None:
    with _served(store, "--interval", "20s") as process:
        with open_store(store).writer("a long job"):
            _wait(process, store, lambda: bool(_events(store, "refused")))
        assert "(a long job)" in _events(store, "refused")[0]["reason"]
        _end(process, signal.SIGTERM)


def test_a_slot_that_does_not_listen_ends_after_its_parent() -> None:
    child = (
        "import signal, time; from sdar.flows import slots; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "slots._stand_alone(); print('ready', flush=True); time.sleep(600)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        _end(process, signal.SIGKILL)


def test_a_slot_that_begins_after_its_parent_has_gone_ends() -> None:
    child = (
        "import multiprocessing, os, time; from sdar.flows import slots\n"
        "while os.getppid() == multiprocessing.parent_process().pid: time.sleep(0.02)\n"
        "print(os.getpid(), flush=True); slots._stand_alone(); time.sleep(600)"
    )
    parent = (
        "import multiprocessing, os\n"
        f"multiprocessing.get_context('spawn').Process(target=exec, args=({child!r},)).start(); os._exit(0)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        orphan = int(process.stdout.readline())
        deadline = time.monotonic() + 10
        while _alive(orphan) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not _alive(orphan)
