"""The handbook of the default house: true, and found by every goal that needs it."""

from __future__ import annotations

import re

import pytest

from sdar.envs.household.house import DEFAULT_HOUSE
from sdar.envs.household.vocabulary import (
    APPLIANCES,
    CATEGORIES,
    CATEGORIES_OF_FAMILY,
    FAMILIES,
    LAMPS,
    PLURALS,
    RECEPTACLE_COUNTS,
    RECEPTACLES,
    preposition,
)
from sdar.schemas.config import SkillsConfig
from sdar.schemas.records import Skill
from sdar.skills.files import builtin_skills
from sdar.skills.retrieval import Retriever

BANK = builtin_skills("household")
BODY = {skill.name: skill.body for skill in BANK}
HELPER = {
    "clean_and_place": "what-cleans",
    "heat_and_place": "what-heats",
    "cool_and_place": "what-cools",
    "look_in_light": "what-gives-light",
}
WORDINGS = {
    "pick_and_place": ("put a {one} {there}", "find a {one} and put it {there}", "place some {one} {there}"),
    "look_in_light": (
        "examine the {one} with the lamp",
        "look at the {one} under the lamp",
        "look at {one} under the desklamp",
        "inspect a {one} in the light",
    ),
    "clean_and_place": (
        "put a clean {one} {there}",
        "clean some {one} and put it {there}",
        "put a washed {one} {there}",
        "rinse the {one} and place it {there}",
    ),
    "heat_and_place": (
        "put a hot {one} {there}",
        "heat some {one} and put it {there}",
        "put a warm {one} {there}",
        "put a heated {one} {there}",
    ),
    "cool_and_place": (
        "put a cool {one} {there}",
        "cool some {one} and put it {there}",
        "put a cold {one} {there}",
        "put a chilled {one} {there}",
    ),
    "pick_two": (
        "put two {many} {there}",
        "find two {many} and put them {there}",
        "place two {many} {there}",
    ),
}


def home_skill(category: str) -> str:
    return "home-of-" + "-".join(CATEGORIES[category])


def test_the_bank_has_its_facts_recipes_and_general_advice() -> None:
    assert len(BANK) == 26
    assert {home_skill(category) for category in CATEGORIES} | set(HELPER.values()) <= set(BODY)
    for family in FAMILIES:
        recipe = next(skill for skill in BANK if skill.name == "steps-" + family.replace("_", "-"))
        assert recipe.task_types == (family,)


def test_task_types_are_families_of_the_household() -> None:
    assert {kind for skill in BANK for kind in skill.task_types} == set(FAMILIES)


def test_no_skill_is_general_so_that_no_block_is_generic() -> None:
    assert [skill.name for skill in BANK if not skill.task_types] == []


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_home_skill_names_its_things_and_the_one_true_place(category: str) -> None:
    body = BODY[home_skill(category)].lower()
    assert [thing for thing in CATEGORIES[category] if not re.search(rf"\b{thing}\b", body)] == []
    assert [place for place in RECEPTACLES if place in body] == [DEFAULT_HOUSE.homes[category]]


@pytest.mark.parametrize(
    ("skill", "works", "all_names"),
    [
        ("what-heats", DEFAULT_HOUSE.appliances["heat"], APPLIANCES["heat"]),
        ("what-cools", DEFAULT_HOUSE.appliances["cool"], APPLIANCES["cool"]),
        ("what-cleans", DEFAULT_HOUSE.appliances["clean"], APPLIANCES["clean"]),
        ("what-gives-light", DEFAULT_HOUSE.lamp, LAMPS),
    ],
)
def test_an_appliance_skill_warns_of_the_ones_that_do_not_work(
    skill: str, works: str, all_names: tuple[str, ...]
) -> None:
    body = BODY[skill].lower()
    warned = re.split(r"do not|because|;", body.replace(works, "", 1), maxsplit=1)[1]
    assert works not in warned
    assert [name for name in all_names if name != works and name not in warned] == []
    if works == DEFAULT_HOUSE.lamp:
        assert DEFAULT_HOUSE.lamp_places[works] in body


@pytest.mark.parametrize("skill", BANK, ids=lambda skill: skill.name)
def test_bodies_are_one_or_two_short_sentences(skill: Skill) -> None:
    assert "\n" not in skill.body
    assert 8 <= len(skill.body.split()) <= 30
    assert len(re.findall(r"\.(?: |$)", skill.body)) in (1, 2)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_goal_finds_all_the_facts_it_needs(family: str) -> None:
    """Recall 1.0 at the default top_k and threshold: 36 things, every wording, every target."""
    retriever = Retriever.from_bank(BANK, SkillsConfig())
    targets = [f"{preposition(kind)} the {kind}" for kind in RECEPTACLE_COUNTS]
    missed = []
    for category, things in CATEGORIES.items():
        needed = {home_skill(category), HELPER.get(family, home_skill(category))}
        for goal in goals_of(family, things, targets):
            found = {hit.skill.name for hit in retriever.retrieve(goal, family, 0)}
            if not needed <= found:
                missed.append((goal, sorted(needed - found)))
    assert missed == []


def goals_of(family: str, things: tuple[str, ...], targets: list[str]) -> list[str]:
    where = targets if family != "look_in_light" else [""]
    return [
        wording.format(one=thing, many=PLURALS[thing], there=target)
        for thing in things
        for wording in WORDINGS[family]
        for target in where
    ]


def test_no_goal_of_the_house_finds_the_home_of_something_else() -> None:
    retriever = Retriever.from_bank(BANK, SkillsConfig())
    for family, categories in CATEGORIES_OF_FAMILY.items():
        for category in categories:
            for goal in goals_of(family, CATEGORIES[category], ["in the cabinet", "on the shelf"]):
                names = [hit.skill.name for hit in retriever.retrieve(goal, family, 0)]
                homes = [name for name in names if name.startswith("home-of-")]
                assert homes == [home_skill(category)], goal
