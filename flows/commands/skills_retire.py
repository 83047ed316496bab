"""`sdar skills retire` and `restore`: decisions by hand, in a folder or in the evolving bank of a run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdar.flows.commands.options import (
    STORE,
    EnvOption,
    FileOption,
    JsonOption,
    SetOption,
    StoreOption,
    find_run,
    read_store,
)
from sdar.flows.commands.skills_bank import BankOption, own_bank, settings
from sdar.flows.commands.stage import stage
from sdar.flows.output import print_json
from sdar.schemas.errors import InputError
from sdar.schemas.near import did_you_mean

if TYPE_CHECKING:
    from sdar.schemas.config import DistillConfig

NameArgument = Annotated[str, typer.Argument(help="Name of the skill.")]
EvolvingRunOption = Annotated[
    str | None,
    typer.Option("--run", metavar="ID", help="The bank of this run instead of a folder, or of the `latest`."),
]


def retire(
    name: NameArgument,
    reason: Annotated[str, typer.Option("--reason", help="Why, in one sentence.")],
    run: EvolvingRunOption = None,
    store: StoreOption = STORE,
    bank: BankOption = None,
    config: FileOption = None,
    env: EnvOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Retire a skill: it stays in its bank and is not retrieved, until `sdar skills restore`."""
    from sdar.skills.retirement import check_reason, retire_skill

    if run is not None:
        _refuse_folder(bank, config, env, set_)
        _decide(store, run, name, check_reason(reason), json_)
        return
    folder = own_bank(settings(bank, config, env, set_))
    path = retire_skill(folder, name, reason)
    if json_:
        print_json({"outcome": "retired", "skill": name, "reason": check_reason(reason), "file": path})
        return
    back = f"sdar skills restore {name} --bank {shlex.quote(str(folder))}"
    typer.echo(f"{name} is retired: {path}. Bring it back with: {back}")


def restore(
    name: NameArgument,
    run: EvolvingRunOption = None,
    store: StoreOption = STORE,
    bank: BankOption = None,
    config: FileOption = None,
    env: EnvOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Bring a retired skill back, as it was."""
    from sdar.skills.retirement import restore_skill

    if run is not None:
        _refuse_folder(bank, config, env, set_)
        _decide(store, run, name, None, json_)
        return
    folder = own_bank(settings(bank, config, env, set_))
    reason = restore_skill(folder, name)
    if json_:
        print_json({"outcome": "restored", "skill": name, "reason": reason})
        return
    typer.echo(f"{name} of {folder} is back; it had been retired: {reason}")


@dataclass(frozen=True)
class _Bank:
    """The latest distilled bank of a run: its round, and why skills are retired, by name.

    `skills` are all names in it; `before` are those that the bank before it had retired already.
    """

    round: int
    skills: tuple[str, ...]
    retired: Mapping[str, str]
    before: frozenset[str]


def _refuse_folder(bank: str | None, config: Path | None, env: str | None, set_: list[str] | None) -> None:
    if (bank, config, env, set_) != (None, None, None, None):
        raise InputError(
            "--run takes the bank and the settings of the run; leave --bank, --config, --env and --set out."
        )


def _decide(store: Path, run: str, name: str, reason: str | None, json_: bool) -> None:
    """Distil the latest bank of a run once more under the decision, in a branch that the run goes on in."""
    from sdar.tasks.branches import read_history

    opened = read_store(store)
    record = find_run(opened, run)
    history = read_history(opened, record)
    rounds = [number for number, made in history.stored if made == "distill"]
    if not rounds:
        raise InputError(
            f"run {record.id} has no distilled bank yet; its skills are those of a folder. Retire {name} "
            f"there with --bank FOLDER, then `sdar stage bank --round 0 --from-run {record.id} --downstream`."
        )
    point = history.stored[max(rounds), "distill"]
    bank = _Bank(max(rounds), *_states(store, str(point.artifact_id), point.inputs["bank"]))
    changes = _changes(history.config((bank.round, "distill")).distill, bank, name, reason)
    stage("distill", bank.round, record.id, changes, False, False, False, 0.0, store, json_)


def _states(store: Path, bank: str, parent: str) -> tuple[tuple[str, ...], dict[str, str], frozenset[str]]:
    opened = read_store(store)
    names = {skill.id: skill.name for skill in opened.skills(bank, retired=True)}
    states = opened.skill_states(bank)
    active = {names[state.skill_id] for state in states if not state.retired}
    # Older versions of an active skill are retired under its name.
    gone = {names[s.skill_id]: s.reason for s in states if s.retired and names[s.skill_id] not in active}
    before = {state.skill_id for state in opened.skill_states(parent) if state.retired}
    return tuple(sorted(set(names.values()))), gone, frozenset(names[id_] for id_ in before & set(names))


def _changes(config: DistillConfig, bank: _Bank, name: str, reason: str | None) -> list[str]:
    """Return the settings that make a decision; a reason retires, None restores."""
    from sdar.tasks.material import names, retire_setting, retired_by_hand

    if name not in bank.skills:
        raise InputError(
            f"no skill {name!r} in the bank of round {bank.round}; there are: {', '.join(bank.skills)}."
            f"{did_you_mean(name, bank.skills)}"
        )
    reasons, spared = retired_by_hand(config.retire), [each for each in names(config.restore) if each != name]
    if reason is not None:
        if name in bank.retired:
            raise InputError(f"{name} is retired already: {bank.retired[name]} Bring it back with `restore`.")
        if ";" in reason:
            raise InputError("a reason in a run must not hold a semicolon, which ends it in distill.retire.")
        reasons[name] = reason
    else:
        if name not in bank.retired:
            listed = ", ".join(bank.retired) or "none"
            raise InputError(f"{name} is not retired in round {bank.round}; retired are: {listed}.")
        # Retired in this very round by hand: without the decision nothing is left of it.
        if reasons.pop(name, None) is None or name in bank.before:
            spared.append(name)
    return [f"distill.retire={retire_setting(reasons)}", f"distill.restore={', '.join(spared)}"]
