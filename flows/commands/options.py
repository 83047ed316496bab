"""Options that several commands share, and the configuration they give."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdar.flows import completion
from sdar.schemas.config import RunnerKind
from sdar.schemas.errors import InputError
from sdar.schemas.lineage import RunRecord
from sdar.schemas.resolve import Resolved, resolve

if TYPE_CHECKING:
    from sdar.storage import Store

STORE = Path("sdar-store")
LATEST = "latest"

StoreOption = Annotated[Path, typer.Option("--store", envvar="SDAR_STORE", help="Folder of the store.")]
FileOption = Annotated[Path | None, typer.Option("--config", help="YAML or TOML file with settings.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PATH=VALUE",
        help="One setting, see `sdar config schema`. Repeatable.",
        autocompletion=completion.settings,
    ),
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Short for --set seed=N.")]
RoundsOption = Annotated[int | None, typer.Option("--rounds", help="Short for --set stop.rounds=N.")]
DevicesOption = Annotated[
    int | None, typer.Option("--devices", help="Short for --set policy.devices=N: who shares an update.")
]
MethodOption = Annotated[
    str | None,
    typer.Option("--method", help="Short for --set method=NAME.", autocompletion=completion.methods),
]
EnvOption = Annotated[
    str | None,
    typer.Option(
        "--env",
        metavar="NAME",
        help="Short for --set env.name=NAME, see `sdar envs list`.",
        autocompletion=completion.environments,
    ),
]
RunnerOption = Annotated[
    RunnerKind | None,
    typer.Option(
        "--runner", help="Where batches are done. Short for --set runner.kind=NAME; also with --resume."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]
Format = Literal["table", "csv", "json", "parquet"]
FormatOption = Annotated[
    Format, typer.Option("--format", help="How to write the result; parquet needs --out.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="File for the result, else standard output.")]
WaitOption = Annotated[
    float, typer.Option("--wait", min=0.0, metavar="SECONDS", help="Wait so long for another writer to end.")
]
RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="ID",
        help="Which run; by default the latest one.",
        autocompletion=completion.runs,
    ),
]


def overrides(
    settings: Sequence[str] | None,
    seed: int | None = None,
    rounds: int | None = None,
    method: str | None = None,
    env: str | None = None,
    devices: int | None = None,
) -> list[str]:
    """Return the short options as `path=value` texts, after which those of `--set` come."""
    short = {
        "env.name": env,
        "seed": seed,
        "stop.rounds": rounds,
        "method": method,
        "policy.devices": devices,
    }
    return [f"{path}={value}" for path, value in short.items() if value is not None] + list(settings or ())


def configuration(
    file: Path | None, texts: Sequence[str], values: Mapping[str, Any] | None = None
) -> Resolved:
    """Return the configuration that a file, values and `path=value` texts give; errors: see `resolve`."""
    from sdar.envs.registry import KINDS
    from sdar.rl.methods import METHODS

    known: dict[str, dict[str, Any]] = {name: dict(method.settings) for name, method in METHODS.items()}
    return resolve(known, file, texts, KINDS, values)


def resume_command(run_id: str, store: Path) -> str:
    """Return the command that continues a run at its first unfinished stage."""
    return f"sdar run --resume {shlex.quote(run_id)} --store {shlex.quote(str(store))}"


def with_latest(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with a `--resume` that names no run made to mean the latest one."""
    full: list[str] = []
    for index, word in enumerate(arguments):
        full.append(word)
        following = arguments[index + 1] if index + 1 < len(arguments) else "-"
        if word == "--resume" and following.startswith("-"):
            full.append(LATEST)
    return full


def read_store(path: Path) -> Store:
    """Open a store for reading; `InputError` where there is none."""
    from sdar.storage import open_store

    return open_store(path, read_only=True)


def change_store(path: Path) -> Store:
    """Open a store for writing; `InputError` where there is none instead of making one."""
    from sdar.storage import open_store

    read_store(path)
    return open_store(path)


def find_run(store: Store, run_id: str | None) -> RunRecord:
    """Return the named run, or the latest one; `InputError` when there is none."""
    found = store.run(run_id) if run_id not in (None, LATEST) else store.latest_run()
    if found is None:
        raise InputError(f"the store {store.path} has no run yet; start one with `sdar run`")
    return found
