"""The rules of the house by hand-played episodes, and what no text may do."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar.envs.base import StepResult
from sdar.envs.household.environment import Household
from sdar.envs.household.game import NOTHING, Game, admissible, new_game, perform, step
from sdar.envs.household.goals import make_task
from sdar.envs.household.house import DEFAULT_HOUSE
from sdar.envs.household.vocabulary import RECEPTACLES, THINGS
from sdar.schemas.errors import ConfigError


def game_of(family: str, thing: str, target: str, places: dict[str, str] | None = None) -> Game:
    """A game in house 0 whose contents are exactly the lamps and the named things."""
    game = new_game(make_task(0, family, thing, target, "train", 1), 1)
    game.contents = {place: [] for place in RECEPTACLES}
    for name, place in (*DEFAULT_HOUSE.lamp_places.items(), *(places or {}).items()):
        game.contents[place].append(name)
    return game


def play(game: Game, *actions: str) -> list[StepResult]:
    return [step(game, action) for action in actions]


def test_pick_and_place() -> None:
    game = game_of("pick_and_place", "mug", "desk", {"mug 1": "cabinet 3"})
    results = play(
        game,
        "go to cabinet 3",
        "open cabinet 3",
        "take mug 1 from cabinet 3",
        "go to desk 1",
        "move mug 1 to desk 1",
    )
    assert [result.observation for result in results] == [
        "You arrive at cabinet 3. It is closed.",
        "You open cabinet 3. In it you see a mug 1.",
        "You pick up mug 1 from cabinet 3.",
        "You arrive at desk 1. On it you see a desklamp 1.",
        "You move mug 1 to desk 1.",
    ]
    assert [result.reward for result in results] == [0, 0, 0, 0, 1]
    assert [result.done for result in results] == [False] * 4 + [True]
    assert results[-1].success
    assert all(result.valid for result in results)


def test_look_in_light_needs_the_thing_in_hand_and_the_lamp_that_works() -> None:
    game = game_of("look_in_light", "book", "", {"book 1": "shelf 3"})
    without, wrong = play(game, "go to sofa 1", "use floorlamp 1")[1], play(game, "go to desk 1")
    assert without.observation == "You turn on floorlamp 1."
    assert not without.success
    play(game, "go to shelf 3", "take book 1 from shelf 3", "go to desk 1")
    wrong = play(game, "use desklamp 1")
    assert wrong[0].observation == "You try desklamp 1, but it does not work."
    assert wrong[0].valid
    assert not wrong[0].success
    assert play(game, "go to sofa 1", "use floorlamp 1")[1].success


@pytest.mark.parametrize(
    ("family", "verb", "works", "broken"),
    [
        ("clean_and_place", "clean", "dishwasher 1", "sink 1"),
        ("heat_and_place", "heat", "stove 1", "microwave 1"),
        ("cool_and_place", "cool", "freezer 1", "fridge 1"),
    ],
)
def test_treatment_needs_the_appliance_of_this_house(family: str, verb: str, works: str, broken: str) -> None:
    game = game_of(family, "apple", "desk", {"apple 1": "countertop 2"})
    play(game, "go to countertop 2", "take apple 1 from countertop 2", f"go to {broken}")
    refused = play(game, f"{verb} apple 1 with {broken}")[0]
    assert refused.observation == f"You try {broken}, but it does not work."
    play(game, "go to desk 1")
    assert not play(game, "move apple 1 to desk 1")[0].success
    play(game, "take apple 1 from desk 1", f"go to {works}", f"{verb} apple 1 with {works}", "go to desk 1")
    assert play(game, "move apple 1 to desk 1")[0].success


def test_pick_two_needs_both() -> None:
    game = game_of("pick_two", "pen", "desk", {"pen 1": "shelf 1", "pen 2": "shelf 1"})
    first = play(game, "go to shelf 1", "take pen 1 from shelf 1", "go to desk 1", "move pen 1 to desk 1")
    assert not first[-1].success
    second = play(game, "go to shelf 1", "take pen 2 from shelf 1", "go to desk 1", "move pen 2 to desk 1")
    assert second[-1].success


def test_cooling_undoes_heating_but_not_cleaning() -> None:
    game = game_of("heat_and_place", "potato", "desk", {"potato 1": "shelf 1"})
    play(game, "go to shelf 1", "take potato 1 from shelf 1", "go to stove 1", "heat potato 1 with stove 1")
    play(game, "go to dishwasher 1", "clean potato 1 with dishwasher 1")
    assert game.treated == {("potato 1", "heat"), ("potato 1", "clean")}
    play(game, "go to freezer 1", "cool potato 1 with freezer 1")
    assert game.treated == {("potato 1", "cool"), ("potato 1", "clean")}


def test_one_thing_at_a_time() -> None:
    game = game_of("pick_two", "pen", "desk", {"pen 1": "shelf 1", "pen 2": "shelf 1"})
    play(game, "go to shelf 1", "take pen 1 from shelf 1")
    assert perform(game, "take pen 2 from shelf 1") == NOTHING
    assert game.holding == "pen 1"
    assert game.contents["shelf 1"] == ["pen 2"]


def test_a_closed_container_hides_and_keeps_its_contents() -> None:
    game = game_of("pick_and_place", "mug", "desk", {"mug 1": "drawer 1", "pen 1": "desk 1"})
    assert perform(game, "go to drawer 1") == "You arrive at drawer 1. It is closed."
    assert perform(game, "take mug 1 from drawer 1") == NOTHING
    assert "take mug 1 from drawer 1" not in admissible(game)
    play(game, "go to desk 1", "take pen 1 from desk 1", "go to drawer 1")
    assert perform(game, "move pen 1 to drawer 1") == NOTHING
    assert perform(game, "open drawer 1") == "You open drawer 1. In it you see a mug 1."
    assert perform(game, "move pen 1 to drawer 1") == "You move pen 1 to drawer 1."
    assert perform(game, "close drawer 1") == "You close drawer 1."
    assert perform(game, "examine drawer 1") == "drawer 1 is closed."


@pytest.mark.parametrize(
    "action",
    [
        "go to desk 1",  # already there
        "go to attic 1",
        "take desklamp 1 from desk 1",  # lamps stay where they are
        "take mug 1 from shelf 1",  # not there
        "move mug 1 to desk 1",  # not held
        "open desk 1",  # has no door
        "open drawer 1",  # elsewhere
        "close drawer 1",
        "heat mug 1 with stove 1",
        "use floorlamp 1",  # elsewhere
        "examine mug 1",
        "Look",
    ],
)
def test_what_makes_no_sense_here_is_answered_and_changes_nothing(action: str) -> None:
    game = game_of("pick_and_place", "mug", "shelf", {"mug 1": "desk 1"})
    perform(game, "go to desk 1")
    before = copy.deepcopy(game)
    result = step(game, action)
    assert (result.observation, result.valid, result.done) == (NOTHING, False, False)
    assert game == before


words = st.sampled_from(
    ["go", "to", "take", "from", "move", "open", "heat", "with", "use", *RECEPTACLES, *THINGS]
)
sentences = st.one_of(st.text(max_size=40), st.lists(words, max_size=6).map(" ".join))


@settings(max_examples=150)
@given(sentences, st.integers(0, 2**31 - 1))
def test_text_that_is_no_action_changes_nothing(text: str, seed: int) -> None:
    game = new_game(make_task(0, "heat_and_place", "mug", "desk", "train", seed), seed)
    perform(game, "go to cabinet 3")
    before = copy.deepcopy(game)
    result = step(game, text)
    assert result.valid == (result.observation != NOTHING)
    if not result.valid:
        assert game == before
    else:
        assert text in admissible(before)


@settings(max_examples=40)
@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, 10_000), min_size=1, max_size=25))
def test_admissible_actions_are_valid_and_things_are_never_lost(seed: int, choices: list[int]) -> None:
    game = new_game(make_task(0, "pick_two", "pen", "shelf", "train", seed), seed)
    things = sorted(name for names in game.contents.values() for name in names)
    for choice in choices:
        options = admissible(game)
        assert len(set(options)) == len(options)
        assert step(game, options[choice % len(options)]).valid
        present = [name for names in game.contents.values() for name in names]
        assert sorted(present + ([game.holding] if game.holding else [])) == things


def test_the_environment_refuses_a_step_at_the_wrong_time() -> None:
    world = Household()
    with pytest.raises(RuntimeError, match=r"call reset\(task, seed\)"):
        world.step("look")
    task = world.tasks("train")[0]
    world.reset(task, task.seed)
    expert, done = world.expert(), False
    while not done:
        done = world.step(expert.next_action()).done
    with pytest.raises(RuntimeError, match=r"done; call reset\(task, seed\)"):
        world.step("look")
    assert world.reset(task, task.seed).startswith("You are in a house")
    assert world.step("look").valid


def test_an_unknown_split_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigError, match="'test'; allowed are: train, seen, unseen"):
        Household().tasks("test")
