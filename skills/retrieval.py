"""Which skills a task gets: one function per strategy, chosen by `skills.strategy`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sdar.schemas.config import SkillsConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.records import Skill
from sdar.skills.embedding import TfidfEmbedder
from sdar.skills.files import refuse_duplicates
from sdar.skills.index import Hit, SkillIndex


@dataclass(frozen=True)
class Query:
    """What a strategy may look at: never the episode, so that a skill cannot be chosen by hindsight."""

    goal: str
    task_type: str
    seed: int


@dataclass(frozen=True)
class RetrievedSkillHit:
    """A skill with the score that found it and its rank, 0 for the best."""

    skill: Skill
    score: float
    rank: int


Search = Callable[[Query], list[Hit]]
Strategy = Callable[[Sequence[Skill], SkillsConfig], Search]


@dataclass(frozen=True)
class Retriever:
    """A bank, prepared for one strategy."""

    skills: tuple[Skill, ...]
    search: Search

    @classmethod
    def from_bank(cls, skills: Sequence[Skill], config: SkillsConfig) -> Retriever:
        """Return a retriever over a bank.

        Args:
            skills: the bank, in any order, names unique.
            config: the strategy and its settings.

        Raises:
            InputError: a name occurs twice, or no skill has a word to match.
            ConfigError: the strategy is not registered.
        """
        refuse_duplicates(skills)
        if config.strategy not in STRATEGIES:
            raise ConfigError(
                f"skills.strategy is {config.strategy!r}; allowed: {', '.join(sorted(STRATEGIES))}."
            )
        return cls(tuple(skills), STRATEGIES[config.strategy](skills, config))

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


def match_text(skill: Skill) -> str:
    """Return the text of a skill that goals are compared with: its name and description, not its body.

    A body names places as facts ("kept in cabinet 3"), and a goal names places as destinations ("put it
    in the cabinet"): matching the two would find the wrong facts.
    """
    return f"{skill.name} {skill.description}"


def by_embedding(skills: Sequence[Skill], config: SkillsConfig) -> Search:
    """Return a search for the `top_k` most similar skills of cosine similarity `threshold` or more."""
    texts = [match_text(skill) for skill in skills]
    embedder = TfidfEmbedder.fit(texts)
    index = SkillIndex.build(embedder.embed(texts), [skill.id for skill in skills])

    def search(query: Query) -> list[Hit]:
        hits = index.search(embedder.embed([query.goal])[0], config.top_k)
        return [hit for hit in hits if hit.score >= config.threshold]

    return search


def nothing(skills: Sequence[Skill], config: SkillsConfig) -> Search:
    """Return a search that finds no skill, the control arm of an experiment."""
    return lambda query: []


STRATEGIES: dict[str, Strategy] = {"embedding": by_embedding, "none": nothing}
