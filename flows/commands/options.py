"""Options that several commands share, and the configuration they give."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sdar.schemas.resolve import Resolved, resolve

STORE = Path("sdar-store")
LATEST = "latest"

StoreOption = Annotated[Path, typer.Option("--store", envvar="SDAR_STORE", help="Folder of the store.")]
FileOption = Annotated[Path | None, typer.Option("--config", help="YAML or TOML file with settings.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="One setting, see `sdar config schema`. Repeatable."),
]
SeedOption = Annotated[int | None, typer.Option("--seed", help="Short for --set seed=N.")]
RoundsOption = Annotated[int | None, typer.Option("--rounds", help="Short for --set stop.rounds=N.")]
MethodOption = Annotated[str | None, typer.Option("--method", help="Short for --set method=NAME.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON for programs.")]


def overrides(
    settings: Sequence[str] | None, seed: int | None, rounds: int | None, method: str | None
) -> list[str]:
    """Return the short options as `path=value` texts, after which those of `--set` come."""
    short = {"seed": seed, "stop.rounds": rounds, "method": method}
    return [f"{path}={value}" for path, value in short.items() if value is not None] + list(settings or ())


def configuration(file: Path | None, texts: Sequence[str]) -> Resolved:
    """Return the configuration that a file and `path=value` texts give; see `resolve` for the errors."""
    from sdar.rl.methods import METHODS

    known: dict[str, dict[str, Any]] = {name: dict(method.settings) for name, method in METHODS.items()}
    return resolve(known, file, texts)


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
