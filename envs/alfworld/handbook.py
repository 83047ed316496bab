"""What is worth knowing in ALFWorld, in words: the text of its skills."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdar.envs.alfworld.builtin import mean_number
from sdar.envs.alfworld.game import FAMILIES, TREATMENTS, Wanted
from sdar.envs.alfworld.places import usual_places
from sdar.schemas.seeds import generator

GROUPS = (
    ("apple", "tomato", "potato"), ("bread", "lettuce", "egg"), ("mug", "cup"), ("bowl", "plate"),
    ("fork", "spoon", "butterknife"), ("knife", "spatula", "ladle"), ("pot", "pan", "kettle"),
    ("saltshaker", "peppershaker"), ("glassbottle", "winebottle"), ("dishsponge", "soapbottle"),
    ("soapbar", "cloth"), ("handtowel", "towel"), ("spraybottle", "toiletpaper"), ("candle", "plunger"),
    ("book", "newspaper"), ("laptop", "pillow"), ("baseballbat", "basketball", "tennisracket"),
    ("keychain", "creditcard", "watch"), ("cellphone", "remotecontrol"), ("pen", "pencil", "cd"),
    ("alarmclock", "statue", "vase"), ("box", "tissuebox", "wateringcan"),
)  # fmt: skip
"""Types of thing that one skill is about."""
LIGHTS = ("desklamp", "floorlamp")
TOLD = 4
"""Types of receptacle that a skill names."""
PLACE_PHRASES = (
    "Look for the {things} {places} first.",
    "The {things} is most often {places}.",
    "You will usually find the {things} {places}.",
    "To find the {things}, search {places} before anything else.",
)
WORK_PHRASES = {
    "heat": (
        "To heat a thing carry it to the microwave and heat it with the microwave, which need not be open.",
        "Only the microwave heats. Stand at it with the thing in your hand and heat the thing with it.",
        "Heat things with the microwave; stoveburner and coffeemachine do not heat.",
    ),
    "cool": (
        "To cool a thing carry it to the fridge and cool it with the fridge, which need not be open.",
        "Only the fridge cools. Stand at it with the thing in your hand and cool the thing with it.",
        "Cool things with the fridge; do not leave them in it.",
    ),
    "clean": (
        "To clean a thing carry it to the sinkbasin and clean it with the sinkbasin.",
        "Only the sinkbasin cleans. Stand at it with the thing in your hand and clean the thing with it.",
        "Clean things with the sinkbasin, never with a cloth or a dishsponge.",
    ),
}
GENERAL = {
    "search-in-order": "Go from one receptacle to the next and never look twice where you have looked.",
    "open-before-looking": "Open a closed cabinet, drawer, fridge, microwave or safe to reach what is in it.",
    "one-thing-at-a-time": "You can hold one thing. Put it down before you take another.",
    "two-of-a-kind": "For two things move the first to its receptacle, then the second to the same one.",
    "treat-then-deliver": "Take the thing, then clean, heat or cool it, and only then move it to its place.",
    "take-it-to-the-lamp": "Take the thing, carry it to the lamp, and use the lamp while you hold it.",
    "nothing-happens": "If nothing happens, do not repeat it: go there first, or open it first.",
}
_GENERAL_FAMILIES = {
    "two-of-a-kind": ("pick_two_obj_and_place",),
    "treat-then-deliver": tuple(TREATMENTS),
    "take-it-to-the-lamp": ("look_at_obj_in_light",),
}


def facts() -> tuple[str, ...]:
    """Return the names of all facts: groups of things by their first, `light`, `heat`, `cool`, `clean`."""
    return (*(group[0] for group in GROUPS), "light", *WORK_PHRASES)


def facts_needed(wanted: Wanted) -> tuple[str, ...]:
    """Return the facts that help with a task."""
    needed = [group[0] for group in GROUPS if wanted.thing in group]
    if wanted.family == "look_at_obj_in_light":
        needed.append("light")
    if wanted.family in TREATMENTS:
        needed.append(TREATMENTS[wanted.family][0])
    return tuple(needed)


def fact_sentence(fact: str, rng: np.random.Generator) -> str:
    """Return one fact in words that are drawn from `rng`."""
    if fact in WORK_PHRASES:
        return _pick(rng, WORK_PHRASES[fact])
    group = next(group for group in (*GROUPS, LIGHTS) if _fact(group) == fact)
    phrase = _pick(rng, PLACE_PHRASES)
    things = _or([group[i] for i in rng.permutation(len(group))])
    return phrase.format(
        things=things,
        places=_or([f"{_preposition(place)} the {place}" for place in best_places(group)]),
    )


def best_places(group: Sequence[str]) -> list[str]:
    """Return the types of receptacle to look at first for a group: the likeliest to hold one each."""
    chances: dict[str, float] = {}
    for thing in group:
        for place, share in usual_places().get(thing, {}).items():
            chances[place] = chances.get(place, 0.0) + share / mean_number(place)
    return sorted(chances, key=lambda place: (-chances[place], place))[:TOLD]


def told_places(told: Sequence[str]) -> dict[str, list[str]]:
    """Return by type of thing or lamp where one looks who was told some facts."""
    groups = [group for group in (*GROUPS, LIGHTS) if _fact(group) in told]
    return {thing: best_places(group) for group in groups for thing in group}


def handbook() -> dict[str, str]:
    """Return the SKILL.md texts by skill name."""
    rng = generator(0, "alfworld", "handbook")
    texts = {skill_name(fact): _skill(fact, fact_sentence(fact, rng)) for fact in facts()}
    for name, sentence in GENERAL.items():
        families = _GENERAL_FAMILIES.get(name, FAMILIES)
        # In quotes, because an unquoted colon would end the text in YAML.
        texts[name] = _file(name, f'"How to act: {name.replace("-", " ")}."', families, sentence)
    return texts


def skill_name(fact: str) -> str:
    """Return the name of the skill that states a fact."""
    if fact in WORK_PHRASES:
        return f"how-to-{fact}"
    group = next(group for group in (*GROUPS, LIGHTS) if _fact(group) == fact)
    return "where-lamps-stand" if fact == "light" else "places-of-" + "-".join(group)


def _skill(fact: str, sentence: str) -> str:
    families = {action: (family,) for family, (action, _) in TREATMENTS.items()}
    if fact in WORK_PHRASES:
        words = {"heat": "hot or heated", "cool": "cool or cold", "clean": "clean or washed"}[fact]
        return _file(skill_name(fact), f"What makes a thing {words}.", families[fact], sentence)
    if fact == "light":
        description = "Where the desklamp or the floorlamp is, to look at or examine things under."
        return _file(skill_name(fact), description, ("look_at_obj_in_light",), sentence)
    group = next(group for group in GROUPS if _fact(group) == fact)
    return _file(skill_name(fact), f"Where to look for the {_or(group)}.", FAMILIES, sentence)


def _file(name: str, description: str, families: Sequence[str], sentence: str) -> str:
    return (
        f"---\nname: {name}\ndescription: {description}\nmetadata:\n  environment: alfworld\n"
        f"  task_types: [{', '.join(families)}]\n---\n{sentence}\n"
    )


def _fact(group: Sequence[str]) -> str:
    return "light" if tuple(group) == LIGHTS else group[0]


def _preposition(place: str) -> str:
    inside = ("cabinet", "drawer", "fridge", "microwave", "safe", "sinkbasin", "bathtubbasin", "garbagecan")
    return "in" if place in inside else "on"


def _or(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]
