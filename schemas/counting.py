"""How far a long piece of work is: told by whoever does it, heard by whoever wants to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Listener = Callable[[int, int, str], None]
"""Hears how much is done, of how much, and of what."""

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def count(done: int, total: int, unit: str) -> None:
    """Tell how far the work is; nothing happens unless somebody listens.

    Args:
        done: how much is done, in [0, total].
        total: how much there is to do.
        unit: what is counted, a plural noun such as `episodes`.
    """
    listener = _listener.get()
    if listener is not None:
        listener(done, total, unit)


@contextmanager
def counting(listener: Listener) -> Iterator[None]:
    """Hear what the work in a `with` block counts; work in threads that it starts is not heard."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
