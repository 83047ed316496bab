"""How a command ends on Ctrl-C, SIGTERM or a closed terminal: in order, and before five seconds are over."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

LIMIT_S = 4.0


class Interrupted(BaseException):
    """The user or the system asked the process to end; `signum` says with which signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum

    @property
    def exit_code(self) -> int:
        """128 plus the signal's number, as shells report it."""
        return 128 + self.signum


def by_signal(error: BaseException) -> bool:
    """Say whether an exception comes of a signal; DuckDB puts its own in the place of `Interrupted`."""
    return isinstance(error, Interrupted | KeyboardInterrupt) or str(error) == "Query interrupted"


@contextmanager
def interruptible(last_words: Callable[[], None]) -> Iterator[None]:
    """Raise `Interrupted` in the main thread on SIGINT, SIGTERM or SIGHUP while the `with` block runs.

    SIGHUP, which comes when the terminal is closed, stays ignored where it was, as under `nohup`.

    A second signal, or an unwinding that takes longer than LIMIT_S, ends the process at once: the store is
    safe at any point, and the Prefect server ends with its parent.

    Args:
        last_words: called before such an abrupt end, for instance to print how to resume.
    """
    came: list[Interrupted] = []

    def end_now(code: int) -> None:
        last_words()
        os._exit(code)

    def on_signal(signum: int, frame: FrameType | None) -> None:
        interruption = Interrupted(signum)
        if came:
            end_now(interruption.exit_code)
        came.append(interruption)
        timer = threading.Timer(LIMIT_S, end_now, [interruption.exit_code])
        timer.daemon = True
        timer.start()
        raise interruption

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    except RuntimeError as error:
        if came and by_signal(error):
            raise came[0] from error
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
