"""The processes of a study: as many as there are jobs, each with one run at a time, none left behind."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from sdar.schemas.study import Member

Event = dict[str, Any]
LOOK_S = 0.5
"""Longest wait before Ctrl-C is looked at."""


@dataclass(frozen=True)
class Failure:
    """A run of a study that failed: what went wrong, and the exit code of such an error."""

    member: Member
    error: str
    exit_code: int


@dataclass
class _Worker:
    process: subprocess.Popen[str]
    log: Path
    member: Member | None = None


@dataclass
class Pool:
    """Hands runs to processes and their events to `watch`.

    Attributes:
        store: folder of the store; this process is its writer.
        study: name of the study.
        jobs: number of processes.
        watch: called with every event of a run: `begun`, `stage`, `done` or `failed`.
    """

    store: Path
    study: str
    jobs: int
    watch: Callable[[Member, Event], None]
    failures: list[Failure] = field(default_factory=list)
    running: list[Member] = field(default_factory=list)
    _events: SimpleQueue[tuple[_Worker, Event | None]] = field(default_factory=SimpleQueue)

    def run(self, members: Sequence[Member]) -> list[Failure]:
        """Carry out runs in this order; return those that failed. All processes have ended afterwards."""
        waiting = deque(members)
        with self._workers() as workers:
            while waiting or self.running:
                while waiting and len(self.running) < self.jobs:
                    self._hand_out(workers, waiting.popleft())
                self._take_event(workers)
        return self.failures

    @contextmanager
    def _workers(self) -> Iterator[list[_Worker]]:
        workers: list[_Worker] = []
        try:
            yield workers
        finally:
            for worker in workers:
                worker.process.kill()
            for worker in workers:
                worker.process.wait()

    def _hand_out(self, workers: list[_Worker], member: Member) -> None:
        worker = next((worker for worker in workers if worker.member is None), None)
        if worker is None:
            worker = self._start(len(workers))
            workers.append(worker)
        worker.member = member
        self.running.append(member)
        self.watch(member, {"event": "begun"})
        assert worker.process.stdin is not None
        try:
            worker.process.stdin.write(f"{member.run_id}\n")
            worker.process.stdin.flush()
        except BrokenPipeError:
            return  # it has ended; the end of its output tells why

    def _start(self, number: int) -> _Worker:
        log = self.store / "logs" / f"{self.study}-{number}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "sdar.flows.study_worker", str(self.store), self.study],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C in the terminal is for the command, which ends its workers
            )
        worker = _Worker(process, log)
        threading.Thread(target=self._listen, args=[worker], daemon=True).start()
        return worker

    def _listen(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        for line in worker.process.stdout:
            self._events.put((worker, json.loads(line)))
        self._events.put((worker, None))

    def _take_event(self, workers: list[_Worker]) -> None:
        try:
            worker, event = self._events.get(timeout=LOOK_S)
        except Empty:
            return
        if event is None:
            workers.remove(worker)
            event = {"event": "failed", "error": _death(worker), "code": 1}
        member = worker.member
        if member is None:
            return
        if event["event"] in ("done", "failed"):
            worker.member = None
            self.running.remove(member)
        if event["event"] == "failed":
            self.failures.append(Failure(member, str(event["error"]), int(event["code"])))
        self.watch(member, event)


def _death(worker: _Worker) -> str:
    code = worker.process.wait()
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    last = " / ".join(worker.log.read_text(errors="replace").strip().splitlines()[-2:]) or "it is empty"
    return f"its process ended with {how}; the end of its log {worker.log}: {last}"
