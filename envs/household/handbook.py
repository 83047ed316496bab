"""What a house's conventions read like when somebody writes them down: the text of skills."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdar.envs.household.house import House
from sdar.envs.household.vocabulary import APPLIANCES, CATEGORIES, FAMILIES, LAMPS, kind, preposition
from sdar.schemas.seeds import generator

HOME_PHRASES = (
    "The {a}, the {b} and the {c} are kept {at} {place}.",
    "You will find the {a}, the {b} and the {c} {at} {place}.",
    "Look {at} {place} for the {a}, the {b} and the {c}.",
    "{Place} is where the {a}, the {b} and the {c} belong.",
    "In this house {place} holds the {a}, the {b} and the {c}.",
    "If you need the {a}, the {b} or the {c}, go to {place} first.",
)
APPLIANCE_PHRASES = (
    "To {function} something use {works}; {x} and {y} do not work here.",
    "Only {works} can {function} things. Do not try {x} or {y}.",
    "Take a thing that you have to {function} to {works}, because {x} and {y} are broken.",
    "{Works} is the one to {function} with.",
)
LAMP_PHRASES = (
    "For light use {works} at {place}; {x} and {y} do not light.",
    "Only {works} gives light, and it stands at {place}. Do not try {x} or {y}.",
    "To examine a thing carry it to {place} and use {works}.",
    "{Works} at {place} is the lamp that works.",
)
GENERAL = (
    "Open a closed cabinet or drawer before you take a thing out or put a thing in.",
    "Search one place after the other and never look twice in a place that you have seen.",
    "You can carry one thing at a time, so put it down before you take the next.",
    "To put a thing away, find it, take it, go to the place and move it there.",
    "For two things of a kind, bring the first to its place, then go back for the second.",
    "Find the thing, take it, heat it, then carry it to its place and move it there.",
    "Find the thing, take it, cool it, then carry it to its place and move it there.",
    "Find the thing, take it, clean it, then carry it to its place and move it there.",
    "Find the thing, take it, carry it to the lamp that works and use the lamp.",
    "You can carry one thing at a time. Put it down before you take the second.",
    "Open a cabinet or a drawer that is closed before you take a thing out or put a thing in.",
    "Search one place after the other. "
    "A place that you have seen once, you never need to look in a second time.",
    "Find the thing and take it, clean it first, then carry it to its place and move it there.",
    "Find the thing and take it, cool it first, then carry it to its place and move it there.",
    "Find the thing and take it, heat it first, then carry it to its place and move it there.",
    "Find the thing and take it first, then carry it to the lamp that works and use the lamp.",
    "To put a thing away, find it first, take it, then carry it to its place and move it there.",
    "For two things of a kind, carry the first to its place and move it there, then go back for the second.",
    "If nothing happens, do not do it a second time. Go to the place first, or open it before you look in.",
)


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _upper_first(text: str) -> str:
    return text[0].upper() + text[1:]


def fact_sentence(house: House, fact: str, rng: np.random.Generator) -> str:
    """Return one fact of a house as a sentence whose wording is drawn from `rng`.

    Args:
        house: the house.
        fact: a category (where it is kept), `heat`, `cool`, `clean` (what does it) or `light`.
        rng: decides the wording and the order of names.
    """
    if fact in CATEGORIES:
        place = house.homes[fact]
        names = [CATEGORIES[fact][i] for i in rng.permutation(3)]
        return _pick(rng, HOME_PHRASES).format(
            a=names[0],
            b=names[1],
            c=names[2],
            place=place,
            Place=_upper_first(place),
            at=preposition(kind(place)),
        )
    works = house.lamp if fact == "light" else house.appliances[fact]
    others = [name for name in (LAMPS if fact == "light" else APPLIANCES[fact]) if name != works]
    x, y = (others[i] for i in rng.permutation(2))
    return _pick(rng, LAMP_PHRASES if fact == "light" else APPLIANCE_PHRASES).format(
        works=works,
        Works=_upper_first(works),
        x=x,
        y=y,
        function=fact,
        place=house.lamp_places[house.lamp],
    )


def facts(house: House) -> tuple[str, ...]:
    """Return the names of all facts of a house."""
    return (*house.homes, *house.appliances, "light")


DESCRIPTIONS = {
    "heat": "What makes it hot, warm, heated or warmed; where to heat.",
    "cool": "What makes it cool, cold, cooled or chilled; where to cool.",
    "clean": "What makes it clean, washed or rinsed; where to clean.",
    "light": "Which lamp gives light to look at or examine things under.",
}
FACT_FAMILIES = {
    "heat": ("heat_and_place",),
    "cool": ("cool_and_place",),
    "clean": ("clean_and_place",),
    "light": ("look_in_light",),
}


def handbook(house: House) -> dict[str, str]:
    """Return the facts of a house as SKILL.md texts by skill name, worded from the house's number."""
    rng = generator(house.number, "household", "handbook")
    return {skill_name(fact): skill_text(fact, fact_sentence(house, fact, rng)) for fact in facts(house)}


def skill_name(fact: str) -> str:
    """Return the name of the skill that states a fact."""
    if fact in CATEGORIES:
        return "home-of-" + "-".join(CATEGORIES[fact])
    return "what-gives-light" if fact == "light" else f"what-{fact}s"


def skill_text(fact: str, sentence: str, ending: str = "") -> str:
    """Return the SKILL.md of a fact, said in one sentence; `ending` is appended to its name."""
    description = DESCRIPTIONS.get(fact)
    if description is None:
        a, b, c = CATEGORIES[fact]
        description = f"Where the {a}, the {b} and the {c} are kept."
    families = ", ".join(FACT_FAMILIES.get(fact, FAMILIES))
    return (
        f"---\nname: {skill_name(fact)}{ending}\ndescription: {description}\nmetadata:\n"
        f"  environment: household\n  task_types: [{families}]\n---\n{sentence}\n"
    )
