"""A worker process: holds the environments of several episodes and answers requests about them.

It is started by `sdar.envs.worker_pool` and ends when its parent does, whatever ended the parent.
"""

from __future__ import annotations

import faulthandler
import fcntl
import os
import pickle
import signal
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from sdar.envs.base import Demonstrator, Environment
from sdar.envs.demonstration import Demonstrates
from sdar.schemas.errors import EnvironmentFailedError

NOISE_BYTES = 1 << 20
"""What a worker writes to its standard error is forgotten when it gets longer than this."""


@dataclass(frozen=True)
class Request:
    """A method call on the environment of one episode.

    Attributes:
        handle: the episode's environment in this worker.
        recipe: pickled factory and configuration, which make the environment if it is not there.
        method: name of the method, or `make` or `next_action`.
        arguments: of the method.
    """

    handle: int
    recipe: bytes
    method: str
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a request returned, or the exception that it raised."""

    value: Any = None
    error: Exception | None = None


@dataclass(frozen=True)
class Made:
    """What the parent must know of an environment: its name, and whether it gives demonstrations."""

    name: str
    demonstrates: bool


@dataclass
class _Desk:
    """The environments of a worker: in use by handle, and idle ones by recipe for the next episode."""

    used: dict[int, tuple[bytes, Environment]] = field(default_factory=dict)
    idle: dict[bytes, list[Environment]] = field(default_factory=lambda: defaultdict(list))
    experts: dict[int, Demonstrator] = field(default_factory=dict)

    def answer(self, request: Request) -> Any:
        """Do what is asked and return the answer."""
        environment = self._environment(request)
        if request.method == "make":
            return Made(environment.name, isinstance(environment, Demonstrates))
        if request.method == "expert":
            return self._expert(request.handle, environment)
        if request.method == "next_action":
            return self.experts[request.handle].next_action()
        return getattr(environment, request.method)(*request.arguments)

    def _environment(self, request: Request) -> Environment:
        if request.handle not in self.used:
            idle = self.idle[request.recipe]
            if not idle:
                factory, config = pickle.loads(request.recipe)
                idle.append(factory(config))
            self.used[request.handle] = (request.recipe, idle.pop())
        return self.used[request.handle][1]

    def _expert(self, handle: int, environment: Environment) -> bool:
        expert = environment.expert()
        if expert is not None:
            self.experts[handle] = expert
        return expert is not None

    def drop(self, handle: int) -> None:
        """Keep an environment that nobody uses any more for the next episode."""
        self.experts.pop(handle, None)
        if handle in self.used:
            recipe, environment = self.used.pop(handle)
            self.idle[recipe].append(environment)


def main() -> None:
    """Answer requests until the parent closes the connection, whose file descriptor is the argument."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    _end_with_the_parent()
    faulthandler.enable()
    connection: Connection[bytes, bytes] = Connection(descriptor)
    connection.send_bytes(b"ready")
    desk = _Desk()
    while True:
        try:
            received = connection.recv_bytes()
        except (EOFError, OSError):
            return
        answer = _answer(desk, received)
        _forget_noise()
        connection.send_bytes(answer)


def _end_with_the_parent() -> None:
    """Let the kernel end this process when the parent is gone, even in the middle of a step that hangs.

    The parent holds the other end of the standard input and never writes to it. When it dies, however that
    comes, the kernel sends SIGIO, which on Linux ends even a process that keeps the interpreter's lock.
    """
    lifeline = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _answer(desk: _Desk, received: bytes) -> bytes:
    try:
        dropped, request = pickle.loads(received)
        for handle in dropped:
            desk.drop(handle)
        return pickle.dumps(Answer(desk.answer(pickle.loads(request))))
    except Exception as error:  # whatever a world raises is the answer to this request
        return pickle.dumps(Answer(error=_portable(error)))


def _portable(error: Exception) -> Exception:
    """Return the error, or one that says the same where it cannot be sent."""
    try:
        sent: Exception = pickle.loads(pickle.dumps(error))
        if str(sent) == str(error):
            return error
    except Exception:  # an exception may refuse to be pickled in any way it likes
        pass
    return EnvironmentFailedError(f"{type(error).__name__}: {error}")


def _forget_noise() -> None:
    if os.fstat(2).st_size > NOISE_BYTES:
        os.ftruncate(2, 0)


if __name__ == "__main__":
    # The module that requests and answers are pickled for is the imported one, not `__main__`.
    from sdar.envs import worker_main

    worker_main.main()
