"""`sdar skills`: the skills that a configuration names, and what a goal finds among them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from sdar.flows.commands.options import FileOption, JsonOption, SetOption, configuration
from sdar.flows.output import aligned, print_json
from sdar.schemas.errors import InputError
from sdar.schemas.records import Skill

skills_app = typer.Typer(
    no_args_is_help=True, help="Look at the configured skills, see skills.path, and try goals on them."
)


@skills_app.command("list")
def list_skills(config: FileOption = None, set_: SetOption = None, json_: JsonOption = False) -> None:
    """List the skills by name."""
    found = _bank(config, set_)
    if json_:
        print_json([skill.model_dump(mode="json") for skill in found])
        return
    lines = [(skill.name, skill.description, ", ".join(skill.task_types) or "all") for skill in found]
    typer.echo(aligned(("name", "description", "task types"), lines))


@skills_app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the skill.")],
    config: FileOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Show one skill as the teacher reads it, and what retrieval compares goals with."""
    found = _bank(config, set_)
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
        "source": skill.source,
        "id": skill.id,
    }
    typer.echo("\n".join(f"{label:<12} {value}" for label, value in facts.items()))
    typer.echo(f"\n{skill.body}")


@skills_app.command()
def search(
    goal: Annotated[str, typer.Argument(help="A goal as a task states it.")],
    task_type: Annotated[str, typer.Option(help="Type of the task, for the strategy task_type.")] = "",
    seed: Annotated[int, typer.Option(min=0, help="What the strategy random draws by.")] = 0,
    config: FileOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Show which skills a goal finds, best first, with the score and the words that goal and skill share."""
    from sdar.skills.retrieval import Retriever
    from sdar.skills.strategies import STRATEGIES

    settings = configuration(config, set_ or ()).config.skills
    hits = Retriever.from_bank(_bank(config, set_), settings).retrieve(goal, task_type, seed)
    rows: list[dict[str, Any]] = [
        {
            "rank": hit.rank,
            "score": round(hit.score, 4),
            "skill": hit.skill.name,
            "shared": shared_words(goal, hit.skill),
            "body": hit.skill.body,
        }
        for hit in hits
    ]
    if json_:
        print_json(rows)
        return
    strategy = STRATEGIES[settings.strategy]
    limits = [f"{name} {getattr(settings, name)}" for name in strategy.settings]
    rule = ", ".join([f"strategy {settings.strategy}", *limits])
    if not rows:
        typer.echo(f"This goal finds no skill ({rule}). {_REMEDIES[settings.strategy]}")
        return
    typer.echo(f"Score: {strategy.score} ({rule}):")
    for row in rows:
        shared = ", ".join(row["shared"]) or "nothing"
        typer.echo(f"{row['rank']}  {row['score']:.3f}  {row['skill']}  shares: {shared}\n   {row['body']}")


_REMEDIES = {
    "embedding": "Lower skills.threshold, or add a skill.",
    "ucb": "Lower skills.threshold, or add a skill.",
    "keyword": "Use words of the descriptions that `sdar skills list` shows, or add a skill.",
    "task_type": "Name one of the types that `sdar skills list` shows with --task-type, or add a skill.",
    "full": "Add a skill.",
    "random": "Add a skill.",
    "none": "The strategy none never finds one; choose another with --set skills.strategy=embedding.",
}


def shared_words(goal: str, skill: Skill) -> list[str]:
    """Return the words of a goal that the text of a skill has too, plurals and stop words set aside."""
    from sdar.skills.embedding import words
    from sdar.skills.strategies import match_text

    known = set(words(match_text(skill)))
    return [word for word in dict.fromkeys(re.findall(r"\w+", goal.lower())) if known & set(words(word))]


def _bank(config: FileOption, set_: Sequence[str] | None) -> list[Skill]:
    from sdar.tasks.bank import read_skills

    return read_skills(configuration(config, set_ or ()).config)
