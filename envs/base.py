"""What an environment is: a set of tasks and a text game that is deterministic given (task, seed)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol, SupportsFloat

from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import EnvironmentFailedError
from sdar.schemas.records import TaskSpec


@dataclass(frozen=True)
class StepResult:
    """What one action led to.

    `valid` is False when the environment could not make sense of the action; `success` says whether the
    goal is reached, and is final once `done`.
    """

    observation: str
    reward: float
    done: bool
    success: bool
    valid: bool


def checked_observation(observation: Any) -> str:
    """Return what a world gave as an observation.

    Raises:
        EnvironmentFailedError: it is no text, or one that UTF-8 cannot say.
    """
    if not isinstance(observation, str):
        raise EnvironmentFailedError(f"the observation is a {type(observation).__name__}; allowed is a text")
    try:
        observation.encode()
    except UnicodeEncodeError as error:
        raise EnvironmentFailedError(f"the observation is no text in Unicode: {error}") from error
    return observation


def checked_result(result: Any) -> StepResult:
    """Return what a world answered to a step.

    Raises:
        EnvironmentFailedError: it is no `StepResult`, or one with a value that no episode can have.
    """
    missing = [each.name for each in fields(StepResult) if not hasattr(result, each.name)]
    if missing:
        kind = type(result).__name__
        raise EnvironmentFailedError(f"the step gave a {kind} without {', '.join(missing)}; see StepResult")
    checked_observation(result.observation)
    if not isinstance(result.reward, SupportsFloat) or not math.isfinite(result.reward):
        raise EnvironmentFailedError(f"the reward is {result.reward!r}; allowed is a finite number")
    for name in ("done", "success", "valid"):
        if getattr(result, name) not in (True, False):
            raise EnvironmentFailedError(f"{name} is {getattr(result, name)!r}; allowed are True and False")
    answer: StepResult = result
    return answer


class Demonstrator(Protocol):
    """Chooses actions for an environment that is being played."""

    def next_action(self) -> str:
        """Return the action to take in the present state."""
        ...


class Environment(Protocol):
    """One playable world; an instance plays one episode at a time."""

    name: str

    def splits(self) -> Sequence[str]:
        """Return the names of the task splits."""
        ...

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        """Return the tasks of a split, always the same ones in the same order."""
        ...

    def reset(self, task: TaskSpec, seed: int) -> str:
        """Start an episode and return the first observation; `seed` fixes whatever is random in it."""
        ...

    def step(self, action: str) -> StepResult:
        """Take one action. Text that is no action is answered, never raised."""
        ...

    def actions(self) -> Sequence[str] | None:
        """Return the admissible actions of the present state, or None where they cannot be listed."""
        ...

    def expert(self) -> Demonstrator | None:
        """Return a demonstrator for the episode that was just reset, if there is one."""
        ...


EnvironmentFactory = Callable[[EnvironmentConfig], Environment]


QUICK_WARM_START: Mapping[str, str | float | bool] = {
    "warmstart.optimizer": "muon",
    "warmstart.learning_rate": 1e-2,
    "warmstart.prompt_weight": 0.0,
    "warmstart.skill_share": 0.75,
}
"""Settings with which a starter learns to read skills in about a third of the time; measured in search_qa."""


@dataclass(frozen=True)
class EnvironmentKind:
    """What is known of an environment before it is made.

    Attributes:
        name: as given to `--env NAME`.
        summary: one sentence.
        load: imports the environment and returns what makes it from its configuration.
        settings: value by dotted configuration path, over the defaults of `RunConfig`: what suits this world.
        options: what it reads from `env.options`: default by name.
        names: regular expression of the names that the tokenizer of a starter policy keeps whole, so that a
            small model can copy them from a skill or an observation into an action.
        files: the files outside the package that it plays with, by its configuration. Their content enters
            the keys of the stages that play, so that changed data are noticed.
        extra: the optional extra that it needs, named like the module that it brings, or empty.
        starter: whether the weights that `policy.path: starter` names were made for it.
        workers: whether it lives in worker processes, because it is slow, or can crash or hang.
    """

    name: str
    summary: str
    load: Callable[[], EnvironmentFactory]
    settings: Mapping[str, str | float | bool] = field(default_factory=dict)
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    names: str = r"[A-Za-z]+ \d+"
    files: Callable[[EnvironmentConfig], Iterable[Path]] = lambda _: ()
    extra: str = ""
    starter: bool = False
    workers: bool = False
