"""How a command that works on a run ends: its status in the store, and the line that says how to go on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

from sdar.flows.commands.options import resume_command
from sdar.flows.failures import explained
from sdar.flows.interrupts import Interrupted, by_signal, interruptible
from sdar.schemas.errors import ConfigError, InputError, SdarError
from sdar.schemas.lineage import RunStatus

if TYPE_CHECKING:
    from sdar.tasks.session import Session


class Resumable(Protocol):
    """What a command works on: `store` holds it, `begun` says whether there is anything to go on with."""

    store: Path

    @property
    def begun(self) -> bool: ...  # noqa: D102
    def tell(self) -> None: ...  # noqa: D102


@dataclass
class Progress:
    """How far a run got, for the line that says how to go on; `run_id` is empty until it is recorded."""

    store: Path
    run_id: str = ""
    told: bool = False

    @property
    def begun(self) -> bool:
        """Whether the run is recorded."""
        return bool(self.run_id)

    def tell(self) -> None:
        """Print once, on standard error, the command that goes on from here."""
        if self.told:
            return
        self.told = True
        if self.run_id:
            line = f"Continue with: {resume_command(self.run_id, self.store)}"
        else:
            line = f"Nothing was begun; start again with: {shlex.join(['sdar', *sys.argv[1:]])}"
        print(line, file=sys.stderr, flush=True)


@contextmanager
def recorded(session: Session, done: RunStatus = "done") -> Iterator[None]:
    """Record in the store how the run ended, `done` being its status when the `with` block was completed."""
    try:
        yield
    except BaseException as error:  # SystemExit too: a library's answer to a closed pipe
        session.finish("interrupted" if by_signal(error) else "failed")
        raise
    session.finish(done)


@contextmanager
def accounted(work: Resumable) -> Iterator[None]:
    """On every failure or interruption say how to go on; keep the traceback of a failure that is a bug."""
    try:
        with interruptible(work.tell):
            yield
    except (Interrupted, typer.Exit):
        work.tell()
        raise
    except SdarError as error:
        print(f"Error: {error}", file=sys.stderr)
        if work.begun or not isinstance(error, InputError | ConfigError):
            work.tell()  # otherwise the same command would only fail again
        raise typer.Exit(error.exit_code) from error
    except Exception as error:
        told = explained(error, work.store)
        print(f"Error: {told}", file=sys.stderr)
        work.tell()
        raise typer.Exit(told.exit_code) from error
