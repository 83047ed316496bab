"""The `sdar` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

import typer

from sdar.flows.commands.bootstrap import bootstrap
from sdar.flows.commands.compare import compare
from sdar.flows.commands.config import config_app, methods
from sdar.flows.commands.doctor import doctor
from sdar.flows.commands.envs import envs_app
from sdar.flows.commands.episodes import episodes_app
from sdar.flows.commands.evaluate import evaluate
from sdar.flows.commands.options import with_latest
from sdar.flows.commands.policy import policy_app
from sdar.flows.commands.report import report
from sdar.flows.commands.run import run
from sdar.flows.commands.runs import runs_app
from sdar.flows.commands.serve import serve
from sdar.flows.commands.skills import skills_app
from sdar.flows.commands.sql import sql
from sdar.flows.commands.stage import stage
from sdar.flows.commands.status import status
from sdar.flows.commands.store import store_app
from sdar.flows.commands.watch import watch
from sdar.flows.completion import take_setting
from sdar.flows.environment import prepare_environment
from sdar.flows.failures import explained
from sdar.flows.interrupts import Interrupted, interruptible
from sdar.schemas.errors import SdarError

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Agents that teach themselves, offline: rollouts, skills as teacher, GRPO, one local store.",
    epilog="Exit codes: 1 failed run, 2 wrong input, 3 environment missing, 4 store busy, 5 integrity, "
    "130 and 143 interrupted.",
)
app.command()(run)
app.command()(serve)
app.command()(compare)
app.add_typer(runs_app, name="runs")
app.command()(status)
app.command()(watch)
app.command()(report)
app.command()(stage)
app.command()(evaluate)
app.command()(bootstrap)
app.command()(methods)
app.command()(sql)
app.command()(doctor)
app.add_typer(episodes_app, name="episodes")
app.add_typer(policy_app, name="policy")
app.add_typer(skills_app, name="skills")
app.add_typer(envs_app, name="envs")
app.add_typer(config_app, name="config")
app.add_typer(store_app, name="store")


def main() -> None:
    """Run the command line of this process and end it with the exit code."""
    _open_standard_streams()
    streams = (sys.stdout, sys.stderr)
    code = execute(sys.argv[1:])
    for stream in streams:
        _flush(stream)
    if "prefect" in sys.modules:
        # Prefect's exit handlers would offer the last events to a server that has gone, for up to a minute.
        os._exit(code)
    raise SystemExit(code)


def _open_standard_streams() -> None:
    """Give each stream that the caller closed, as `>&-` does, to the null device.

    Else the next file that is opened, the database perhaps, gets its number, and with it what is printed.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115  the lowest number: its own
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _flush(stream: TextIO) -> None:
    """Write what is left for a stream; nothing more may be flushed to one whose reader has gone."""
    try:
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def execute(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; the code of each error is in `schemas.errors`.

    A reader of what is printed that has seen enough, such as `head`, is no failure.
    """
    prepare_environment()
    take_setting(os.environ)
    try:
        with interruptible(lambda: None):
            app(with_latest(arguments), prog_name="sdar")
    except SystemExit as ended:  # how typer ends, after a success too, and after a closed pipe with code 1
        closed = ended.__context__
        if isinstance(closed, BrokenPipeError):
            return getattr(closed.__context__, "exit_code", 0)  # of what the reader would have been told
        return int(ended.code or 0)
    except Interrupted as interruption:
        return interruption.exit_code
    except SdarError as error:
        return _told(error)
    except Exception as error:
        return _told(explained(error))
    return 0


def _told(error: SdarError) -> int:
    with suppress(BrokenPipeError):
        print(f"Error: {error}", file=sys.stderr)
    return error.exit_code
