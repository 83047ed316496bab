"""Multi-turn environments of the package `verifiers` as an `Environment`; needs the extra `verifiers`.

The environment runs its own roll-out, with a client that answers with the agent's actions instead of asking a
model: whatever a subclass of `MultiTurnEnv` overrides is used as it is. `--env verifiers` takes everything
from `env.options`, and a package of one's own builds a `VerifiersEnvironment`; see docs/adapters.md for both.

Source: verifiers 0.3.1 (MIT licence), github.com/PrimeIntellect-ai/verifiers. 0.4 has no `MultiTurnEnv`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from typing import Any

from sdar.envs.adapter_kinds import VERIFIERS
from sdar.envs.arguments import json_arguments
from sdar.envs.base import StepResult
from sdar.envs.verifiers_rollout import Rollout, conversation_text, newest_text, text_of
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError, EnvironmentFailedError, EnvironmentMissingError
from sdar.schemas.keys import content_hash
from sdar.schemas.records import TaskSpec

Row = dict[str, Any]

PANEL_EVERY = 5
"""Without an evaluation set, every so-manieth of the distinct rows of the data set is a task of the panel."""
NAMES = ("example_id", "id")
"""Columns that number rows: rows that differ in nothing else are one and the same."""
SPLITS = ("train", "unseen")
BEGIN = "Begin."
"""The first observation where the prompt is nothing but the goal."""


@dataclass
class VerifiersEnvironment:
    """A `MultiTurnEnv` whose rows are tasks; an instance plays one episode at a time.

    The split `train` are the rows of its data set, `unseen` those of its evaluation set. The goal of a task
    is the last message of its row's prompt, and what comes before is in the first observation. An action is
    an assistant's message; it is invalid when the environment's parser finds no answer in it. The rubric's
    reward comes with the last step.

    Attributes:
        make: makes the verifiers environment.
        name: name of the environment.
        type: the type of rows that have no `task` of their own.
        success_reward: least reward of the rubric for an episode to count as a success.
    """

    make: Callable[[], Any]
    name: str = "verifiers"
    type: str = "task"
    success_reward: float = 1.0
    _rollout: Rollout | None = None

    @classmethod
    def from_config(cls, config: EnvironmentConfig) -> VerifiersEnvironment:
        """Return the environment that `env.options` name."""
        options = {**VERIFIERS.options, **config.options}
        name, arguments = str(options["id"]), json_arguments(str(options["arguments"]))
        return cls(
            make=lambda: load_environment(name, arguments),
            name=config.name,
            type=name,
            success_reward=float(options["success_reward"]),
        )

    def __del__(self) -> None:
        """Let the environment clean up after an episode that was left in the middle."""
        if self._rollout is not None:
            self._rollout.abandon()

    @cached_property
    def world(self) -> Any:
        """The verifiers environment."""
        return _checked(self.make(), self.name)

    def splits(self) -> Sequence[str]:
        """Return the names of the splits."""
        return SPLITS

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        """Return one task for each row of a split."""
        if split not in SPLITS:
            raise ConfigError(f"{self.name} has no split {split!r}; allowed are: {', '.join(SPLITS)}")
        return self._tasks[split]

    def reset(self, task: TaskSpec, seed: int) -> str:
        """Start the roll-out of the task's row and return what precedes the goal in its prompt."""
        if self._rollout is not None:
            self._rollout.cancel()
        self._rollout = Rollout(self.world, task.payload)
        asked = self._rollout.begin()
        if asked is None:
            raise EnvironmentFailedError(f"{self.name}: the episode of {task.id} is over before it begins")
        return conversation_text(asked, task.goal) or BEGIN

    def step(self, action: str) -> StepResult:
        """Give the agent's message and return what the environment answers to it."""
        rollout = self._rollout
        if rollout is None or rollout.state is not None:
            raise EnvironmentFailedError("no episode is under way; call reset(task, seed) before going on")
        said = [{"role": "assistant", "content": action}]
        valid = bool(action.strip()) and self.world.parser.parse_answer(said) is not None
        asked = rollout.answer(action)
        if asked is not None:
            return StepResult(newest_text(asked), 0.0, False, False, valid)
        reward = rollout.reward()
        return StepResult(rollout.last_words(), reward, True, reward >= self.success_reward, valid)

    def actions(self) -> None:
        """Return None: any message is allowed."""
        return None

    def expert(self) -> None:
        """Return None: verifiers has no demonstrators. A subclass may know one."""
        return None

    @cached_property
    def _tasks(self) -> Mapping[str, Sequence[TaskSpec]]:
        rows = [dict(row) for row in self.world.get_dataset()] if self.world.dataset_source else []
        held = [dict(row) for row in self.world.get_eval_dataset()] if self.world.eval_dataset_source else []
        if not held:
            rows, held = _apart(rows)
        return {
            split: [self._task(split, number, row) for number, row in enumerate(found)]
            for split, found in zip(SPLITS, (rows, held), strict=True)
        }

    def _task(self, split: str, number: int, row: Mapping[str, Any]) -> TaskSpec:
        return TaskSpec(
            id=f"{self.name}/{split}/{number}",
            environment=self.name,
            split=split,
            type=row["task"] if isinstance(row.get("task"), str) else self.type,
            goal=text_of(row["prompt"][-1]),
            seed=number,
            payload=dict(row),
        )


def _apart(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows for training and those of the panel; rows that repeat are on one side only."""
    numbers: dict[str, int] = {}
    sides: tuple[list[Row], list[Row]] = ([], [])
    for row in rows:
        content = content_hash({name: value for name, value in row.items() if name not in NAMES})
        number = numbers.setdefault(content, len(numbers))
        sides[number % PANEL_EVERY == PANEL_EVERY - 1].append(row)
    return sides


def load_environment(name: str, arguments: Mapping[str, Any]) -> Any:
    """Load an installed verifiers environment by its id.

    Raises:
        EnvironmentMissingError: verifiers is not installed, or there is no such environment.
    """
    verifiers = verifiers_package()
    if not name:
        raise ConfigError("no verifiers environment is named. Next: add --set env.options.id=NAME")
    try:
        return verifiers.load_environment(name, **arguments)
    except (ValueError, AttributeError) as error:
        raise EnvironmentMissingError(
            f"the verifiers environment {name!r} cannot be loaded: {error} Allowed is the name of an "
            "importable module with a function load_environment. Next: install its package"
        ) from error


def verifiers_package() -> Any:
    """Return the package `verifiers`.

    Raises:
        EnvironmentMissingError: it is not installed, or has no `MultiTurnEnv` any more.
    """
    try:
        verifiers = import_module("verifiers")
    except ImportError as error:
        raise EnvironmentMissingError(
            "the package verifiers is not installed. Next: pip install 'sdar[verifiers]'"
        ) from error
    if not hasattr(verifiers, "MultiTurnEnv"):
        raise EnvironmentMissingError(
            f"verifiers {verifiers.__version__} has no MultiTurnEnv, which 0.4 left out; allowed is 0.3. "
            "Next: pip install 'sdar[verifiers]'"
        )
    return verifiers


def _checked(world: Any, name: str) -> Any:
    """Refuse what cannot be played with messages of text, one episode at a time."""
    if not isinstance(world, verifiers_package().MultiTurnEnv):
        raise ConfigError(f"{name} is a {type(world).__name__}; allowed is a MultiTurnEnv of verifiers")
    if world.tool_defs:
        raise ConfigError(
            f"{name} wants tool calls, and an action is text. Allowed is a MultiTurnEnv without tools, whose "
            "env_response reads them from the message"
        )
    if world.rubric.has_group_rewards:
        raise ConfigError(
            f"{name} rewards groups of episodes; allowed are rewards of single ones. Next: leave the group "
            "rewards out of its rubric; groups are compared by the training itself"
        )
    return world
