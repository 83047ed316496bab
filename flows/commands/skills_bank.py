"""Which bank a command of `sdar skills` works on, and how its skills are counted and named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdar.flows.commands.options import configuration, overrides
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import InputError
from sdar.schemas.records import Skill

if TYPE_CHECKING:
    from sdar.skills.companions import Companion

BUILTIN, EMPTY = "builtin", "empty"
NOTHING_THERE = (
    "The bank has no skill, or all are retired. Add one with `sdar skills add`, or bring one back with "
    "`sdar skills restore`."
)

BankOption = Annotated[
    str | None,
    typer.Option("--bank", metavar="FOLDER", help="Folder of skills; by default skills.path, see --config."),
]
TypesOption = Annotated[
    list[str] | None,
    typer.Option("--task-type", metavar="TYPE", help="A type of task that it is for. Repeatable."),
]


def settings(bank: str | None, file: Path | None, env: str | None, texts: Sequence[str] | None) -> RunConfig:
    """Return the configuration with `--bank` in place of `skills.path`."""
    config = configuration(file, overrides(texts, env=env)).config
    if bank is None:
        return config
    return config.model_copy(update={"skills": config.skills.model_copy(update={"path": bank})})


def bank_skills(config: RunConfig, *, retired: bool = False) -> list[Skill]:
    """Return the skills of the bank, with `retired` also those; `InputError` with every fault."""
    from sdar.tasks.bank import read_skills

    return read_skills(config, retired=retired)


def bank_retirements(config: RunConfig) -> dict[str, str]:
    """Return why skills of the bank are retired, by name."""
    from sdar.tasks.bank import read_retirements

    return read_retirements(config)


def bank_companions(config: RunConfig, name: str) -> tuple[Companion, ...]:
    """Return the files beside the SKILL.md of a skill of the bank; `InputError` with every fault."""
    from sdar.skills.companions import companions

    return companions(bank_folder(config) / name)


def bank_folder(config: RunConfig) -> Path:
    """Return the folder that the bank is read from."""
    from sdar.skills.files import builtin_folder

    path = config.skills.path
    return builtin_folder(config.env.name) if path == BUILTIN else Path(path)


def own_bank(config: RunConfig) -> Path:
    """Return the folder of a bank that may be changed, whether it exists or not.

    Raises:
        InputError: it is the built-in one, or `empty`, which stands for no skills, or no folder.
    """
    if config.skills.path == EMPTY:
        raise InputError(
            f"skills.path {EMPTY!r} stands for no skills: what lay in a folder of that name would never be "
            "read. Name another folder with --bank."
        )
    if config.skills.path == BUILTIN:
        raise InputError(
            "the built-in skills cannot be changed. Copy them with `sdar skills export --out my-skills`, "
            "then change the copy with --bank my-skills and run with --set skills.path=my-skills."
        )
    folder = Path(config.skills.path)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Name a folder of skills with --bank.")
    return folder


def token_counter(config: RunConfig) -> tuple[str, Callable[[str], int]]:
    """Return the name of a policy and how many of its tokens a text takes.

    A policy that a run will make itself has no tokenizer yet: the shipped one stands for it.
    """
    from sdar.policy.dialogue import load_dialogue
    from sdar.policy.model import policy_folder

    path = "starter" if config.policy.path == "bootstrap" else config.policy.path
    return path, load_dialogue(policy_folder(path)).count
