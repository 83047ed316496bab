"""ALFWorld behind the environment protocol."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from sdar.envs.alfworld.builtin import SIZES, builtin_games
from sdar.envs.alfworld.demonstrations import demonstrate
from sdar.envs.alfworld.engine import NOTHING, Engine
from sdar.envs.alfworld.expert import Expert, knowing_expert
from sdar.envs.alfworld.files import data_root, listed, read_game, splits_of
from sdar.envs.alfworld.game import Game, Wanted, game_data
from sdar.envs.alfworld.package import folder
from sdar.envs.base import StepResult
from sdar.envs.demonstration import Demonstration
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError, InputError
from sdar.schemas.records import TaskSpec
from sdar.schemas.seeds import derive_seed

NAME = "alfworld"


class Alfworld:
    """The real engine; an instance plays one episode at a time."""

    name = NAME

    def __init__(self, root: Path | None, max_steps: int) -> None:
        """Prepare; the engine is loaded at the first reset.

        Args:
            root: folder with game files, or None for games from the package's own data.
            max_steps: actions per demonstrated episode.
        """
        self.root = root
        self.max_steps = max_steps
        self._engine: Engine | None = None
        self._wanted: Wanted | None = None

    @classmethod
    def from_config(cls, config: EnvironmentConfig) -> Alfworld:
        """Return the environment with the configured games.

        Raises:
            EnvironmentMissingError: the optional packages are not installed.
            ConfigError: `env.data` names a folder without games.
        """
        folder()
        return cls(data_root(config.data), config.max_steps)

    def splits(self) -> Sequence[str]:
        """Return `train`, `seen` (rooms of `train`) and `unseen` (other rooms)."""
        return tuple(SIZES) if self.root is None else tuple(splits_of(self.root))

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        """Return the tasks of a split."""
        if split not in self.splits():
            raise ConfigError(f"alfworld has no split {split!r}; allowed are: {', '.join(self.splits())}")
        return _builtin_tasks(split) if self.root is None else _file_tasks(self.root, split)

    def reset(self, task: TaskSpec, seed: int) -> str:
        """Start an episode and return the first observation; nothing in it is random."""
        data, self._wanted = self._game(task)
        self._engine = self._engine or Engine()
        return self._engine.start(data)

    def step(self, action: str) -> StepResult:
        """Take one action; anything that is no action answers "Nothing happens."."""
        engine = self._playing()
        if engine.won:
            raise RuntimeError("the episode is done; call reset(task, seed) before the next step")
        command = action.strip()
        if command not in engine.commands:
            return StepResult(NOTHING, 0.0, False, False, valid=False)
        text = engine.step(command)
        return StepResult(text, float(engine.won), engine.won, engine.won, valid=True)

    def actions(self) -> Sequence[str]:
        """Return the admissible commands, as the engine lists them."""
        return self._playing().commands

    def expert(self) -> Expert:
        """Return the demonstrator that knows where everything is."""
        engine = self._playing()
        assert self._wanted is not None
        return knowing_expert(engine.view, self._wanted)

    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        """Return one demonstration in a room that no split uses; see `Demonstrates`."""
        return demonstrate(index, seed, self.max_steps, skill_share)

    def _game(self, task: TaskSpec) -> tuple[dict[str, Any], Wanted]:
        """Return the game's data and what it asks for."""
        if "file" in task.payload:
            if self.root is None:
                raise InputError(
                    f"task {task.id!r} is a game file; name its folder with env.data or ALFWORLD_DATA"
                )
            names = ("family", "thing", "target", "lamp")
            return read_game(self.root / task.payload["file"]), Wanted(*(task.payload[x] for x in names))
        game = _builtin(task.split).get(task.payload["game"])
        if game is None:
            raise InputError(f"alfworld has no game {task.payload['game']!r}; list them with: sdar envs list")
        return game_data(game), game.wanted

    def _playing(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("call reset(task, seed) before playing")
        return self._engine


@lru_cache(maxsize=8)
def _builtin(split: str) -> dict[str, Game]:
    return {game.id: game for game in builtin_games(split)}


@lru_cache(maxsize=8)
def _builtin_tasks(split: str) -> tuple[TaskSpec, ...]:
    return tuple(
        _task(game.id, split, game.wanted.family, game.goal, {"game": game.id, "scene": game.scene})
        for game in builtin_games(split)
    )


@lru_cache(maxsize=8)
def _file_tasks(root: Path, split: str) -> tuple[TaskSpec, ...]:
    return tuple(
        _task(each["file"].rsplit("/", 1)[0], split, each["wanted"].family, each["goal"],
              {"file": each["file"], **vars(each["wanted"])})
        for each in listed(root, split)
    )  # fmt: skip


def _task(name: str, split: str, family: str, goal: str, payload: dict[str, Any]) -> TaskSpec:
    return TaskSpec(
        id=f"{NAME}-{name}",
        environment=NAME,
        split=split,
        type=family,
        goal=goal,
        seed=derive_seed(0, NAME, name) % 2**31,
        payload=payload,
    )
