"""`sdar envs`: the worlds that are installed, playing one, checking one, and the household's handbook."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from sdar.flows.commands.envs_alfworld import alfworld_app
from sdar.flows.commands.envs_check import check
from sdar.flows.commands.envs_play import play
from sdar.flows.commands.options import JsonOption, configuration
from sdar.flows.output import aligned, print_json
from sdar.schemas.errors import InputError, SdarError

envs_app = typer.Typer(no_args_is_help=True, help="Look at the environments, play them and check them.")
envs_app.command()(play)
envs_app.command()(check)
envs_app.add_typer(alfworld_app, name="alfworld")


@envs_app.command("list")
def list_environments(
    tasks: Annotated[bool, typer.Option("--tasks", help="Also count the tasks of each split.")] = False,
    json_: JsonOption = False,
) -> None:
    """List the environments: what each is, and whether an extra is missing for it."""
    from sdar.envs.registry import environment_names

    rows = [_row(name, tasks) for name in environment_names()]
    if json_:
        print_json(rows)
        return
    columns = ("name", "state", "summary", *(("tasks by split",) if tasks else ()))
    typer.echo(aligned(columns, [tuple(map(str, _cells(row, tasks))) for row in rows]))


def _row(name: str, tasks: bool) -> dict[str, Any]:
    from sdar.envs.registry import environment_kind, missing_extra

    try:
        kind = environment_kind(name)
    except SdarError as error:  # the package of one environment must not hide the others
        return {"name": name, "state": "broken", "summary": str(error)}
    missing = missing_extra(kind)
    row: dict[str, Any] = {
        "name": name,
        "state": f"missing: {missing}" if missing else "installed",
        "summary": kind.summary,
        "settings": dict(kind.settings),
        "options": dict(kind.options),
    }
    return {**row, "tasks": {} if missing else _tasks(name)} if tasks else row


def _tasks(name: str) -> dict[str, int] | str:
    from sdar.envs.registry import environment_factory

    try:
        world = environment_factory(name)(configuration(None, [f"env.name={name}"]).config.env)
        return {split: len(world.tasks(split)) for split in world.splits()}
    except SdarError as error:
        return str(error)


def _cells(row: dict[str, Any], tasks: bool) -> list[str]:
    cells = [row["name"], row["state"], row["summary"]]
    if not tasks:
        return cells
    found = row.get("tasks", {})
    text = found if isinstance(found, str) else ", ".join(f"{split} {n}" for split, n in found.items())
    return [*cells, text]


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
