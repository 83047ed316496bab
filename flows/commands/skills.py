"""`sdar skills`: the skills that a configuration or a folder holds."""

from __future__ import annotations

from typing import Annotated

import typer

from sdar.flows.commands.options import FileOption, JsonOption, SetOption
from sdar.flows.commands.skills_bank import BankOption, bank_skills, settings
from sdar.flows.commands.skills_change import add, edit, remove
from sdar.flows.commands.skills_check import check
from sdar.flows.commands.skills_exchange import export, import_
from sdar.flows.commands.skills_index import index
from sdar.flows.commands.skills_search import search
from sdar.flows.commands.skills_stats import stats
from sdar.flows.output import aligned, print_json
from sdar.schemas.errors import InputError

skills_app = typer.Typer(
    no_args_is_help=True, help="Look at skills and change them, and try goals on them; see skills.path."
)


@skills_app.command("list")
def list_skills(
    bank: BankOption = None, config: FileOption = None, set_: SetOption = None, json_: JsonOption = False
) -> None:
    """List the skills by name."""
    found = bank_skills(settings(bank, config, set_))
    if json_:
        print_json([skill.model_dump(mode="json") for skill in found])
        return
    lines = [(skill.name, skill.description, ", ".join(skill.task_types) or "all") for skill in found]
    typer.echo(aligned(("name", "description", "task types"), lines))


@skills_app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the skill.")],
    bank: BankOption = None,
    config: FileOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Show one skill as the teacher reads it, and what retrieval compares goals with."""
    found = bank_skills(settings(bank, config, set_))
    skill = next((each for each in found if each.name == name), None)
    if skill is None:
        names = ", ".join(each.name for each in found)
        raise InputError(f"no skill {name!r}; there are: {names}. See `sdar skills list`.")
    if json_:
        print_json(skill.model_dump(mode="json"))
        return
    facts = {
        "name": skill.name,
        "description": skill.description,
        "task types": ", ".join(skill.task_types) or "all",
        "environment": skill.environment,
        "source": skill.source,
        "id": skill.id,
    }
    typer.echo("\n".join(f"{label:<12} {value}" for label, value in facts.items()))
    typer.echo(f"\n{skill.body}")


skills_app.command()(add)
skills_app.command()(edit)
skills_app.command()(remove)
skills_app.command("import")(import_)
skills_app.command()(export)
skills_app.command()(check)
skills_app.command()(search)
skills_app.command()(index)
skills_app.command()(stats)
