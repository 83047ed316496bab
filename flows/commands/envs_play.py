"""`sdar envs play`: a person, or the environment's expert, plays one episode in the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from sdar.flows import completion
from sdar.flows.commands.options import FileOption, SetOption, configuration, overrides
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError, InputError
from sdar.schemas.near import did_you_mean

if TYPE_CHECKING:
    from sdar.envs.base import Environment
    from sdar.schemas.records import TaskSpec

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="See `sdar envs list`.", autocompletion=completion.environments)
]


def play(
    name: NameArgument,
    split: Annotated[
        str | None, typer.Option("--split", help="By default the split of collected tasks.")
    ] = None,
    task: Annotated[
        str, typer.Option("--task", metavar="ID|N", help="Id of a task, or its number in the split.")
    ] = "0",
    expert: Annotated[
        bool, typer.Option("--expert", help="Let the expert of the environment play, and print the episode.")
    ] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of the episode; by default that of the task.")
    ] = None,
    config: FileOption = None,
    set_: SetOption = None,
) -> None:
    """Play an episode: one action per line; ? lists the actions that can be taken, Ctrl-D ends."""
    from sdar.envs.registry import environment_factory

    settings = configuration(config, overrides(set_, env=name)).config
    world = environment_factory(name)(settings.env)
    chosen = find_task(world, split or settings.env.train_split, task)
    observation = world.reset(chosen, chosen.seed if seed is None else seed)
    typer.echo(f"Task {chosen.id} ({chosen.type})\nGoal: {chosen.goal}\n\n{observation}")
    _episode(world, _expert_actions(world) if expert else _typed_actions(world), settings)


def find_task(world: Environment, split: str, wanted: str) -> TaskSpec:
    """Return a task of a split by id or number.

    Raises:
        InputError: the environment has no such split, or the split no such task.
    """
    splits = list(world.splits())
    if split not in splits:
        near = did_you_mean(split, splits)
        raise InputError(f"{world.name} has no split {split!r}; allowed: --split {', '.join(splits)}.{near}")
    tasks = list(world.tasks(split))
    if wanted.isdecimal() and int(wanted) < len(tasks):
        return tasks[int(wanted)]
    found = [task for task in tasks if task.id == wanted]
    if found:
        return found[0]
    example = f" or an id such as {tasks[0].id}" if tasks else ""
    raise InputError(
        f"split {split!r} of {world.name} has no task {wanted!r}; "
        f"allowed: --task 0 to {len(tasks) - 1}{example}"
    )


def _expert_actions(world: Environment) -> Iterator[str]:
    from sdar.envs.conformance import EXPERT_STEPS

    expert = world.expert()
    if expert is None:
        raise ConfigError(f"{world.name} has no expert. Play it yourself: sdar envs play {world.name}")
    for _ in range(EXPERT_STEPS):
        action = expert.next_action()
        typer.echo(f"> {action}")
        yield action


def _typed_actions(world: Environment) -> Iterator[str]:
    """Yield the lines of standard input; questions are answered here."""
    prompted = sys.stdin.isatty()
    while True:
        if prompted:
            typer.echo("> ", nl=False)
        line = sys.stdin.readline()
        if not line:
            return
        action = line.strip()
        if action == "?":
            options = world.actions()
            listed = "This world cannot list its actions." if options is None else "\n".join(options)
            typer.echo(listed)
            continue
        if not prompted:
            typer.echo(f"> {action}")
        yield action


def _episode(world: Environment, actions: Iterator[str], config: RunConfig) -> None:
    total, number, limit = 0.0, 0, config.env.max_steps
    for number, action in enumerate(actions, start=1):
        result = world.step(action)
        total += result.reward
        typer.echo(result.observation)
        notes = [f"reward {result.reward:g}"] if result.reward else []
        notes += [] if result.valid else ["not a valid action"]
        if notes:
            typer.echo(f"[{', '.join(notes)}]")
        if result.done:
            outcome = "the goal is reached" if result.success else "the goal is not reached"
            typer.echo(f"\nThe episode is over: {outcome}, {number} actions, return {total:g}.")
            return
        if number == limit:
            typer.echo(f"[A policy's episode ends here, after env.max_steps={limit} actions.]")
    typer.echo(f"\nEnded before the episode was over: {number} actions, return {total:g}.")
