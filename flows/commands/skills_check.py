"""`sdar skills check`: every fault of a bank, and what its skills cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdar.flows.commands.options import EnvOption, FileOption, JsonOption, SetOption
from sdar.flows.commands.skills_bank import BankOption, bank_folder, settings, token_counter
from sdar.flows.output import aligned, print_json
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import InputError

if TYPE_CHECKING:
    from sdar.skills.files import Fault, SkillFile


def check(
    folder: Annotated[str | None, typer.Argument(metavar="[FOLDER]", help="Short for --bank FOLDER.")] = None,
    bank: BankOption = None,
    config: FileOption = None,
    env: EnvOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Check every file of a bank: all faults with file and line, or the tokens of each skill."""
    from sdar.skills.files import read_bank, refusal

    if folder is not None and bank is not None:
        raise InputError("found a folder and --bank; give one of them.")
    chosen = settings(folder or bank, config, env, set_)
    found = read_bank(bank_folder(chosen))
    if found.faults:
        if json_:
            print_json({"faults": [_fault(fault) for fault in found.faults]})
            raise typer.Exit(InputError.exit_code)
        raise refusal(found.faults)
    policy, count = token_counter(chosen)
    tokens = {file.skill.name: _tokens(file, count) for file in found.files}
    report = {
        "bank": bank_folder(chosen),
        "policy": policy,
        "budget": chosen.skills.budget,
        "skills": [
            {"name": name, "tokens": used, "fits": used <= chosen.skills.budget}
            for name, used in tokens.items()
        ],
        "warnings": [*_repeated(found.files), *_misfits(found.files, chosen)],
        "faults": [],
    }
    if json_:
        print_json(report)
    else:
        typer.echo(_text(report))


def _tokens(file: SkillFile, count: Any) -> int:
    from sdar.skills.context import skill_line

    return int(count(skill_line(file.skill.body)))


def _fault(fault: Fault) -> dict[str, Any]:
    return {"path": fault.path, "line": fault.line, "message": fault.message}


def _repeated(files: Sequence[SkillFile]) -> Iterator[str]:
    """Warn of skills that tell the teacher the same."""
    from sdar.skills.context import skill_line

    names: dict[str, list[str]] = defaultdict(list)
    for file in files:
        names[skill_line(file.skill.body).lower()].append(file.skill.name)
    for same in names.values():
        if len(same) > 1:
            yield f"{', '.join(same)} have the same body; remove all but one"


def _misfits(files: Sequence[SkillFile], config: RunConfig) -> Iterator[str]:
    """Warn of skills for another environment, and of types of task that the environment does not have."""
    from sdar.envs.registry import environment_factory
    from sdar.skills.markdown import ANY_ENVIRONMENT

    env = config.env
    types = {task.type for task in environment_factory(env.name)(env).tasks(env.train_split)}
    for file in files:
        skill = file.skill
        if skill.environment not in (env.name, ANY_ENVIRONMENT):
            yield f"{skill.name} is for the environment {skill.environment}, not {env.name}"
            continue
        unknown = sorted(set(skill.task_types) - types)
        if unknown:
            known = ", ".join(sorted(types))
            yield f"{skill.name}: {env.name} has no tasks of type {', '.join(unknown)}; it has {known}"


def _text(report: dict[str, Any]) -> str:
    skills, budget = report["skills"], report["budget"]
    sizes = [skill["tokens"] for skill in skills]
    rows = [
        (skill["name"], str(skill["tokens"]), "yes" if skill["fits"] else "no, it will never be used")
        for skill in skills
    ]
    large = sum(not skill["fits"] for skill in skills)
    return "\n".join(
        [
            aligned(("name", "tokens", f"fits {budget}"), rows),
            "",
            *(f"Warning: {warning}." for warning in report["warnings"]),
            f"{len(skills)} skills in {report['bank']}, no fault; {min(sizes)} to {max(sizes)} tokens each, "
            f"{median(sizes):g} in the middle, by the tokenizer of the policy {report['policy']}; "
            f"{large} too large for skills.budget {budget} alone.",
        ]
    )
