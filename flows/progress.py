"""How a command that works on a run ends: its status in the store, and the line that says how to go on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from sdar.flows.commands.options import resume_command
from sdar.flows.failures import UnexpectedError, keep_traceback
from sdar.flows.interrupts import Interrupted, interruptible
from sdar.schemas.errors import ConfigError, InputError, SdarError
from sdar.schemas.lineage import RunStatus

if TYPE_CHECKING:
    from sdar.tasks.session import Session


@dataclass
class Progress:
    """How far a run got, for the line that says how to go on; `run_id` is empty until it is recorded."""

    store: Path
    run_id: str = ""
    told: bool = False

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
    except Interrupted:
        session.finish("interrupted")
        raise
    except Exception:
        session.finish("failed")
        raise
    session.finish(done)


@contextmanager
def accounted(progress: Progress) -> Iterator[None]:
    """On every failure or interruption say how to go on; keep the traceback of a failure that is a bug."""
    with interruptible(progress.tell):
        try:
            yield
        except Interrupted:
            progress.tell()
            raise
        except SdarError as error:
            print(f"Error: {error}", file=sys.stderr)
            if progress.run_id or not isinstance(error, InputError | ConfigError):
                progress.tell()  # otherwise the same command would only fail again
            raise typer.Exit(error.exit_code) from error
        except Exception as error:
            log = keep_traceback(error, progress.store / "logs")
            print(f"Error: {UnexpectedError(error, log)}", file=sys.stderr)
            progress.tell()
            raise typer.Exit(1) from error
