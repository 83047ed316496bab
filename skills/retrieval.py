"""Which skills a task gets: a bank behind the strategy that `skills.strategy` names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdar.schemas.config import SkillsConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.records import Skill, SkillStat
from sdar.skills.files import refuse_duplicates
from sdar.skills.similarity import Similarity
from sdar.skills.strategies import STRATEGIES, Bank, Query, Search


@dataclass(frozen=True)
class RetrievedSkillHit:
    """A skill with the score that found it and its rank, 0 for the best."""

    skill: Skill
    score: float
    rank: int


@dataclass(frozen=True)
class Retriever:
    """A bank, prepared for one strategy."""

    skills: tuple[Skill, ...]
    search: Search

    @classmethod
    def from_bank(
        cls,
        skills: Sequence[Skill],
        config: SkillsConfig,
        statistics: Sequence[SkillStat] = (),
        similarity: Similarity | None = None,
    ) -> Retriever:
        """Return a retriever over a bank.

        Args:
            skills: the bank, in any order, names unique.
            config: the strategy and its settings.
            statistics: what earlier rounds taught about the skills, for `ucb`; a skill without is unused.
            similarity: over the same skills, for strategies that compare vectors; None embeds the bank now.

        Raises:
            InputError: a name occurs twice, or no skill has a word to match.
            ConfigError: the strategy is not registered.
        """
        refuse_duplicates(skills)
        if config.strategy not in STRATEGIES:
            raise ConfigError(
                f"skills.strategy is {config.strategy!r}; allowed: {', '.join(sorted(STRATEGIES))}. "
                "Choose one with --set skills.strategy=embedding."
            )
        if not skills:
            return cls((), lambda query: [])
        bank = Bank(tuple(skills), config, tuple(statistics), similarity)
        return cls(bank.skills, STRATEGIES[config.strategy].prepare(bank))

    def retrieve(self, goal: str, task_type: str, seed: int) -> list[RetrievedSkillHit]:
        """Return the skills for one task, best first.

        Args:
            goal: the task's goal as the agent reads it.
            task_type: the environment's name for the kind of task.
            seed: for strategies that draw at random; equal arguments give equal hits.
        """
        hits = self.search(Query(goal, task_type, seed))
        return [
            RetrievedSkillHit(self.skills[hit.position], hit.score, rank) for rank, hit in enumerate(hits)
        ]
