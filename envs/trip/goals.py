"""The tasks of a company: goals in words, split so that the panel's goals are never trained on."""

from __future__ import annotations

from functools import lru_cache

from sdar.envs.trip.company import company
from sdar.envs.trip.vocabulary import CITIES, FAMILIES, TRAVELLERS
from sdar.schemas.records import TaskSpec
from sdar.schemas.seeds import derive_seed, generator

SPLITS = ("train", "seen", "unseen")
TASKS_PER_FAMILY = {"train": 160, "seen": 60, "unseen": 60}

PHRASES: dict[str, tuple[str, str]] = {
    "day": ("a day trip to {city} for {traveller}", "{traveller} goes to {city} for a day"),
    "overnight": (
        "a night in {city} near the office for {traveller}",
        "{traveller} stays a night in {city} near the office",
    ),
    "dinner": (
        "a night in {city} near the office with dinner for {traveller}",
        "{traveller} stays a night in {city} near the office and has dinner",
    ),
    "partner": (
        "a night in {city} near {partner} for {traveller}",
        "{traveller} stays a night in {city} near {partner}",
    ),
    "three_days": (
        "three days in {city} for {traveller}, a night near the office and a night near {partner}",
        "{traveller} goes to {city} for three days, a night near the office and a night near {partner}",
    ),
    "changed": (
        "a night in {city} for {traveller}, near the office or {partner} as the calendar says",
        "{traveller} stays a night in {city} near the office or {partner}, see the calendar",
    ),
}


@lru_cache(maxsize=8)
def split_goals(number: int, family: str, split: str) -> tuple[tuple[str, str], ...]:
    """Return the goals (city, traveller) of a split.

    Two thirds are trained on (`train`, `seen`), a third never (`unseen`).
    """
    pairs = [(city, traveller) for city in CITIES for traveller in TRAVELLERS]
    order = generator(number, "trip", "split", family).permutation(len(pairs))
    cut = (2 * len(pairs)) // 3
    return tuple(pairs[i] for i in (order[cut:] if split == "unseen" else order[:cut]))


def make_task(number: int, family: str, city: str, traveller: str, split: str, seed: int) -> TaskSpec:
    """Return one task of a company; the seed picks the wording."""
    partner = company(number).partner_in(city)
    words = PHRASES[family][seed % len(PHRASES[family])]
    return TaskSpec(
        id=f"trip/{number}/{split}/{family}/{city}/{traveller}/{seed}",
        environment="trip",
        split=split,
        type=family,
        goal=words.format(city=city, traveller=traveller, partner=partner),
        seed=seed,
        payload={"company": number, "city": city, "traveller": traveller},
    )


def tasks(number: int, split: str) -> list[TaskSpec]:
    """Return the tasks of a split: families in turn, each cycling through its goals with fresh seeds."""
    made: dict[str, TaskSpec] = {}
    for i in range(TASKS_PER_FAMILY[split]):
        for family in FAMILIES:
            pairs = split_goals(number, family, split)
            seed = derive_seed(number, "trip", split, family, i) % 1_000_000
            # In a few companies of a thousand a goal is drawn one seed twice: that would be one task twice.
            while (task := make_task(number, family, *pairs[i % len(pairs)], split, seed)).id in made:
                seed += 1
            made[task.id] = task
    return list(made.values())


def random_task(number: int, seed: int) -> TaskSpec:
    """Return a task of any family and goal, for the warm start's training companies."""
    rng = generator(seed, "trip", "task", number)
    family = FAMILIES[rng.integers(len(FAMILIES))]
    city, traveller = CITIES[rng.integers(len(CITIES))], TRAVELLERS[rng.integers(len(TRAVELLERS))]
    return make_task(number, family, city, traveller, "train", int(rng.integers(1_000_000)))


def facts_needed(task: TaskSpec) -> tuple[str, ...]:
    """Return the facts that a task needs, each by the name it is about.

    A city stands for where the office is in it, a partner for where the partner is, a traveller for what
    the traveller insists on.
    """
    city, traveller = task.payload["city"], task.payload["traveller"]
    partner = company(task.payload["company"]).partner_in(city)
    places = {
        "day": (),
        "overnight": (city,),
        "dinner": (city,),
        "partner": (partner,),
        "three_days": (city, partner),
        "changed": (city, partner),
    }
    return (*places[task.type], traveller)
