"""What a shop's conventions read like when somebody writes them down: the text of skills."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdar.envs.webshop.shop import Shop
from sdar.envs.webshop.vocabulary import ATTRIBUTES, FAMILIES, GROUPS, HUMAN
from sdar.schemas.seeds import generator

# What a fact is about stands before what it says: a small model copies what follows a name most easily.
MARK_PHRASES = (
    "What is {attribute} has the mark {mark}.",
    "For {attribute} search the mark {mark}.",
    "If it has to be {attribute}, look for {mark} in the title.",
    "In this shop what is {attribute} is sold as {mark}.",
)
SIZE_PHRASES = (
    "For the {a}, the {b}, the {c} and the {d} small is {small}, medium is {medium} and large is {large}.",
    "Sizes of the {a}, the {b}, the {c} and the {d}: small is {small}, medium is {medium}, large is {large}.",
    "If the {a}, the {b}, the {c} or the {d} is to be small, take {small}; medium {medium}; large {large}.",
    "The {a}, the {b}, the {c} and the {d} have labels: small {small}, medium {medium} and large {large}.",
)
SYNONYMS = {"water resistant": "waterproof", "light weight": "lightweight", "easy clean": "easily cleaned"}
"""What people also call an attribute, for descriptions, by which skills are retrieved."""
GENERAL: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "search-the-mark": (
        "How to reach what is sold under a mark.",
        "Titles name the mark and the kind, so search for the mark together with the kind.",
        (),
    ),
    "find-out-a-mark": (
        "What to do when no mark is known.",
        "If you do not know the mark, open a product and click attributes to see what its mark means.",
        (),
    ),
    "find-out-a-label": (
        "What to do when no size label is known.",
        "If you do not know the size label, click description: it says which label is which size.",
        ("sized",),
    ),
    "choose-before-buying": (
        "When options are chosen.",
        "Choose the size or the color on the page of the product before you click buy now.",
        ("sized", "coloured"),
    ),
    "mind-the-limit": (
        "Which products are too dear.",
        "Never buy above the price that was named. Another product with the same mark may cost less.",
        (),
    ),
    "two-marks-at-once": (
        "How to find what has two attributes.",
        "For two attributes search for both marks together with the kind.",
        ("paired",),
    ),
    "search-from-anywhere": (
        "How to leave a page.",
        "A search works on every page, so when a product is wrong, search again at once.",
        (),
    ),
    "do-not-open-twice": (
        "How to look through results.",
        "Open another product each time and never one whose attributes you have seen.",
        (),
    ),
}
"""Skills that hold in every shop: description, text and the types of goal, none for all."""


def facts() -> tuple[str, ...]:
    """Return the names of all facts of a shop: the attributes (their marks) and the groups (their labels)."""
    return (*ATTRIBUTES, *GROUPS)


def fact_sentence(own: Shop, fact: str, rng: np.random.Generator) -> str:
    """Return one fact of a shop as a sentence whose wording is drawn from `rng`.

    Args:
        own: the shop.
        fact: an attribute (its mark) or a group (the size labels of its kinds).
        rng: decides the wording and the order of names.
    """
    if fact in ATTRIBUTES:
        return _pick(rng, MARK_PHRASES).format(attribute=fact, mark=own.marks[fact])
    a, b, c, d = (GROUPS[fact][i] for i in rng.permutation(4))
    small, medium, large = own.labels[fact]
    return _pick(rng, SIZE_PHRASES).format(a=a, b=b, c=c, d=d, small=small, medium=medium, large=large)


def handbook(own: Shop) -> dict[str, str]:
    """Return the facts of a shop as SKILL.md texts by skill name, worded from the shop's number."""
    rng = generator(own.number, "webshop", "handbook")
    return {_skill_name(fact): _fact_text(fact, fact_sentence(own, fact, rng)) for fact in facts()}


def general_skills() -> dict[str, str]:
    """Return what holds in every shop as SKILL.md texts by skill name."""
    every = (*FAMILIES, HUMAN)
    return {
        name: _skill_text(name, description, (*families, HUMAN) if families else every, text)
        for name, (description, text, families) in GENERAL.items()
    }


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _skill_name(fact: str) -> str:
    if fact in ATTRIBUTES:
        return "mark-of-" + fact.replace(" ", "-")
    return "sizes-of-" + "-".join(GROUPS[fact])


def _fact_text(fact: str, sentence: str) -> str:
    name = _skill_name(fact)
    if fact in ATTRIBUTES:
        also = f" or {SYNONYMS[fact]}" if fact in SYNONYMS else ""
        return _skill_text(name, f"The mark on what is {fact}{also}.", (*FAMILIES, HUMAN), sentence)
    a, b, c, d = GROUPS[fact]
    description = f"Which label is size small, medium or large on the {a}, the {b}, the {c} and the {d}."
    return _skill_text(name, description, ("sized", HUMAN), sentence)


def _skill_text(name: str, description: str, families: Sequence[str], text: str) -> str:
    return (
        f"---\nname: {name}\ndescription: {description}\nmetadata:\n"
        f"  environment: webshop\n  task_types: [{', '.join(families)}]\n---\n{text}\n"
    )
