"""Worlds: people, towns and companies, what is true of them, and in which book it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sdar.envs.search_qa.names import BOOKS, COMPANIES, GOODS, MONTHS, PEOPLE, RIVERS, TOWNS, YEARS
from sdar.envs.search_qa.records import Passage
from sdar.schemas.seeds import generator

TRAINING_WORLDS = range(10_000, 11_000)
"""Worlds of the starter policy's warm start; all smaller numbers are target worlds it never sees."""


@dataclass(frozen=True)
class Relation:
    """A kind of fact; its sentence never uses its name, so that no search for the name finds it."""

    name: str
    subject: str
    value: str
    sentence: str


RELATIONS: dict[str, Relation] = {
    each.name: each
    for each in (
        Relation("birthplace", "person", "town", "{subject} came into the world in {value}."),
        Relation("employer", "person", "company", "{subject} draws wages from {value}."),
        Relation("teacher", "person", "person", "{subject} learnt everything under {value}."),
        Relation("birth year", "person", "year", "{subject} first saw light in {value}."),
        Relation("river", "town", "river", "{subject} lies on the {value}."),
        Relation("mayor", "town", "person", "{subject} is governed by {value}."),
        Relation("market month", "town", "month", "{subject} holds its great fair in {value}."),
        Relation("charter year", "town", "year", "{subject} received its rights in {value}."),
        Relation("seat", "company", "town", "{subject} has its offices in {value}."),
        Relation("owner", "company", "person", "{subject} belongs to {value}."),
        Relation("trade", "company", "good", "{subject} sells {value}."),
        Relation("opening year", "company", "year", "{subject} began its business in {value}."),
    )
}
SUBJECTS = ("person", "town", "company")
YEAR_RELATIONS = tuple(name for name, relation in RELATIONS.items() if relation.value == "year")
POOLS: dict[str, tuple[str, ...]] = {
    "person": PEOPLE,
    "town": TOWNS,
    "company": COMPANIES,
    "river": RIVERS,
    "month": MONTHS,
    "good": GOODS,
    "year": YEARS,
}
SIZES = {"person": 32, "town": 20, "company": 20}


@dataclass(frozen=True)
class World:
    """One world.

    Attributes:
        number: decides everything.
        members: names of the people, towns and companies by kind.
        facts: value by (relation, subject).
        books: by relation, the one book in which the library writes it down: the hidden convention.
    """

    number: int
    members: Mapping[str, Sequence[str]]
    facts: Mapping[tuple[str, str], str]
    books: Mapping[str, str]


@lru_cache(maxsize=len(TRAINING_WORLDS) + 64)
def world(number: int) -> World:
    """Return a world; all of it is drawn from its number alone."""
    rng = generator(number, "search_qa", "world")
    members = {kind: _draw(POOLS[kind], SIZES[kind], rng) for kind in SUBJECTS}
    books = dict(zip(RELATIONS, _draw(BOOKS, len(BOOKS), rng), strict=True))
    facts = {
        (relation.name, subject): _value(relation, subject, members, rng)
        for relation in RELATIONS.values()
        for subject in members[relation.subject]
    }
    return World(number, members, facts, books)


def _draw(names: Sequence[str], count: int, rng: np.random.Generator) -> tuple[str, ...]:
    return tuple(names[i] for i in rng.permutation(len(names))[:count])


def _value(
    relation: Relation, subject: str, members: Mapping[str, Sequence[str]], rng: np.random.Generator
) -> str:
    names = members.get(relation.value, POOLS[relation.value])
    options = [name for name in names if name != subject]
    return options[int(rng.integers(len(options)))]


def card_id(book: str, subject: str) -> str:
    """Return the id, which is also the title, of the passage that a book has on a subject."""
    return f"{book}: {subject}"


def passages(home: World) -> tuple[Passage, ...]:
    """Return the library of a world: a card per fact, and two cards per subject that tell nothing.

    The latter are the shortest with the subject's name: a search for the name alone finds these two.
    """
    cards = []
    for (name, subject), value in home.facts.items():
        title = card_id(home.books[name], subject)
        cards.append(Passage(title, title, RELATIONS[name].sentence.format(subject=subject, value=value)))
    for kind in SUBJECTS:
        for subject in home.members[kind]:
            for title, text in (("index", f"See {subject}."), ("gallery", f"Portrait of {subject}.")):
                cards.append(Passage(card_id(title, subject), card_id(title, subject), text))
    return tuple(cards)
