"""What the place where a command writes can show."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console


def is_terminal(stream: TextIO) -> bool:
    """Say whether a stream is a terminal on which lines can be written anew."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("dumb", "unknown")


def console_for(stream: TextIO) -> Console:
    """Return a console for a stream: without colour where NO_COLOR is set, without any codes in a pipe."""
    from rich.console import Console

    return Console(file=stream, highlight=False)
