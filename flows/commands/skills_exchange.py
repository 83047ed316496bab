"""`sdar skills import` and `export`: skills from elsewhere and for elsewhere."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from sdar.flows.commands.options import EnvOption, FileOption, JsonOption, SetOption
from sdar.flows.commands.skills_bank import BankOption, bank_folder, own_bank, settings
from sdar.flows.output import print_json
from sdar.schemas.errors import InputError
from sdar.schemas.near import did_you_mean


def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Folder of skills, a SKILL.md, or a .zip archive.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the new one where names clash; the old one is kept aside.")
    ] = False,
    bank: BankOption = None,
    config: FileOption = None,
    env: EnvOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Copy skills into a bank, with the files beside them: all, or none if anything is wrong."""
    from sdar.skills.exchange import import_skills

    folder = own_bank(settings(bank, config, env, set_))
    done = import_skills(source, folder, replace)
    if json_:
        print_json({"added": done.added, "replaced": done.replaced, "same": done.same, "kept": done.kept})
        return
    for label, names in (("added", done.added), ("replaced", done.replaced), ("the same", done.same)):
        if names:
            typer.echo(f"{label:<9} {len(names):>4}  {', '.join(names)}")
    if done.kept:
        old = f"sdar skills import {shlex.quote(str(done.kept))} --replace --bank {shlex.quote(str(folder))}"
        typer.echo(f"Bring the old ones back with: {old}")


def export(
    out: Annotated[
        Path, typer.Option("--out", metavar="PLACE", help="New or empty folder, or new file ending in .zip.")
    ],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which skills; by default all.")
    ] = None,
    bank: BankOption = None,
    config: FileOption = None,
    env: EnvOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Write skills to a folder or an archive, with all keys and the files beside them."""
    from sdar.skills.exchange import export_skills
    from sdar.skills.files import load_files

    files = load_files(bank_folder(settings(bank, config, env, set_)))
    unknown = sorted(set(names or ()) - {file.skill.name for file in files})
    if unknown:
        near = did_you_mean(unknown[0], [file.skill.name for file in files])
        raise InputError(f"no skill {', '.join(unknown)} in the bank.{near} See `sdar skills list`.")
    chosen = [file for file in files if not names or file.skill.name in names]
    export_skills(chosen, out)
    if json_:
        print_json({"out": out, "skills": [file.skill.name for file in chosen]})
        return
    typer.echo(f"Wrote {len(chosen)} skills to {out}.")
