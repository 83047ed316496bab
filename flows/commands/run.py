"""`sdar run`: rounds of self-improvement until the verdict says stop."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdar.flows.commands.options import (
    STORE,
    FileOption,
    JsonOption,
    MethodOption,
    RoundsOption,
    SeedOption,
    SetOption,
    StoreOption,
    configuration,
    overrides,
    resume_command,
)
from sdar.flows.display import Closing, close, open_watch
from sdar.flows.failures import UnexpectedError, keep_traceback
from sdar.flows.improve import improve
from sdar.flows.interrupts import Interrupted, interruptible
from sdar.flows.server import prefect_server, wait_until_ready
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError, InputError, SdarError

if TYPE_CHECKING:
    from sdar.storage import Store
    from sdar.tasks.session import Session


@dataclass
class _Progress:
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


def run(
    config: FileOption = None,
    set_: SetOption = None,
    seed: SeedOption = None,
    rounds: RoundsOption = None,
    method: MethodOption = None,
    store: StoreOption = STORE,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="[RUN]", help="Go on with a run, by default the latest.")
    ] = None,
    bootstrap: Annotated[
        bool,
        typer.Option(
            "--bootstrap", help="Train the first policy anew. Short for --set policy.path=bootstrap."
        ),
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Improve a policy, round after round, until it stops getting better."""
    first = ["policy.path=bootstrap"] if bootstrap else []
    texts = [*first, *overrides(set_, seed, rounds, method)]
    if resume is not None and (config is not None or texts):
        raise ConfigError(
            "--resume was given together with settings; a resumed run keeps its own. "
            f"Allowed: {resume_command(resume, store)}, or the settings without --resume for a new run."
        )
    settings = configuration(config, texts).config
    progress = _Progress(store)
    with _accounted(progress):
        _run(progress, settings, resume, as_json=json_)


def _run(progress: _Progress, config: RunConfig, resume: str | None, *, as_json: bool) -> None:
    from sdar.storage import open_store

    store = open_store(progress.store)
    with store.writer("sdar run"), prefect_server(store.path / "logs" / "prefect") as server:
        session = _start(store, config, resume)
        progress.run_id = session.run_id
        with _status(session):
            wait_until_ready(server)
            with open_watch(session.config.stop.rounds, as_json=as_json) as watch:
                improve(session, watch)
        folder = session.best_policy_folder()
        closing = Closing(
            session.run_id, str(store.path), str(folder or ""), session.verdict, session.table()
        )
    close(closing, as_json=as_json)


def _start(store: Store, config: RunConfig, resume: str | None) -> Session:
    """Begin or resume a run; here torch is imported, while the server is starting."""
    from sdar.tasks.session import Session, SystemClock

    return Session.start(store, config, resume, SystemClock())


@contextmanager
def _status(session: Session) -> Iterator[None]:
    """Record in the store how the run ended."""
    try:
        yield
    except Interrupted:
        session.finish("interrupted")
        raise
    except Exception:
        session.finish("failed")
        raise
    session.finish("done")


@contextmanager
def _accounted(progress: _Progress) -> Iterator[None]:
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
