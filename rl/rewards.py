"""A reward of the user's own: found by name, told apart by its source, applied to played episodes."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from operator import attrgetter
from typing import Any

from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.keys import content_hash
from sdar.schemas.records import Episode, TaskSpec

Reward = Callable[[Episode, TaskSpec], float]
"""Says what an episode is worth, from what was seen and done in it and from its task."""

NOT_HERE = "cannot be loaded here"


def reward_function(name: str) -> Reward:
    """Return the function that `reward.function` names.

    Args:
        name: `module:name`; the module is imported as Python finds it.

    Raises:
        ConfigError: there is no such function, or importing it failed.
    """
    module, _, attribute = name.partition(":")
    try:
        found: Any = attrgetter(attribute)(import_module(module))
        if not callable(found):
            raise TypeError(f"it is a {type(found).__name__}")
    except Exception as error:  # whatever the user's module raises, the message says which one it was
        raise ConfigError(
            f"reward.function: found {name!r}, which {NOT_HERE} ({type(error).__name__}: {error}). Allowed: "
            "package.module:function. Next: install its package, or name its folder, as in "
            "PYTHONPATH=. sdar run"
        ) from error
    reward: Reward = found
    return reward


@cache
def reward_content(reward: Reward) -> str:
    """Return what tells a reward apart from an earlier one of the same name: its `version`, or its source.

    The source is that of the whole module, since a reward may call what stands beside it, or where the module
    has no file, as in a notebook, that of the function alone. It is looked at once: a file that is edited
    during a run does not change what the run computes.

    Raises:
        ConfigError: it has neither.
    """
    version = getattr(reward, "version", None)
    if version is not None:
        return f"version {version}"
    for part in (sys.modules.get(getattr(reward, "__module__", "")), reward):
        try:
            return content_hash(inspect.getsource(part))  # type: ignore[arg-type]
        except (OSError, TypeError):
            continue
    raise ConfigError(
        f"reward.function: the source of {reward!r} cannot be read, so a change of it would go unnoticed. "
        "Allowed: a function of a module with a file, or anything that says `version`. Next: set its "
        "attribute `version`, and another one whenever it computes something else"
    )


def check_reward(config: RunConfig) -> None:
    """Do nothing if a run can use the reward that it names, or names none; else raise `ConfigError`."""
    if config.reward.function:
        reward_content(reward_function(config.reward.function))


def reward_read(config: RunConfig) -> dict[str, str]:
    """Return what a stage that plays episodes reads of the reward; nothing where it is the environment's.

    A reward that cannot be loaded is another one than any that was ever used, so that whatever depends on it
    is stale: no run begins with one, see `check_reward`.
    """
    name = config.reward.function
    if not name:
        return {}
    try:
        content = reward_content(reward_function(name))
    except ConfigError:
        content = NOT_HERE
    return {"reward.function": name, "reward.content": content}


def rewarded(name: str, episodes: Sequence[Episode], tasks: Mapping[str, TaskSpec]) -> list[Episode]:
    """Return the episodes with the returns that a reward of the user's own gives them.

    Their turns keep the environment's rewards.

    Args:
        name: as `reward.function` has it; empty leaves all returns as they are.
        episodes: as they were played.
        tasks: their tasks by id.

    Raises:
        ConfigError: the function raised an error, or gave something else than a finite number.
    """
    if not name:
        return list(episodes)
    reward = reward_function(name)
    return [
        episode.model_copy(update={"episode_return": _worth(name, reward, episode, tasks[episode.task_id])})
        for episode in episodes
    ]


def _worth(name: str, reward: Reward, episode: Episode, task: TaskSpec) -> float:
    try:
        value = float(reward(episode, task))
        if not math.isfinite(value):
            raise ValueError(f"it gave {value}")
    except Exception as error:
        raise ConfigError(
            f"reward.function: {name} failed for an episode of task {task.id} with {len(episode.turns)} "
            f"turns ({type(error).__name__}: {error}). Allowed: a finite number for every episode, also one "
            "without turns, which an error of the environment leaves"
        ) from error
    return value
