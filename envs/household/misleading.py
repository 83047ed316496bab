"""Skills that read like a house's own and are wrong: what a bank is poisoned with to test its defence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sdar.envs.household.handbook import fact_sentence, facts, skill_name, skill_text
from sdar.envs.household.house import House
from sdar.envs.household.vocabulary import APPLIANCES, CATEGORIES, LAMPS, RECEPTACLES
from sdar.schemas.errors import InputError
from sdar.schemas.seeds import generator

BESIDE = "-too"
"""Ending of the name of a misleading skill that stands beside the right one."""


def wrong_house(home: House, fact: str, rng: np.random.Generator) -> House:
    """Return a house in which one fact is another than in `home`, drawn from `rng` among all other values.

    Args:
        home: the house as it is.
        fact: a category, `heat`, `cool`, `clean` or `light`; see `handbook.facts`.
        rng: decides the value.
    """
    if fact in CATEGORIES:
        return replace(home, homes={**home.homes, fact: _another(RECEPTACLES, home.homes[fact], rng)})
    if fact == "light":
        return replace(home, lamp=_another(LAMPS, home.lamp, rng))
    works = _another(APPLIANCES[fact], home.appliances[fact], rng)
    return replace(home, appliances={**home.appliances, fact: works})


def misleading_skills(home: House, count: int, seed: int, instead: bool = False) -> dict[str, str]:
    """Return wrong facts about a house as SKILL.md texts by skill name, in the words of its handbook.

    Args:
        home: the house.
        count: how many, from 0 to the number of its facts; each is about another fact.
        seed: decides which facts, their wrong values and their wording.
        instead: give them the names of the right skills, whose place they then take in a bank; otherwise they
            have names of their own, and the descriptions of the right ones, beside which they are found.

    Raises:
        InputError: the house has not so many facts.
    """
    known = facts(home)
    if not 0 <= count <= len(known):
        raise InputError(f"{count} misleading skills are asked for; a house has 0 to {len(known)} facts.")
    rng = generator(seed, "household", "misleading", home.number)
    chosen = [known[i] for i in rng.permutation(len(known))[:count]]
    ending = "" if instead else BESIDE
    return {
        f"{skill_name(fact)}{ending}": skill_text(
            fact, fact_sentence(wrong_house(home, fact, rng), fact, rng), ending
        )
        for fact in chosen
    }


def _another(values: Sequence[str], value: str, rng: np.random.Generator) -> str:
    others = [each for each in values if each != value]
    return others[int(rng.integers(len(others)))]
