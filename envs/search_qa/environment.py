"""A library behind the environment protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sdar.envs.base import StepResult
from sdar.envs.demonstration import Demonstration
from sdar.envs.search_qa.actions import WELCOME
from sdar.envs.search_qa.corpus import SPLITS, Library, open_library
from sdar.envs.search_qa.demonstrations import demonstrate
from sdar.envs.search_qa.episode import Episode, step
from sdar.envs.search_qa.expert import Expert, Reader
from sdar.envs.search_qa.options import Options, read_options
from sdar.envs.search_qa.world import RELATIONS, world
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.records import TaskSpec


@dataclass
class SearchQa:
    """One library; an instance plays one episode at a time."""

    corpus: Library
    options: Options = field(default_factory=Options)
    max_steps: int = 4
    name: str = "search_qa"
    episode: Episode | None = None

    @classmethod
    def from_config(cls, config: EnvironmentConfig) -> SearchQa:
        """Return the library in the folder `env.data`, or that of the generated world `env.options.world`.

        Raises:
            ConfigError, InputError, EnvironmentMissingError: see `read_options` and `open_library`.
        """
        options = read_options(config)
        return cls(open_library(config.data, options), options, config.max_steps)

    def splits(self) -> Sequence[str]:
        """Return `train` and `unseen`, which share no question."""
        return SPLITS

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        """Return the questions of a split; a task's type is the question's dataset."""
        if split not in SPLITS:
            raise ConfigError(f"search_qa has no split {split!r}; allowed are: {', '.join(SPLITS)}")
        return self.corpus.tasks[split]

    def reset(self, task: TaskSpec, seed: int) -> str:
        """Start an episode and return the first observation; nothing in it is left to chance."""
        self.episode = Episode(task)
        return WELCOME

    def step(self, action: str) -> StepResult:
        """Take one action; text without a search or an answer in it is told the two forms."""
        episode = self._playing()
        if episode.done:
            raise RuntimeError("the episode is done; call reset(task, seed) before the next step")
        return step(episode, self.corpus.search, self.options.top_k, action)

    def actions(self) -> None:
        """Return None: there are as many queries as texts."""

    def expert(self) -> Expert | Reader:
        """Return a demonstrator that knows the books of a generated world, or else the answer."""
        episode = self._playing()
        if not episode.task.payload["lookups"]:
            return Reader(episode)
        home, rng = world(self.options.world), np.random.default_rng(episode.task.seed)
        return Expert(home, episode, rng, frozenset(RELATIONS), self.max_steps)

    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        """Return a demonstration in one of the training worlds, whatever library this is."""
        return demonstrate(index, seed, self.max_steps, skill_share)

    def _playing(self) -> Episode:
        if self.episode is None:
            raise RuntimeError("call reset(task, seed) before playing")
        return self.episode
