"""`sdar envs alfworld`: game files for the ALFWorld engine, made offline."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

alfworld_app = typer.Typer(no_args_is_help=True, help="Make games for the ALFWorld engine.")


@alfworld_app.command()
def generate(
    out: Annotated[Path, typer.Option("--out", help="New or empty folder for the games.")],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Folder of ALFRED, or file of its trajectories; else own rooms."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, help="Most games per split; 0 takes all.")] = 0,
) -> None:
    """Write games with train, seen and unseen rooms in ALFWorld's folder layout."""
    from sdar.envs.alfworld.generate import generate as write

    counts = write(out, source, limit)
    found = ", ".join(f"{split} {n}" for split, n in counts.items())
    settings = f"--env alfworld --set {shlex.quote(f'env.data={out}')}"
    typer.echo(f"Wrote games to {out}: {found}. Use them with: sdar run {settings}")
