"""Text environments with the Gymnasium API as an `Environment`; needs the extra `gymnasium`.

`--env gymnasium` takes everything from `env.options`, and a package of one's own builds a
`GymnasiumEnvironment`; see docs/adapters.md for both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from sdar.envs.adapter_kinds import GYMNASIUM
from sdar.envs.arguments import json_arguments
from sdar.envs.base import StepResult
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError, EnvironmentFailedError, EnvironmentMissingError
from sdar.schemas.records import TaskSpec

SEEDS: Mapping[str, range] = {"train": range(256), "unseen": range(10_000, 10_256)}
"""Seeds of the tasks by split; each seed is one game."""
NO_ACTION = "That is no action here."
ADMISSIBLE = ("admissible_actions", "admissible_commands", "actions")
"""Names under which `info` may list the actions of the present state."""

_COLOURED = re.compile("\x1b\\[([0-9;]+)m(.*?)\x1b\\[0m", re.DOTALL)
_COLOURS = ("gray", "red", "green", "yellow", "blue", "magenta", "cyan", "white", "crimson")


@dataclass
class GymnasiumEnvironment:
    """A Gymnasium environment that is read and played as text; an instance plays one episode at a time.

    Attributes:
        make: makes the Gymnasium environment.
        name: name of the environment.
        seeds: seeds by split; a task is one seed.
        goal: text of a task's goal, in which `{seed}` stands for the seed.
        type: the type of all tasks, such as the Gymnasium id.
        action_names: names of the actions of a `Discrete` space in order; empty takes `info["action_names"]`.
        success_reward: least reward of the step that terminates a game for it to count as won; a flag
            `info["success"]` or `info["is_success"]` goes before it.
    """

    make: Callable[[], Any]
    name: str = "gymnasium"
    seeds: Mapping[str, range] = field(default_factory=lambda: SEEDS)
    goal: str = "Win game {seed}."
    type: str = "game"
    action_names: Sequence[str] = ()
    success_reward: float = 1.0
    _game: Any = None
    _info: Mapping[str, Any] = field(default_factory=dict)
    _under_way: bool = False

    @classmethod
    def from_config(cls, config: EnvironmentConfig) -> GymnasiumEnvironment:
        """Return the environment that `env.options` name."""
        options = {**GYMNASIUM.options, **config.options}
        game = str(options["id"])
        arguments = json_arguments(str(options["arguments"]))
        return cls(
            make=lambda: make_game(game, arguments),
            name=config.name,
            seeds={split: _range(split, str(options[split])) for split in SEEDS},
            goal=str(options["goal"]),
            type=game,
            action_names=tuple(name.strip() for name in str(options["actions"]).split(",") if name.strip()),
            success_reward=float(options["success_reward"]),
        )

    def splits(self) -> Sequence[str]:
        """Return the names of the splits."""
        return tuple(self.seeds)

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        """Return one task for each seed of a split."""
        if split not in self.seeds:
            raise ConfigError(f"{self.name} has no split {split!r}; allowed are: {', '.join(self.seeds)}")
        return [
            TaskSpec(
                id=f"{self.name}/{split}/{seed}",
                environment=self.name,
                split=split,
                type=self.type,
                goal=self.goal.replace("{seed}", str(seed)),
                seed=seed,
            )
            for seed in self.seeds[split]
        ]

    def reset(self, task: TaskSpec, seed: int) -> str:
        """Start a game and return the first observation."""
        if self._game is None:
            self._game = self.make()
        observation, self._info = self._game.reset(seed=seed)
        self._under_way = True
        return self._text(observation)

    def step(self, action: str) -> StepResult:
        """Take one action; a text that is none is answered and leaves the game as it is."""
        self._must_be_under_way()
        chosen = self._action(action.strip())
        if chosen is None:
            return StepResult(NO_ACTION, 0.0, False, False, False)
        listed = self.actions()
        observation, reward, terminated, truncated, self._info = self._game.step(chosen)
        valid = bool(self._info.get("valid", listed is None or action.strip() in listed))
        done = bool(terminated or truncated)
        self._under_way = not done
        success = done and self._won(float(reward), bool(terminated))
        return StepResult(self._text(observation), float(reward), done, success, valid)

    def actions(self) -> Sequence[str] | None:
        """Return the actions that `info` lists, or those of a discrete space that its mask allows."""
        self._must_be_under_way()
        for name in ADMISSIBLE:
            if name in self._info:
                return [str(action) for action in self._info[name]]
        if not hasattr(self._game.action_space, "n"):
            return None
        mask = self._info.get("action_mask")
        return [name for i, name in enumerate(self._names()) if mask is None or mask[i]]

    def expert(self) -> None:
        """Return None: Gymnasium has no demonstrators. A subclass may know one."""
        return None

    def _action(self, text: str) -> Any:
        """Return what the text stands for in the action space, or None where it is no action."""
        space = self._game.action_space
        if hasattr(space, "n"):
            names = self._names()
            return int(space.start) + names.index(text) if text in names else None
        if not hasattr(space, "max_length"):
            raise ConfigError(
                f"{self.name} has the action space {space}; allowed are Text, and Discrete with names. "
                "Next: wrap it with gymnasium.wrappers.TransformAction"
            )
        listed = self.actions()
        return text if (text in listed if listed is not None else space.contains(text)) else None

    def _names(self) -> Sequence[str]:
        names = self.action_names or [str(name) for name in self._info.get("action_names", ())]
        wanted = int(self._game.action_space.n)
        if len(names) != wanted:
            raise ConfigError(
                f"{self.name} has {wanted} actions, but {len(names)} names for them: "
                f"{', '.join(names) or 'none'}. Next: name them in order, as in "
                "--set env.options.actions=left,down,right,up"
            )
        return names

    def _text(self, observation: Any) -> str:
        """Return an observation as text: itself, the lines of a dictionary, or what the game renders."""
        if isinstance(observation, str):
            return observation
        if isinstance(observation, Mapping):
            return "\n".join(f"{name}: {value}" for name, value in observation.items())
        if self._game.render_mode != "ansi":
            raise ConfigError(
                f"{self.name} observes {type(observation).__name__}, which is no text; allowed are str, a "
                'dictionary, and a game that renders text. Next: make it with render_mode="ansi"'
            )
        return plain(self._game.render())

    def _won(self, reward: float, terminated: bool) -> bool:
        for flag in ("success", "is_success"):
            if flag in self._info:
                return bool(self._info[flag])
        return terminated and reward >= self.success_reward

    def _must_be_under_way(self) -> None:
        if not self._under_way:
            raise EnvironmentFailedError("no game is under way; call reset(task, seed) before going on")


def gymnasium_package() -> Any:
    """Return the package `gymnasium`.

    Raises:
        EnvironmentMissingError: it is not installed.
    """
    try:
        return import_module("gymnasium")
    except ImportError as error:
        raise EnvironmentMissingError(
            "the package gymnasium is not installed. Next: pip install 'sdar[gymnasium]'"
        ) from error


def make_game(game: str, arguments: Mapping[str, Any]) -> Any:
    """Make a registered Gymnasium environment, one that renders text if it can.

    Args:
        game: the id, or MODULE:ID to import the module that registers it.
        arguments: of the game.

    Raises:
        EnvironmentMissingError: Gymnasium is not installed.
        ConfigError: there is no such game, or it cannot be made so.
    """
    gymnasium = gymnasium_package()
    module, _, name = game.rpartition(":")
    try:
        if module:
            import_module(module)  # registers the game
        entry = gymnasium.spec(name).entry_point
        made_by = gymnasium.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
        rendered = "ansi" in getattr(made_by, "metadata", {}).get("render_modes", ())
        given = {"render_mode": "ansi", **arguments} if rendered else dict(arguments)
        return gymnasium.make(name, disable_env_checker=True, **given)
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        raise ConfigError(
            f"the game {game!r} cannot be made: {error}. Allowed is an id that Gymnasium registers, or "
            "MODULE:ID to import a module first. Next: "
            'python -c "import gymnasium; gymnasium.pprint_registry()"'
        ) from error


def plain(rendered: str) -> str:
    """Return rendered text with its colours in words, behind what is coloured: they may carry the meaning."""

    def named(found: re.Match[str]) -> str:
        code = int(found[1].split(";")[0])
        return f"{found[2]}({_COLOURS[code % 10]})" if code % 10 < len(_COLOURS) else found[2]

    return _COLOURED.sub(named, rendered).strip("\n")


def _range(split: str, text: str) -> range:
    found = re.fullmatch(r"(\d+)-(\d+)", text)
    if found is None or int(found[2]) < int(found[1]):
        raise ConfigError(f"env.options.{split} is {text!r}; allowed is FIRST-LAST, such as 0-255")
    return range(int(found[1]), int(found[2]) + 1)
