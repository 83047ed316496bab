"""Gymnasium's own games and small ones of these tests, played as text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sdar.envs.adapter_kinds import GYMNASIUM
from sdar.envs.base import StepResult
from sdar.envs.conformance import check_environment
from sdar.envs.gymnasium_adapter import NO_ACTION, GymnasiumEnvironment, make_game, plain
from sdar.envs.workers import in_workers, use_workers
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError, EnvironmentFailedError

LAKE = {"id": "FrozenLake-v1", "actions": "left,down,right,up", "arguments": '{"is_slippery": false}'}


def world(max_steps: int = 30, **options: Any) -> GymnasiumEnvironment:
    return GymnasiumEnvironment.from_config(
        EnvironmentConfig(name="gymnasium", max_steps=max_steps, options=options)
    )


def play(environment: GymnasiumEnvironment, actions: list[str], task: int = 0) -> list[StepResult]:
    chosen = environment.tasks("train")[task]
    environment.reset(chosen, chosen.seed)
    return [environment.step(action) for action in actions]


@pytest.mark.parametrize("options", [{}, {"id": "gym_worlds:sdar/Corridor-v0"}])
def test_games_keep_every_rule_of_an_environment(options: dict[str, str]) -> None:
    config = EnvironmentConfig(name="gymnasium", max_steps=8, options=options)
    assert check_environment(GYMNASIUM.load(), config, episodes=6) == []


def test_a_way_over_the_frozen_lake() -> None:
    environment = world(**LAKE, success_reward=1)
    task = environment.tasks("train")[3]
    assert environment.reset(task, task.seed) == "S(red)FFF\nFHFH\nFFFH\nHFFG"
    assert environment.actions() == ["left", "down", "right", "up"]
    results = [environment.step(action) for action in ("down", "down", "right", "right", "down", "right")]
    assert [result.reward for result in results] == [0, 0, 0, 0, 0, 1]
    assert results[0] == StepResult("  (Down)\nSFFF\nF(red)HFH\nFFFH\nHFFG", 0.0, False, False, True)
    assert results[-1] == StepResult("  (Right)\nSFFF\nFHFH\nFFFH\nHFFG(red)", 1.0, True, True, True)
    with pytest.raises(EnvironmentFailedError, match="call reset"):
        environment.step("left")


def test_a_hole_in_the_lake_ends_the_game_without_success() -> None:
    result = play(world(**LAKE, success_reward=1), ["down", "right"])[-1]
    assert (result.done, result.success, result.valid) == (True, False, True)


def test_the_time_limit_of_a_game_is_no_success() -> None:
    dial = world(id="gym_worlds:sdar/Dial-v0", actions="", success_reward=0.5)
    results = play(dial, ["up", "reset", "up"])
    assert [result.done for result in results] == [False, False, True]
    assert not results[-1].success
    assert play(dial, ["up", "up"])[-1] == StepResult("shown: 2\nwanted: 2", 0.5, True, True, True)


def test_taxi_s_mask_says_which_actions_do_something() -> None:
    taxi = world()
    task = taxi.tasks("train")[3]
    first = taxi.reset(task, 3)
    assert first.splitlines()[1] == "|R(blue): | (yellow): :G|"  # passenger and taxi
    assert first.splitlines()[5] == "|Y(magenta)| : |B: |"  # where to
    assert taxi.actions() == ["south", "east"]
    assert [taxi.step(action).valid for action in ("north", "south")] == [False, True]
    # Down to the gap in the wall, up to the passenger, and down to where he wants to go.
    ride = ["south", "west", "west", "north", "north", "pickup", *["south"] * 4, "dropoff"]
    results = [taxi.step(action) for action in ride]
    assert [result.success for result in results] == [False] * (len(ride) - 1) + [True]
    assert results[-1].reward == 20


def test_text_that_is_no_action_leaves_the_game_alone() -> None:
    corridor = world(id="gym_worlds:sdar/Corridor-v0")
    results = play(corridor, ["go up", "", "go east"])
    assert results[0] == StepResult(NO_ACTION, 0.0, False, False, False)
    assert results[1] == results[0]
    assert results[2].observation == "You are in room 3."


def test_the_flag_success_decides() -> None:
    corridor = world(id="gym_worlds:sdar/Corridor-v0", success_reward=99)
    outcomes = {play(corridor, ["go east", "go east"], task)[-1].success for task in range(8)}
    assert outcomes == {True, False}


def test_tasks_are_seeds_and_splits_share_none() -> None:
    corridor = world(train="0-9", unseen="10-14", goal="Find treasure {seed}.")
    train, unseen = corridor.tasks("train"), corridor.tasks("unseen")
    assert [task.seed for task in [*train, *unseen]] == list(range(15))
    assert unseen[0].goal == "Find treasure 10."
    assert len(world().tasks("train")) == len(world().tasks("unseen")) == 256


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"id": "nowhere:Nowhere-v0"}, "the game 'nowhere:Nowhere-v0' cannot be made: No module named"),
        ({"id": "Nowhere-v0"}, "the game 'Nowhere-v0' cannot be made"),
        ({"id": "CartPole-v1"}, "observes ndarray, which is no text"),
        ({"actions": "left,right"}, "has 6 actions, but 2 names for them: left, right"),
        ({"train": "5"}, "env.options.train is '5'; allowed is FIRST-LAST"),
        ({"arguments": "{"}, "env.options.arguments is '{', which is no JSON"),
        ({"arguments": '{"colour": 1}'}, "the game 'Taxi-v4' cannot be made"),
    ],
)
def test_what_is_wrong_is_said(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        play(world(**options), ["south"])


def test_plain_names_colours() -> None:
    assert plain("\n\x1b[43ma\x1b[0m\x1b[34;1mb\x1b[0mc\n") == "a(yellow)b(blue)c"


def test_a_game_can_live_in_a_worker() -> None:
    use_workers(1)
    config = EnvironmentConfig(name="gymnasium", options={"id": "gym_worlds:sdar/Corridor-v0"})
    here, there = GYMNASIUM.load()(config), in_workers(GymnasiumEnvironment.from_config)(config)
    use_workers(0)
    task = here.tasks("unseen")[0]
    assert there.reset(task, task.seed) == here.reset(task, task.seed)
    assert there.step("go west") == here.step("go west")


def test_the_example_of_the_documentation_runs() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "adapters.md").read_text()
    example = re.search(r"## Gymnasium.*?```python\n(.*?)```", text, re.DOTALL)
    assert example is not None
    names: dict[str, Any] = {}
    exec(example[1], names)
    assert names["result"].success
    assert make_game("FrozenLake-v1", {}).render_mode == "ansi"
