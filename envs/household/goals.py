"""The tasks of a house: goals in words, split so that the panel's goals are never trained on."""

from __future__ import annotations

from functools import lru_cache

from sdar.envs.household.house import house
from sdar.envs.household.vocabulary import (
    CATEGORIES,
    CATEGORIES_OF_FAMILY,
    CATEGORY_OF,
    FAMILIES,
    PLURALS,
    RECEPTACLE_COUNTS,
    kind,
    preposition,
)
from sdar.schemas.records import TaskSpec
from sdar.schemas.seeds import derive_seed, generator

SPLITS = ("train", "seen", "unseen")
TASKS_PER_FAMILY = {"train": 240, "seen": 60, "unseen": 60}

PHRASES: dict[str, tuple[str, ...]] = {
    "pick_and_place": ("put a {thing} {at} the {target}", "find a {thing} and put it {at} the {target}"),
    "look_in_light": ("examine the {thing} with the lamp", "look at the {thing} under the lamp"),
    "clean_and_place": (
        "put a clean {thing} {at} the {target}",
        "clean some {thing} and put it {at} the {target}",
    ),
    "heat_and_place": (
        "put a hot {thing} {at} the {target}",
        "heat some {thing} and put it {at} the {target}",
    ),
    "cool_and_place": (
        "put a cool {thing} {at} the {target}",
        "cool some {thing} and put it {at} the {target}",
    ),
    "pick_two": ("put two {things} {at} the {target}", "find two {things} and put them {at} the {target}"),
}


@lru_cache(maxsize=8)
def goals(house_number: int, family: str) -> tuple[tuple[str, str], ...]:
    """Return all goals (thing, target receptacle type) of a family; things never start at their target."""
    homes = house(house_number).homes
    pairs = []
    for category in CATEGORIES_OF_FAMILY[family]:
        for thing in CATEGORIES[category]:
            if family == "look_in_light":
                pairs.append((thing, ""))
                continue
            pairs += [(thing, target) for target in RECEPTACLE_COUNTS if target != kind(homes[category])]
    return tuple(pairs)


def split_goals(house_number: int, family: str, split: str) -> list[tuple[str, str]]:
    """Return the goals of a split: two thirds are trained on (`train`, `seen`), a third never (`unseen`)."""
    pairs = goals(house_number, family)
    order = generator(house_number, "household", "split", family).permutation(len(pairs))
    cut = (2 * len(pairs)) // 3
    chosen = order[cut:] if split == "unseen" else order[:cut]
    return [pairs[i] for i in chosen]


def phrase(family: str, thing: str, target: str, seed: int) -> str:
    """Return the goal in words; the seed picks the wording."""
    options = PHRASES[family]
    return options[seed % len(options)].format(
        thing=thing, things=PLURALS[thing], target=target, at=preposition(target)
    )


def make_task(house_number: int, family: str, thing: str, target: str, split: str, seed: int) -> TaskSpec:
    """Return one task of the household."""
    return TaskSpec(
        id=f"household/{house_number}/{split}/{family}/{thing}/{target or 'lamp'}/{seed}",
        environment="household",
        split=split,
        type=family,
        goal=phrase(family, thing, target, seed),
        seed=seed,
        payload={"house": house_number, "thing": thing, "target": target},
    )


def tasks(house_number: int, split: str) -> list[TaskSpec]:
    """Return the tasks of a split: families in turn, each cycling through its goals with fresh seeds."""
    by_family = [_tasks_of(house_number, family, split) for family in FAMILIES]
    return [task for row in zip(*by_family, strict=True) for task in row]


def _tasks_of(house_number: int, family: str, split: str) -> list[TaskSpec]:
    pairs, made = split_goals(house_number, family, split), dict[str, TaskSpec]()
    for i in range(TASKS_PER_FAMILY[split]):
        seed = derive_seed(house_number, "household", split, family, i) % 1_000_000
        # In a few houses of a thousand a goal is drawn one seed twice: that would be one task twice.
        while (task := make_task(house_number, family, *pairs[i % len(pairs)], split, seed)).id in made:
            seed += 1
        made[task.id] = task
    return list(made.values())


def random_task(house_number: int, seed: int) -> TaskSpec:
    """Return a task of any family and goal, for the warm start's training houses."""
    rng = generator(seed, "household", "task", house_number)
    family = FAMILIES[rng.integers(len(FAMILIES))]
    pairs = goals(house_number, family)
    thing, target = pairs[rng.integers(len(pairs))]
    return make_task(house_number, family, thing, target, "train", int(rng.integers(1_000_000)))


def skill_names_needed(task: TaskSpec) -> tuple[str, ...]:
    """Return the facts a task needs: the thing's category, then the appliance function or `light`."""
    category = CATEGORY_OF[task.payload["thing"]]
    needs = {
        "clean_and_place": ("clean",),
        "heat_and_place": ("heat",),
        "cool_and_place": ("cool",),
        "look_in_light": ("light",),
    }
    return (category, *needs.get(task.type, ()))
