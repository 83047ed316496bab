"""The goals of a generated shop, and any goals as tasks of splits."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations, product

from sdar.envs.webshop.products import Goal, Option, draw_limit, limit_text
from sdar.envs.webshop.shop import Shop, shop, slot_with
from sdar.envs.webshop.vocabulary import ATTRIBUTES, FAMILIES, GROUP_OF, KINDS, SIZES
from sdar.schemas.records import TaskSpec
from sdar.schemas.seeds import derive_seed, generator

SHOP_SPLITS = ("train", "unseen")
SHOP_TASKS = {"train": 144, "unseen": 72}
"""Tasks per type of goal in a generated shop; no combination of words is in both splits."""
LIST_SPLITS = ("train", "dev", "unseen")

Wish = tuple[str, tuple[str, ...], str]
"""A kind, its wanted attributes, and a size or colour or nothing."""

PHRASES = ("i need {a} {what}", "i am looking for {a} {what}", "find me {a} {what}")


def phrase(kind: str, attributes: Sequence[str], extra: str, seed: int) -> str:
    """Return a wish in words; the seed picks the wording.

    Args:
        kind: what is wanted.
        attributes: one or two.
        extra: a size, a colour, or nothing.
        seed: any number from 0.
    """
    what = f"{' and '.join(attributes)} {kind}"
    article = "an" if what[0] in "aeiou" else "a"
    text = PHRASES[seed % len(PHRASES)].format(a=article, what=what)
    if not extra:
        return text
    return f"{text} in size {extra}" if extra in SIZES else f"{text} in {extra}"


def make_goal(own: Shop, wish: Wish, family: str, seed: int) -> Goal:
    """Return a goal of a generated shop; the seed picks wording and price limit."""
    kind, attributes, extra = wish
    slot = slot_with(own, kind, attributes)
    limit = draw_limit(slot.price, generator(seed, "webshop", "limit"))
    text = phrase(kind, attributes, extra, seed) + limit_text(limit)
    return Goal(slot.asin, text, family, attributes, wanted_options(own, kind, extra), limit)


def wanted_options(own: Shop, kind: str, extra: str) -> tuple[Option, ...]:
    """Return the option by which a shop sells a size or a colour of a kind."""
    if extra in SIZES:
        return (own.labels[GROUP_OF[kind]][SIZES.index(extra)],)
    return (extra,) if extra else ()


@lru_cache(maxsize=64)
def wishes(number: int, family: str) -> tuple[Wish, ...]:
    """Return all wishes of a type that the products of a shop fulfil."""
    if family == "paired":
        return tuple((kind, pair, "") for kind in KINDS for pair in combinations(ATTRIBUTES, 2))
    single = list(product(KINDS, ATTRIBUTES))
    if family == "sized":
        return tuple((kind, (attribute,), size) for kind, attribute in single for size in SIZES)
    if family == "coloured":
        own = shop(number)
        return tuple(
            (kind, (attribute,), colour)
            for kind, attribute in single
            for colour in slot_with(own, kind, (attribute,)).colours
        )
    return tuple((kind, (attribute,), "") for kind, attribute in single)


def shop_tasks(number: int, split: str) -> list[TaskSpec]:
    """Return the tasks of a split of a generated shop, types in turn."""
    own, by_family = shop(number), []
    for family in FAMILIES:
        order = generator(number, "webshop", "split", family).permutation(len(wishes(number, family)))
        first = 0 if split == "unseen" else SHOP_TASKS["unseen"]
        chosen = [wishes(number, family)[i] for i in order[first : first + SHOP_TASKS[split]]]
        seeds = [
            derive_seed(number, "webshop", split, family, i) % 1_000_000 for i in range(SHOP_TASKS[split])
        ]
        by_family.append(
            [make_goal(own, wish, family, seed) for wish, seed in zip(chosen, seeds, strict=True)]
        )
    goals = [goal for row in zip(*by_family, strict=True) for goal in row]
    return [task_of(goal, split, f"{number}/{split}/{i}", {"shop": number}) for i, goal in enumerate(goals)]


def random_goal(number: int, seed: int) -> Goal:
    """Return a goal of any type and wish, for the warm start's training shops."""
    rng = generator(seed, "webshop", "goal", number)
    family = FAMILIES[rng.integers(len(FAMILIES))]
    kind, count = KINDS[int(rng.integers(len(KINDS)))], 2 if family == "paired" else 1
    names = list(ATTRIBUTES)
    attributes = tuple(names[i] for i in sorted(rng.permutation(len(names))[:count]))
    extras: Mapping[str, Sequence[str]] = {
        "sized": SIZES,
        "coloured": slot_with(shop(number), kind, attributes).colours,
    }
    options = extras.get(family, ("",))
    wish = (kind, attributes, options[int(rng.integers(len(options)))])
    return make_goal(shop(number), wish, family, int(rng.integers(1_000_000)))


def split_list(goals: Sequence[Goal]) -> dict[str, list[Goal]]:
    """Return listed goals by split, in WebShop's order: shuffled by seed 233, then test, dev and train.

    `unseen`, the test split, has 500 goals and `dev` 1000 as in WebShop, or a quarter each where there are
    fewer than 2000 and 4000 goals. A goal whose instruction is in an earlier split is left out.
    """
    shuffled = list(goals)
    random.Random(233).shuffle(shuffled)
    test = min(500, len(shuffled) // 4)
    dev = min(1000, len(shuffled) // 4)
    parts = {
        "unseen": shuffled[:test],
        "dev": shuffled[test : test + dev],
        "train": shuffled[test + dev :],
    }
    seen: set[str] = set()
    for split, part in parts.items():
        parts[split] = [goal for goal in part if goal.instruction not in seen]
        seen |= {goal.instruction for goal in part}
    return parts


def list_tasks(parts: Mapping[str, Sequence[Goal]], split: str, payload: Mapping[str, int]) -> list[TaskSpec]:
    """Return the tasks of a split of listed goals; `payload` names the generated shop, if there is one."""
    return [task_of(goal, split, f"{goal.type}/{split}/{i}", payload) for i, goal in enumerate(parts[split])]


def task_of(goal: Goal, split: str, name: str, payload: Mapping[str, int]) -> TaskSpec:
    """Return a goal as a task, from which `goal_of` makes it again."""
    return TaskSpec(
        id=f"webshop/{name}",
        environment="webshop",
        split=split,
        type=goal.type,
        goal=goal.instruction,
        seed=derive_seed(0, "webshop", name) % 1_000_000,
        payload={
            **payload,
            "asin": goal.asin,
            "attributes": list(goal.attributes),
            "options": [option if isinstance(option, str) else list(option) for option in goal.options],
            "price_upper": goal.price_upper,
        },
    )


def goal_of(task: TaskSpec) -> Goal:
    """Return the goal of a task."""
    payload = task.payload
    return Goal(
        asin=payload["asin"],
        instruction=task.goal,
        type=task.type,
        attributes=tuple(payload["attributes"]),
        options=tuple(option if isinstance(option, str) else tuple(option) for option in payload["options"]),
        price_upper=payload["price_upper"],
    )
