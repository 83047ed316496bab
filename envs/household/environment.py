"""The household behind the environment protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdar.envs.base import StepResult
from sdar.envs.demonstration import Demonstration, OtherWorld
from sdar.envs.household.demonstrations import demonstrate
from sdar.envs.household.expert import Expert
from sdar.envs.household.game import WELCOME, Game, admissible, new_game, solved, step
from sdar.envs.household.goals import SPLITS, skill_names_needed, tasks
from sdar.envs.household.handbook import handbook
from sdar.envs.household.house import house
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.records import TaskSpec

OTHER_HOUSES = range(1, 9)
"""Target houses besides the default one on which a starter policy is measured."""


@dataclass
class Household:
    """One house; an instance plays one episode at a time."""

    house_number: int = 0
    name: str = "household"
    game: Game | None = None
    max_steps: int = 16

    @classmethod
    def from_config(cls, config: EnvironmentConfig) -> Household:
        """Return the household of the configured house."""
        return cls(house_number=config.house, max_steps=config.max_steps)

    def splits(self) -> Sequence[str]:
        """Return `train`, `seen` (trained goals, other scenes) and `unseen` (goals never trained on)."""
        return SPLITS

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        """Return the tasks of a split of this house."""
        if split not in SPLITS:
            raise ConfigError(f"household has no split {split!r}; allowed are: {', '.join(SPLITS)}")
        return tasks(self.house_number, split)

    def reset(self, task: TaskSpec, seed: int) -> str:
        """Start an episode and return the first observation."""
        self.game = new_game(task, seed)
        return WELCOME

    def step(self, action: str) -> StepResult:
        """Take one action; anything that is no action answers "Nothing happens."."""
        game = self._playing()
        if solved(game):
            raise RuntimeError("the episode is done; call reset(task, seed) before the next step")
        return step(game, action)

    def actions(self) -> Sequence[str]:
        """Return the actions that do something now."""
        return admissible(self._playing())

    def expert(self) -> Expert:
        """Return the demonstrator that knows every fact the task needs."""
        game = self._playing()
        rng = np.random.default_rng(game.task.seed)
        return Expert(game, rng, knows=frozenset(skill_names_needed(game.task)))

    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        """Return one demonstration from a training house; see `Demonstrates`."""
        return demonstrate(index, seed, self.max_steps, skill_share)

    def others(self) -> Sequence[OtherWorld]:
        """Return eight other target houses with their handbooks."""
        return [OtherWorld({"house": number}, handbook(house(number))) for number in OTHER_HOUSES]

    def _playing(self) -> Game:
        if self.game is None:
            raise RuntimeError("call reset(task, seed) before playing")
        return self.game
