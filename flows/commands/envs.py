"""`sdar envs`: the worlds that are installed, and the built-in one's handbook."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sdar.flows.commands.options import FileOption, JsonOption, SetOption, configuration
from sdar.flows.output import aligned, print_json
from sdar.schemas.errors import InputError

envs_app = typer.Typer(no_args_is_help=True, help="Look at the environments.")


@envs_app.command("list")
def list_environments(config: FileOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """List the installed environments with the number of tasks in each split."""
    from sdar.envs.registry import environment_factory, environment_names

    settings = configuration(config, set_ or ()).config.env
    rows: dict[str, dict[str, int]] = {}
    for name in environment_names():
        world = environment_factory(name)(settings.model_copy(update={"name": name}))
        rows[name] = {split: len(world.tasks(split)) for split in world.splits()}
    if json_:
        print_json([{"name": name, "splits": splits} for name, splits in rows.items()])
        return
    lines = [(name, ", ".join(f"{s} {n}" for s, n in splits.items())) for name, splits in rows.items()]
    typer.echo(aligned(("name", "tasks by split"), lines))


@envs_app.command()
def handbook(
    out: Annotated[Path, typer.Option("--out", help="New or empty folder for the skills.")],
    house: Annotated[int, typer.Option("--house", min=0, help="Number of the house.")] = 0,
) -> None:
    """Write the conventions of a house of the household as skills, one fact each."""
    from sdar.envs.household.handbook import handbook as texts
    from sdar.envs.household.house import house as build

    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} is not empty; a handbook needs a new or an empty folder. Name one with --out."
        )
    pages = texts(build(house))
    try:
        for name, text in pages.items():
            (out / name).mkdir(parents=True)
            (out / name / "SKILL.md").write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {out} ({error}). Name another folder with --out.") from error
    settings = f"--set env.house={house} --set {shlex.quote(f'skills.path={out}')}"
    typer.echo(f"Wrote {len(pages)} skills to {out}. Use them with: sdar run {settings}")
