"""The retrieval strategies: one function each, which prepares a bank and returns the search over it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sdar.schemas.config import SkillsConfig
from sdar.schemas.records import Skill, SkillStat
from sdar.schemas.seeds import generator
from sdar.skills.bm25 import score_texts, word_weights
from sdar.skills.embedding import TfidfEmbedder
from sdar.skills.index import Hit, SkillIndex
from sdar.skills.usefulness import upper_bound

UCB_CANDIDATES = 4
"""`ucb` ranks this many times `top_k` of the most similar skills."""


@dataclass(frozen=True)
class Bank:
    """What a strategy prepares: skills in a fixed order, the settings, and what earlier rounds taught."""

    skills: tuple[Skill, ...]
    config: SkillsConfig
    statistics: tuple[SkillStat, ...] = ()


@dataclass(frozen=True)
class Query:
    """What a strategy may look at: never the episode, so that a skill cannot be chosen by hindsight."""

    goal: str
    task_type: str
    seed: int


Search = Callable[[Query], list[Hit]]


@dataclass(frozen=True)
class Strategy:
    """How a bank is prepared; for people, what a hit's score means and which settings decide."""

    prepare: Callable[[Bank], Search]
    score: str
    settings: tuple[str, ...] = ()


def match_text(skill: Skill) -> str:
    """Return the text of a skill that goals are compared with: its name and description, not its body.

    A body names places as facts ("kept in cabinet 3"), and a goal names places as destinations ("put it
    in the cabinet"): matching the two would find the wrong facts.
    """
    return f"{skill.name} {skill.description}"


def by_embedding(bank: Bank) -> Search:
    """Return a search for the `top_k` most similar skills of cosine similarity `threshold` or more."""
    nearest, config = _similarity(bank.skills), bank.config
    return lambda query: [hit for hit in nearest(query.goal, config.top_k) if hit.score >= config.threshold]


def by_keyword(bank: Bank) -> Search:
    """Return a search for the `top_k` best skills by BM25 that share a word with the goal."""
    weights = word_weights([match_text(skill) for skill in bank.skills])

    def search(query: Query) -> list[Hit]:
        scores = score_texts(weights, query.goal)
        best = sorted(scores, key=lambda position: (-scores[position], bank.skills[position].id))
        return [Hit(position, scores[position]) for position in best[: bank.config.top_k]]

    return search


def by_task_type(bank: Bank) -> Search:
    """Return a search for `top_k` skills written for the task's type, then those written for all types.

    Both groups are ordered by similarity; a skill for other types only is never found.
    """
    nearest = _similarity(bank.skills)

    def search(query: Query) -> list[Hit]:
        hits = nearest(query.goal, len(bank.skills))
        special = [hit for hit in hits if query.task_type in bank.skills[hit.position].task_types]
        general = [hit for hit in hits if not bank.skills[hit.position].task_types]
        return [*special, *general][: bank.config.top_k]

    return search


def by_usefulness(bank: Bank) -> Search:
    """Return a search that ranks similar skills by how useful they were, seldom used ones favoured.

    Candidates are the `4 * top_k` most similar skills of `threshold` or more. Those never used come first, by
    similarity, which is their score; the others follow by their upper bound.
    """
    nearest, config = _similarity(bank.skills), bank.config
    used = [stat for stat in bank.statistics if stat.uses]
    total = sum(stat.uses for stat in used)
    bounds = {stat.skill_id: upper_bound(stat, total, config.exploration) for stat in used}

    def search(query: Query) -> list[Hit]:
        near = [
            hit for hit in nearest(query.goal, UCB_CANDIDATES * config.top_k) if hit.score >= config.threshold
        ]
        new = [hit for hit in near if bank.skills[hit.position].id not in bounds]
        known = [
            Hit(hit.position, bounds[bank.skills[hit.position].id])
            for hit in near
            if bank.skills[hit.position].id in bounds
        ]
        # Stable: equal bounds stay in the order of similarity, which the index has settled by skill id.
        return [*new, *sorted(known, key=lambda hit: -hit.score)][: config.top_k]

    return search


def everything(bank: Bank) -> Search:
    """Return a search that finds all skills in the order of their names; the budget cuts."""
    order = sorted(range(len(bank.skills)), key=lambda position: bank.skills[position].name)
    return lambda query: [Hit(position, 0.0) for position in order]


def at_random(bank: Bank) -> Search:
    """Return a search for `top_k` skills drawn by the query's seed: what bad retrieval looks like."""
    by_id = sorted(range(len(bank.skills)), key=lambda position: bank.skills[position].id)

    def search(query: Query) -> list[Hit]:
        drawn = generator(query.seed, "skills", "random").permutation(by_id)[: bank.config.top_k]
        return [Hit(int(position), 0.0) for position in drawn]

    return search


def nothing(bank: Bank) -> Search:
    """Return a search that finds no skill, the control arm of an experiment."""
    return lambda query: []


def _similarity(skills: Sequence[Skill]) -> Callable[[str, int], list[Hit]]:
    """Return a search for the k skills nearest to a goal by cosine similarity; equal ones by skill id."""
    texts = [match_text(skill) for skill in skills]
    embedder = TfidfEmbedder.fit(texts)
    index = SkillIndex.build(embedder.embed(texts), [skill.id for skill in skills])
    return lambda goal, k: index.search(embedder.embed([goal])[0], k)


STRATEGIES: dict[str, Strategy] = {
    "embedding": Strategy(
        by_embedding, "cosine similarity of the goal with name and description", ("threshold", "top_k")
    ),
    "keyword": Strategy(by_keyword, "BM25 of the goal's words in name and description", ("top_k",)),
    "task_type": Strategy(
        by_task_type, "cosine similarity; skills for the task's type come before general ones", ("top_k",)
    ),
    "ucb": Strategy(
        by_usefulness,
        "cosine similarity of a skill never used, upper bound of the usefulness of the others",
        ("threshold", "top_k", "exploration"),
    ),
    "full": Strategy(everything, "none, all skills by name"),
    "random": Strategy(at_random, "none, drawn by the seed", ("top_k",)),
    "none": Strategy(nothing, "none, this strategy finds no skill"),
}
