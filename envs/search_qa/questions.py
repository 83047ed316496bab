"""Questions about a generated world: one fact, two facts in a chain, or two facts compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from sdar.envs.search_qa.records import Question
from sdar.envs.search_qa.world import RELATIONS, YEAR_RELATIONS, World
from sdar.schemas.seeds import generator

DATASETS = ("attribute", "bridge", "comparison")
PER_DATASET = 288
"""Most questions of a kind: all attributes of a target world, and as many bridges and comparisons."""

PHRASES = (
    "What is the {chain} of {subject}?",
    "Name the {chain} of {subject}.",
    "Tell me the {chain} of {subject}.",
)
COMPARISONS = (
    "Which {kind} has the earlier {relation}, {a} or {b}?",
    "Whose {relation} is earlier, {a} or {b}?",
)

Draft = tuple[tuple[tuple[str, str], ...], str]
"""The lookups of a question and its answer."""


def questions(home: World) -> tuple[Question, ...]:
    """Return all questions of a world; a kind with more than 288 keeps a random choice of them."""
    found: list[Question] = []
    for dataset in DATASETS:
        rng = generator(home.number, "search_qa", "questions", dataset)
        drafts = list(DRAFTS[dataset](home))
        chosen = sorted(rng.permutation(len(drafts))[:PER_DATASET].tolist())
        found += [_question(home, dataset, drafts[i], rng) for i in chosen]
    return tuple(found)


def random_question(home: World, rng: np.random.Generator) -> Question:
    """Return a question of any kind about a world, all kinds equally likely."""
    dataset = DATASETS[int(rng.integers(len(DATASETS)))]
    drafts = list(DRAFTS[dataset](home))
    return _question(home, dataset, drafts[int(rng.integers(len(drafts)))], rng)


def _question(home: World, dataset: str, draft: Draft, rng: np.random.Generator) -> Question:
    lookups, answer = draft
    identity = "/".join(part for lookup in lookups for part in lookup if part)
    text = _compare(lookups, rng) if dataset == "comparison" else _chain(lookups, rng)
    return Question(f"{home.number}/{dataset}/{identity}", text, (answer,), dataset, lookups)


def _chain(lookups: tuple[tuple[str, str], ...], rng: np.random.Generator) -> str:
    chain = " of the ".join(relation for relation, _ in reversed(lookups))
    return PHRASES[int(rng.integers(len(PHRASES)))].format(chain=chain, subject=lookups[0][1])


def _compare(lookups: tuple[tuple[str, str], ...], rng: np.random.Generator) -> str:
    relation, subjects = lookups[0][0], [subject for _, subject in lookups]
    return COMPARISONS[int(rng.integers(len(COMPARISONS)))].format(
        relation=relation, kind=RELATIONS[relation].subject, a=subjects[0], b=subjects[1]
    )


def _attributes(home: World) -> Iterator[Draft]:
    for (relation, subject), value in home.facts.items():
        yield ((relation, subject),), value


def _bridges(home: World) -> Iterator[Draft]:
    for (relation, subject), middle in home.facts.items():
        for after in RELATIONS.values():
            if after.subject == RELATIONS[relation].value and home.facts[after.name, middle] != subject:
                yield ((relation, subject), (after.name, "")), home.facts[after.name, middle]


def _comparisons(home: World) -> Iterator[Draft]:
    for relation in YEAR_RELATIONS:
        subjects = home.members[RELATIONS[relation].subject]
        for i, a in enumerate(subjects):
            for b in subjects[i + 1 :]:
                years = home.facts[relation, a], home.facts[relation, b]
                if years[0] != years[1]:
                    yield ((relation, a), (relation, b)), a if years[0] < years[1] else b


DRAFTS: dict[str, Callable[[World], Iterator[Draft]]] = {
    "attribute": _attributes,
    "bridge": _bridges,
    "comparison": _comparisons,
}
