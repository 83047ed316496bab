"""The trip behind the environment protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdar.envs.base import StepResult
from sdar.envs.demonstration import Demonstration, OtherWorld
from sdar.envs.trip.company import TRAINING_COMPANIES, company
from sdar.envs.trip.demonstrations import demonstrate
from sdar.envs.trip.expert import Expert
from sdar.envs.trip.game import WELCOME, Game, admissible, new_game, step
from sdar.envs.trip.goals import SPLITS, facts_needed, tasks
from sdar.envs.trip.handbook import general_skills, handbook
from sdar.envs.trip.kind import KIND
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.records import TaskSpec
from sdar.schemas.seeds import generator

OTHER_COMPANIES = range(1, 9)
"""Target companies besides the default one on which a starter policy is measured."""


@dataclass
class Trip:
    """The trips of one company; an instance plays one episode at a time."""

    company_number: int
    max_steps: int
    name: str = "trip"
    game: Game | None = None

    @classmethod
    def from_config(cls, config: EnvironmentConfig) -> Trip:
        """Return the trips of the configured company.

        Raises:
            ConfigError: `env.options.company` is no number of a target company.
        """
        number = config.options.get("company", KIND.options["company"])
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < _END:
            raise ConfigError(
                f"env.options.company is {number!r}; allowed are the whole numbers 0 to {_END - 1}. "
                "Choose one with --set env.options.company=0."
            )
        return cls(number, config.max_steps)

    def splits(self) -> Sequence[str]:
        """Return `train`, `seen` (trained goals, other episodes) and `unseen` (goals never trained on)."""
        return SPLITS

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        """Return the tasks of a split of this company."""
        if split not in SPLITS:
            raise ConfigError(
                f"trip has no split {split!r}; allowed are: {', '.join(SPLITS)}. "
                "Set env.train_split and env.panel_split to two of them."
            )
        return tasks(self.company_number, split)

    def reset(self, task: TaskSpec, seed: int) -> str:
        """Start an episode and return the first observation."""
        self.game = new_game(task, seed, self.max_steps)
        return WELCOME

    def step(self, action: str) -> StepResult:
        """Take one action; a text that is no tool call is answered with all of its faults."""
        game = self._playing()
        if game.done:
            raise RuntimeError("the episode is done; call reset(task, seed) before the next step")
        return step(game, action)

    def actions(self) -> Sequence[str]:
        """Return the calls that can be carried out now."""
        return admissible(self._playing())

    def expert(self) -> Expert:
        """Return the demonstrator that knows every fact the task needs."""
        game = self._playing()
        rng = generator(game.task.seed, "trip", "expert")
        return Expert(game, rng, frozenset(facts_needed(game.task)), game.company)

    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        """Return one demonstration from a training company; see `envs.demonstration.Demonstrates`."""
        return demonstrate(index, seed, self.max_steps, skill_share)

    def others(self) -> Sequence[OtherWorld]:
        """Return eight other target companies with their handbooks."""
        return [
            OtherWorld({"options": {"company": number}}, handbook(company(number)) | general_skills())
            for number in OTHER_COMPANIES
        ]

    def _playing(self) -> Game:
        if self.game is None:
            raise RuntimeError("call reset(task, seed) before playing")
        return self.game


_END = TRAINING_COMPANIES.start
