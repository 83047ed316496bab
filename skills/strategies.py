"""The retrieval strategies: one function each, which prepares a bank and returns the search over it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sdar.schemas.config import SkillsConfig
from sdar.schemas.records import Skill, SkillStat
from sdar.schemas.seeds import generator
from sdar.skills.bm25 import score_texts, word_weights
from sdar.skills.embedding import open_embedder
from sdar.skills.index import Hit
from sdar.skills.similarity import Similarity, embed_bank
from sdar.skills.text import match_text
from sdar.skills.usefulness import upper_bound

CANDIDATES = 4
"""How many times `top_k` of the best skills `ucb` ranks by usefulness, and `hybrid` takes from each part."""

FUSION = 60
"""`hybrid`: what is added to a rank before it is inverted, so that no single first place decides."""


@dataclass(frozen=True)
class Bank:
    """What a strategy prepares: skills in a fixed order, the settings, and what earlier rounds taught.

    `similarity` is over the same skills, for strategies that are `similar`; without it they embed the bank.
    """

    skills: tuple[Skill, ...]
    config: SkillsConfig
    statistics: tuple[SkillStat, ...] = ()
    similarity: Similarity | None = None


@dataclass(frozen=True)
class Query:
    """What a strategy may look at: never the episode, so that a skill cannot be chosen by hindsight."""

    goal: str
    task_type: str
    seed: int


Search = Callable[[Query], list[Hit]]


@dataclass(frozen=True)
class Strategy:
    """How a bank is prepared; for people, what a hit's score means and which settings decide.

    `similar` says that it compares vectors, and so needs the embedder.
    """

    prepare: Callable[[Bank], Search]
    score: str
    settings: tuple[str, ...] = ()
    similar: bool = False


def by_embedding(bank: Bank) -> Search:
    """Return a search for the `top_k` most similar skills of cosine similarity `threshold` or more."""
    nearest, config = _similarity(bank), bank.config
    return lambda query: [hit for hit in nearest(query.goal, config.top_k) if hit.score >= config.threshold]


def by_keyword(bank: Bank) -> Search:
    """Return a search for the `top_k` best skills by BM25 that share a word with the goal."""
    weights = word_weights([match_text(skill) for skill in bank.skills])

    def search(query: Query) -> list[Hit]:
        return _best(bank, score_texts(weights, query.goal))

    return search


def by_fusion(bank: Bank) -> Search:
    """Return a search for the `top_k` best skills by the ranks that `embedding` and `keyword` give them.

    A skill's score is the sum over both of 1 / (60 + rank), rank 1 for the best; each ranks the best
    `4 * top_k` skills that it finds, and equal scores are ordered by skill id.

    Source: Cormack, Clarke and Buettcher (2009), Reciprocal Rank Fusion.
    """
    parts = fusion_parts(bank)

    def search(query: Query) -> list[Hit]:
        scores: dict[int, float] = defaultdict(float)
        for part in parts.values():
            for rank, hit in enumerate(part(query), 1):
                scores[hit.position] += 1 / (FUSION + rank)
        return _best(bank, scores)

    return search


def fusion_parts(bank: Bank) -> dict[str, Search]:
    """Return the searches whose ranks `hybrid` merges, by strategy name."""
    wide = bank.config.model_copy(update={"top_k": CANDIDATES * bank.config.top_k})
    wider = replace(bank, config=wide)
    return {"embedding": by_embedding(wider), "keyword": by_keyword(wider)}


def by_task_type(bank: Bank) -> Search:
    """Return a search for `top_k` skills written for the task's type, then those written for all types.

    Both groups are ordered by similarity; a skill for other types only is never found.
    """
    nearest = _similarity(bank)

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
    nearest, config = _similarity(bank), bank.config
    used = [stat for stat in bank.statistics if stat.uses]
    total = sum(stat.uses for stat in used)
    bounds = {stat.skill_id: upper_bound(stat, total, config.exploration) for stat in used}

    def search(query: Query) -> list[Hit]:
        near = [
            hit for hit in nearest(query.goal, CANDIDATES * config.top_k) if hit.score >= config.threshold
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


def _best(bank: Bank, scores: Mapping[int, float]) -> list[Hit]:
    """Return the `top_k` best of the scored positions, equal scores ordered by skill id."""
    best = sorted(scores, key=lambda position: (-scores[position], bank.skills[position].id))
    return [Hit(position, scores[position]) for position in best[: bank.config.top_k]]


def _similarity(bank: Bank) -> Callable[[str, int], list[Hit]]:
    """Return a search for the k skills nearest to a goal by cosine similarity; equal ones by skill id."""
    if bank.similarity is None:
        texts = [match_text(skill) for skill in bank.skills]
        return embed_bank(bank.skills, open_embedder(bank.config.embedder, texts)).nearest
    return bank.similarity.nearest


STRATEGIES: dict[str, Strategy] = {
    "embedding": Strategy(
        by_embedding,
        "cosine similarity of the goal with name and description",
        ("threshold", "top_k"),
        similar=True,
    ),
    "keyword": Strategy(by_keyword, "BM25 of the goal's words in name and description", ("top_k",)),
    "hybrid": Strategy(
        by_fusion,
        "1 / (60 + rank) by embedding plus the same by keyword",
        ("threshold", "top_k"),
        similar=True,
    ),
    "task_type": Strategy(
        by_task_type,
        "cosine similarity; skills for the task's type come before general ones",
        ("top_k",),
        similar=True,
    ),
    "ucb": Strategy(
        by_usefulness,
        "cosine similarity of a skill never used, upper bound of the usefulness of the others",
        ("threshold", "top_k", "exploration"),
        similar=True,
    ),
    "full": Strategy(everything, "none, all skills by name"),
    "random": Strategy(at_random, "none, drawn by the seed", ("top_k",)),
    "none": Strategy(nothing, "none, this strategy finds no skill"),
}
