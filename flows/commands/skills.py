"""`sdar skills`: the skills that a configuration or a folder holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdar.flows.commands.options import EnvOption, FileOption, JsonOption, SetOption
from sdar.flows.commands.skills_bank import (
    BankOption,
    bank_companions,
    bank_retirements,
    bank_skills,
    settings,
)
from sdar.flows.commands.skills_change import add, edit, remove
from sdar.flows.commands.skills_check import check
from sdar.flows.commands.skills_exchange import export, import_
from sdar.flows.commands.skills_index import index
from sdar.flows.commands.skills_retire import restore, retire
from sdar.flows.commands.skills_search import search
from sdar.flows.commands.skills_stats import stats
from sdar.flows.output import aligned, print_json
from sdar.schemas.errors import InputError
from sdar.schemas.near import did_you_mean

if TYPE_CHECKING:
    from sdar.skills.companions import Companion

skills_app = typer.Typer(
    no_args_is_help=True, help="Look at skills and change them, and try goals on them; see skills.path."
)


@skills_app.command("list")
def list_skills(
    bank: BankOption = None,
    config: FileOption = None,
    env: EnvOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """List the skills by name, those that were retired with the reason."""
    chosen = settings(bank, config, env, set_)
    found, gone = bank_skills(chosen, retired=True), bank_retirements(chosen)
    if json_:
        print_json([{**skill.model_dump(mode="json"), "retired": gone.get(skill.name)} for skill in found])
        return
    lines = [
        (skill.name, skill.description, ", ".join(skill.task_types) or "all", _state(skill.name, gone))
        for skill in found
    ]
    head = ("name", "description", "task types", "state")
    typer.echo(aligned(head, lines) if gone else aligned(head[:3], [line[:3] for line in lines]))


def _state(name: str, retired: Mapping[str, str]) -> str:
    return f"retired: {retired[name]}" if name in retired else "active"


@skills_app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the skill.")],
    bank: BankOption = None,
    config: FileOption = None,
    env: EnvOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Show one skill as the teacher reads it, and what retrieval compares goals with."""
    chosen = settings(bank, config, env, set_)
    found, gone = bank_skills(chosen, retired=True), bank_retirements(chosen)
    skill = next((each for each in found if each.name == name), None)
    if skill is None:
        names = [each.name for each in found]
        near = did_you_mean(name, names)
        raise InputError(f"no skill {name!r}; there are: {', '.join(names)}.{near} See `sdar skills list`.")
    files = [_file_facts(each) for each in bank_companions(chosen, name)]
    if json_:
        print_json({**skill.model_dump(mode="json"), "retired": gone.get(name), "files": files})
        return
    facts = {
        "name": skill.name,
        "description": skill.description,
        "task types": ", ".join(skill.task_types) or "all",
        "environment": skill.environment,
        "source": skill.source,
        "id": skill.id,
        "state": _state(name, gone),
    }
    typer.echo("\n".join(f"{label:<12} {value}" for label, value in facts.items()))
    typer.echo(f"\n{skill.body}")
    if files:
        lines = [(each["path"], str(each["bytes"]), each["sha256"]) for each in files]
        typer.echo("\nBeside it, in no prompt:\n" + aligned(("file", "bytes", "sha256"), lines))


def _file_facts(file: Companion) -> dict[str, Any]:
    return {"path": file.path, "bytes": len(file.content), "sha256": file.digest}


skills_app.command()(add)
skills_app.command()(edit)
skills_app.command()(remove)
skills_app.command()(retire)
skills_app.command()(restore)
skills_app.command("import")(import_)
skills_app.command()(export)
skills_app.command()(check)
skills_app.command()(search)
skills_app.command()(index)
skills_app.command()(stats)
