"""Worker processes: starts them, gives them requests in parallel, and ends those that hang.

A worker is a fresh interpreter: a fork would hang after OpenMP was used, and a process that `multiprocessing`
spawns would import the user's main module once more.
"""

from __future__ import annotations

import atexit
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from sdar.envs.worker_main import Answer, Request
from sdar.schemas.errors import EnvironmentFailedError

START_SECONDS = 120.0
"""What a worker may take until it can be asked something."""
END_SECONDS = 2.0
"""What a worker may take to clean up when it is told to end."""
IN_FLIGHT = 8
"""Requests that a worker may have at a time: it need not wait for this process between two of them."""
SMALL_BYTES = 4096
"""A longer request is sent only to a worker that waits, so that both never block on writing to each other."""


@dataclass(frozen=True)
class Ask:
    """A request, the seconds within which it must be answered, and whether they are those of a step."""

    request: Request
    seconds: float
    short: bool


Conversation = Generator[Ask, Answer | None, Any]
"""Requests to one worker, each of which may depend on the answers before it; what it returns is the result.

None instead of an answer means that the worker was lost by no fault of this request, which must be repeated.
"""


@dataclass(eq=False)
class Lane:
    """The place of one worker, which is started when it is first needed and again after it was lost.

    `generation` counts the workers that were lost: what was built in an older one is gone.
    """

    number: int
    generation: int = 0
    used: set[int] = field(default_factory=set)
    dropped: deque[int] = field(default_factory=deque)
    process: subprocess.Popen[bytes] | None = None
    connection: Connection[bytes, bytes] | None = None
    noise: IO[bytes] | None = None
    ready: bool = False

    def drop(self, handle: int) -> None:
        """Say that an environment is not used any more; the worker hears of it with the next request."""
        self.used.discard(handle)
        self.dropped.append(handle)

    def send(self, request: bytes) -> None:
        """Send a pickled request to the worker, and start one if there is none."""
        if self.process is None:
            self._start()
        assert self.connection is not None
        dropped = tuple(self.dropped.popleft() for _ in range(len(self.dropped)))
        with suppress(OSError):  # a worker that is gone is noticed where its answer is awaited
            self.connection.send_bytes(pickle.dumps((dropped, request)))

    def discard_dead(self) -> bool:
        """Forget the worker if it ended while it was idle, and return whether it did."""
        dead = self.process is not None and self.process.poll() is not None
        if dead:
            self.kill()
        return dead

    def obituary(self) -> str:
        """Return how the worker ended, and the last line that it wrote."""
        assert self.process is not None
        assert self.noise is not None
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        code = self.process.returncode
        how = f"exit code {code}" if code is None or code >= 0 else f"signal {signal.Signals(-code).name}"
        self.noise.seek(0)
        lines = self.noise.read().decode(errors="replace").strip().splitlines()
        said = [line for line in lines if line.startswith("Fatal")] or lines[-1:]
        return f"{how}; it said {said[0][:200]!r}" if said else how

    def close(self) -> None:
        """Tell the worker to end."""
        if self.connection is not None:
            self.connection.close()

    def kill(self) -> None:
        """End the worker and its own children at once; the next request starts a fresh one."""
        if self.process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for held in (self.connection, self.process.stdin, self.noise):
            if held is not None:
                held.close()
        self.process = self.connection = self.noise = None
        self.ready = False
        self.generation += 1
        self.dropped.clear()

    def _start(self) -> None:
        self.connection, theirs = Pipe()
        # Text that is appended can be cut by the worker when it gets too long.
        self.noise = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - lives as long as the worker
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "sdar.envs.worker_main", str(theirs.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self.noise,
            pass_fds=[theirs.fileno()],
            start_new_session=True,  # Ctrl-C is for the parent, which then ends its workers
            env=_variables(),
        )
        theirs.close()


def _variables() -> dict[str, str]:
    """Return the environment variables of a worker: it finds the same modules, and orders sets as all do."""
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"}


@dataclass
class _Talk:
    """A conversation: its place among the results, and what it asks next, once it has begun."""

    place: int
    conversation: Conversation
    ask: Ask | None = None


@dataclass
class _Traffic:
    """What goes to and from one worker; `since` is when it began with the first request in flight."""

    lane: Lane
    results: list[Any | Exception]
    queue: deque[_Talk] = field(default_factory=deque)
    flying: deque[_Talk] = field(default_factory=deque)
    since: float = 0.0

    def fill(self) -> None:
        """Send what the worker may have at a time."""
        while self.queue and len(self.flying) < IN_FLIGHT:
            if not self.flying:
                self.since = time.monotonic()
                if self.lane.discard_dead():
                    self._repeat(())
                    continue
            talk = self.queue[0]
            if talk.ask is None and not self._advance(talk, None):
                self.queue.popleft()
                continue
            assert talk.ask is not None
            request = pickle.dumps(talk.ask.request)
            if self.flying and len(request) > SMALL_BYTES:
                return
            self.lane.send(request)
            self.flying.append(self.queue.popleft())

    def deadline(self) -> float:
        """Return when it is too late for the first answer in flight."""
        return self.since + (_ask(self.flying[0]).seconds if self.lane.ready else START_SECONDS)

    def receive(self) -> None:
        """Take what the worker sent, or notice that it ended."""
        assert self.lane.connection is not None
        try:
            received = self.lane.connection.recv_bytes()
        except (EOFError, OSError):
            self.lose(f"{_what(self.flying[0])} ended its worker process ({self.lane.obituary()})")
            return
        self.since = time.monotonic()
        if self.lane.ready:
            self._answered(_read(received, self.flying[0]))
        self.lane.ready = True

    def too_late(self) -> None:
        """Give up the worker, which did not answer in time."""
        if not self.lane.ready:
            self.lose(f"a worker process did not start within {START_SECONDS:g} s")
            return
        ask = _ask(self.flying[0])
        limit = "env.step_timeout" if ask.short else "env.reset_timeout"
        self.lose(
            f"{_what(self.flying[0])} took longer than the {ask.seconds:g} s allowed, and its worker process "
            f"was ended; set {limit} to allow more"
        )

    def lose(self, why: str) -> None:
        """End the worker: the request that it was at fails, those of other episodes are repeated."""
        self.lane.kill()
        culprit = self.flying.popleft()
        innocent, self.flying = self.flying, deque()
        text = f"{why}. This episode ends; others go on, and reset(task, seed) starts a fresh worker"
        self._advance(culprit, Answer(error=EnvironmentFailedError(text)))
        self._repeat(innocent)

    def _repeat(self, innocent: Iterable[_Talk]) -> None:
        """Let conversations that were begun with a lost worker begin again, before those that were not."""
        begun = [*innocent, *(talk for talk in self.queue if talk.ask is not None)]
        unbegun = [talk for talk in self.queue if talk.ask is None]
        self.queue = deque(talk for talk in begun if self._advance(talk, None))
        self.queue.extend(unbegun)

    def _answered(self, answer: Answer) -> None:
        talk = self.flying.popleft()
        if self._advance(talk, answer):
            self.queue.appendleft(talk)

    def _advance(self, talk: _Talk, answer: Answer | None) -> bool:
        """Hand over an answer and take what is asked next; return whether anything is."""
        try:
            talk.ask = talk.conversation.send(answer)
        except StopIteration as end:
            self.results[talk.place] = end.value
            return False
        except Exception as error:
            self.results[talk.place] = error
            return False
        return True


def _ask(talk: _Talk) -> Ask:
    assert talk.ask is not None
    return talk.ask


def _what(talk: _Talk) -> str:
    request = _ask(talk).request
    arguments = ", ".join(repr(argument)[:60] for argument in request.arguments if isinstance(argument, str))
    return f"{request.method}({arguments})"


def _read(received: bytes, talk: _Talk) -> Answer:
    try:
        answer: Answer = pickle.loads(received)
    except Exception as error:  # what a world answers may be of a module that this process lacks
        text = f"{_what(talk)} was answered with what this process cannot read: {error}"
        return Answer(error=EnvironmentFailedError(text))
    return answer


class Pool:
    """All workers of this process; the number of lanes in use is bounded by whoever asks for one."""

    def __init__(self) -> None:
        self._lanes: list[Lane] = []
        self._lock = threading.RLock()
        self._owner = os.getpid()
        self._handles = 0

    def place(self, size: int) -> tuple[Lane, int]:
        """Return a place for one environment in the least used of `size` lanes, and its new handle."""
        with self._lock:
            self._lanes += [Lane(number) for number in range(len(self._lanes), size)]
            lane = min(self._lanes[:size], key=lambda lane: len(lane.used))
            self._handles += 1
            lane.used.add(self._handles)
            return lane, self._handles

    def run(self, conversations: Sequence[tuple[Lane, Conversation]]) -> list[Any | Exception]:
        """Hold conversations, those of different lanes at the same time.

        Those of one lane follow each other in the given order, so that nothing depends on timing.

        Returns:
            What each returned or raised, in the given order.
        """
        results: list[Any | Exception] = [None] * len(conversations)
        lanes: dict[Lane, _Traffic] = {}
        for place, (lane, conversation) in enumerate(conversations):
            traffic = lanes.setdefault(lane, _Traffic(lane, results))
            traffic.queue.append(_Talk(place, conversation))
        with self._lock:
            try:
                while busy := _busy(lanes.values()):
                    _listen(busy)
            except BaseException:
                # Ctrl-C, say: an answer that is still to come would be taken for that of the next request.
                for traffic in lanes.values():
                    traffic.lane.kill()
                raise
        return results

    def pids(self) -> list[int]:
        """Return the process ids of the workers that were started and not ended."""
        return [lane.process.pid for lane in self._lanes if lane.process is not None]

    def close(self) -> None:
        """End all workers; what they held is built again when it is needed."""
        if os.getpid() != self._owner:
            return
        with self._lock:
            for lane in self._lanes:
                lane.close()
            limit = time.monotonic() + END_SECONDS
            for lane in self._lanes:
                if lane.process is not None:
                    with suppress(subprocess.TimeoutExpired):
                        lane.process.wait(max(0.0, limit - time.monotonic()))
                lane.kill()


def _busy(lanes: Iterable[_Traffic]) -> list[_Traffic]:
    """Send whatever can be sent and return the lanes from which answers are awaited."""
    for traffic in lanes:
        traffic.fill()
    return [traffic for traffic in lanes if traffic.flying]


def _listen(busy: Sequence[_Traffic]) -> None:
    """Wait until a worker sends something or is too late, and act on it."""
    connections = {
        traffic.lane.connection: traffic for traffic in busy if traffic.lane.connection is not None
    }
    first = min(traffic.deadline() for traffic in busy)
    heard = wait(list(connections), max(0.0, first - time.monotonic()))
    for connection, traffic in connections.items():
        if connection in heard:
            traffic.receive()
        elif time.monotonic() >= traffic.deadline():
            traffic.too_late()


POOL = Pool()
"""The workers of this process."""

atexit.register(POOL.close)
