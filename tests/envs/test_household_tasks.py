"""Houses, splits, demonstrations: what is drawn, what is hidden, and what is told."""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar.envs.household import demonstrations
from sdar.envs.household.demonstrations import DETOUR, LUCK, demonstrate
from sdar.envs.household.environment import Household
from sdar.envs.household.expert import Expert
from sdar.envs.household.game import Game, new_game, step
from sdar.envs.household.goals import goals, make_task, phrase, skill_names_needed, split_goals, tasks
from sdar.envs.household.handbook import GENERAL, fact_sentence, facts
from sdar.envs.household.house import DEFAULT_HOUSE, TRAINING_HOUSES, House, house
from sdar.envs.household.vocabulary import (
    APPLIANCES,
    CATEGORIES,
    FAMILIES,
    LAMP_PLACES,
    LAMPS,
    RECEPTACLES,
    kind,
)
from sdar.schemas.records import TaskSpec

houses = st.integers(0, 20_000)


@settings(max_examples=60)
@given(houses)
def test_a_house_follows_from_its_number(number: int) -> None:
    home = house(number)
    assert home == house(number)
    assert set(home.homes) == set(CATEGORIES)
    assert set(home.homes.values()) <= set(RECEPTACLES)
    assert all(home.appliances[function] in names for function, names in APPLIANCES.items())
    assert home.lamp in LAMPS
    assert len(set(home.lamp_places.values()) & set(LAMP_PLACES)) == len(LAMPS)


def test_houses_differ() -> None:
    assert len({tuple(house(number).homes.items()) for number in range(50)}) == 50
    assert house(0) is DEFAULT_HOUSE


@settings(max_examples=30)
@given(houses, st.sampled_from(FAMILIES))
def test_unseen_goals_are_never_trained_on(number: int, family: str) -> None:
    trained, unseen = set(split_goals(number, family, "train")), set(split_goals(number, family, "unseen"))
    assert not trained & unseen
    assert trained | unseen == set(goals(number, family))
    assert set(split_goals(number, family, "seen")) == trained
    assert len(unseen) >= 3


@pytest.mark.parametrize("number", [0, 3, 23])  # in house 23 a goal would get the same seed twice
def test_tasks_are_stable_and_balanced(number: int) -> None:
    world = Household(number)
    listed = {split: world.tasks(split) for split in world.splits()}
    assert listed == {split: tasks(number, split) for split in world.splits()}
    assert {split: len(rows) for split, rows in listed.items()} == {"train": 1440, "seen": 360, "unseen": 360}
    ids = [task.id for rows in listed.values() for task in rows]
    assert len(set(ids)) == len(ids)
    assert set(Counter(task.type for task in listed["unseen"][:24]).values()) == {4}
    in_words = {split: {task.goal for task in rows} for split, rows in listed.items()}
    assert not in_words["unseen"] & (in_words["train"] | in_words["seen"])


def test_things_never_start_where_they_have_to_go() -> None:
    for task in tasks(0, "train")[:300]:
        contents = new_game(task, task.seed).contents
        at_target = [names for place, names in contents.items() if kind(place) == task.payload["target"]]
        assert not any(kind(name) == task.payload["thing"] for names in at_target for name in names)


def test_goals_in_words() -> None:
    assert phrase("heat_and_place", "mug", "cabinet", 0) == "put a hot mug in the cabinet"
    assert phrase("heat_and_place", "mug", "desk", 1) == "heat some mug and put it on the desk"
    assert phrase("pick_two", "knife", "drawer", 0) == "put two knives in the drawer"
    assert phrase("look_in_light", "book", "", 1) == "look at the book under the lamp"


def test_facts_needed() -> None:
    assert skill_names_needed(make_task(0, "heat_and_place", "egg", "desk", "train", 0)) == ("food", "heat")
    assert skill_names_needed(make_task(0, "look_in_light", "pen", "", "train", 0)) == ("stationery", "light")
    assert skill_names_needed(make_task(0, "pick_two", "pen", "desk", "train", 0)) == ("stationery",)


@pytest.mark.parametrize("seed", range(12))
def test_sentences_tell_the_convention_of_the_house(seed: int) -> None:
    def sentence(fact: str) -> str:
        return fact_sentence(DEFAULT_HOUSE, fact, np.random.default_rng(seed)).lower()

    assert all(word in sentence("cups") for word in ("cup", "mug", "glass", "cabinet 3"))
    assert "stove 1" in sentence("heat")
    assert "floorlamp 1" in sentence("light")
    assert "sofa 1" in sentence("light")


class Watched(Expert):
    """The real expert, which notes what it wanted."""

    def __init__(self, game: Game, rng: np.random.Generator, knows: frozenset[str]) -> None:
        super().__init__(game, rng, knows)
        self.wanted: list[str] = []

    def next_action(self) -> str:
        self.wanted.append(super().next_action())
        return self.wanted[-1]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    made: list[Watched] = []

    def make(game: Game, rng: np.random.Generator, knows: frozenset[str]) -> Watched:
        made.append(Watched(game, rng, knows))
        return made[-1]

    monkeypatch.setattr(demonstrations, "Expert", make)
    return made


def test_demonstrations_play_in_training_houses_only(watched: list[Watched]) -> None:
    for index in range(60):
        demonstrate(index, 5, 20, 0.5)
    played = {expert.game.house.number for expert in watched}
    assert played <= set(TRAINING_HOUSES)
    assert len(played) > 50
    assert DEFAULT_HOUSE.number not in TRAINING_HOUSES


def test_detours_carry_no_loss_and_the_rest_is_the_experts_choice(watched: list[Watched]) -> None:
    turns = 0
    detours = 0
    for index in range(80):
        shown = demonstrate(index, 5, 20, 0.5).turns
        for turn, wanted in zip(shown, watched[-1].wanted, strict=True):
            assert turn.action == wanted or not turn.learn
        turns += len(shown)
        detours += sum(not turn.learn for turn in shown)
    assert abs(detours / turns - DETOUR) < 0.05


def test_the_block_agrees_with_the_house_and_the_expert_knows_what_it_tells(watched: list[Watched]) -> None:
    for index in range(12):
        lines = demonstrate(index, 5, 20, 1.0).block.split("\n")
        home, knows = watched[-1].game.house, watched[-1].knows
        told = {fact for fact in facts(home) if _sentences(home, fact) & set(lines)}
        assert told == set(knows)
        assert set(lines) <= set(GENERAL).union(*(_sentences(home, fact) for fact in facts(home)))


def _sentences(home: House, fact: str) -> set[str]:
    """Every wording of a fact: at most 36, so 400 draws meet all of them."""
    rng = np.random.default_rng(0)
    return {fact_sentence(home, fact, rng) for _ in range(400)}


def test_without_a_block_the_expert_searches_or_is_lucky(watched: list[Watched]) -> None:
    shown = [demonstrate(index, 5, 20, 0.0) for index in range(100)]
    assert {example.block for example in shown} == {""}
    needed = [frozenset(skill_names_needed(expert.game.task)) for expert in watched]
    assert all(expert.knows in (frozenset(), wanted) for expert, wanted in zip(watched, needed, strict=True))
    assert abs(sum(expert.knows != frozenset() for expert in watched) - 100 * LUCK) <= 20


def test_demonstrations_depend_on_seed_and_index_only() -> None:
    assert demonstrate(3, 5, 20, 0.5) == demonstrate(3, 5, 20, 0.5)
    assert demonstrate(3, 5, 20, 0.5) != demonstrate(4, 5, 20, 0.5)
    assert demonstrate(3, 5, 20, 0.5) != demonstrate(3, 6, 20, 0.5)


@settings(max_examples=100)
@given(houses, houses, st.sampled_from(FAMILIES), st.integers(0, 10_000), st.booleans())
def test_without_skills_the_expert_uses_no_hidden_fact(
    a: int, b: int, family: str, seed: int, same_scene: bool
) -> None:
    """Two houses that have looked alike so far are explored alike, whatever their conventions are.

    With the same scene, things and lamps lie alike: only what works, and what is usual, differs.
    """
    thing, target = goals(0, family)[seed % len(goals(0, family))]
    first, second = (
        new_game(make_task(number, family, thing, target, "train", 1), seed) for number in (a, b)
    )
    if same_scene:
        second.contents = copy.deepcopy(first.contents)
        second.house = dataclasses.replace(second.house, lamp_places=first.house.lamp_places)
    one, other = (Expert(game, np.random.default_rng(seed), frozenset()) for game in (first, second))
    for _ in range(60):
        action = one.next_action()
        assert action == other.next_action()
        left, right = step(first, action), step(second, action)
        if left != right or left.done:
            break


@settings(max_examples=40)
@given(houses, st.sampled_from(FAMILIES), st.integers(0, 10_000))
def test_with_the_facts_the_expert_goes_straight_to_the_thing(number: int, family: str, seed: int) -> None:
    thing, target = goals(number, family)[seed % len(goals(number, family))]
    task: TaskSpec = make_task(number, family, thing, target, "train", seed)
    world = Household(number)
    world.reset(task, seed)
    home = house(number).homes[skill_names_needed(task)[0]]
    assert world.expert().next_action() == f"go to {home}"


def test_an_expert_with_the_facts_mostly_solves_a_task_in_ten_actions() -> None:
    world, lengths = Household(0), []
    for task in world.tasks("unseen")[:60]:
        world.reset(task, task.seed)
        expert, taken, done = world.expert(), 0, False
        while not done:
            done, taken = world.step(expert.next_action()).done, taken + 1
        lengths.append(taken)
    assert np.median(lengths) <= 10
    assert max(lengths) <= 100
