"""A real verifiers environment, with its own roll-out and rubric, played as an environment."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sdar.envs.adapter_kinds import VERIFIERS
from sdar.envs.base import StepResult
from sdar.envs.conformance import check_environment
from sdar.envs.verifiers_adapter import BEGIN, VerifiersEnvironment, verifiers_package
from sdar.envs.workers import in_workers, use_workers
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError, EnvironmentFailedError, EnvironmentMissingError

needs_verifiers = pytest.mark.skipif(
    "MultiTurnEnv" not in dir(pytest.importorskip("verifiers", reason="needs the extra verifiers")),
    reason="needs verifiers below 0.4",
)
# verifiers and what it imports use syntax and calls that Python warns of.
pytestmark = [needs_verifiers, pytest.mark.filterwarnings("default")]

CONFIG = EnvironmentConfig(name="verifiers", max_steps=6, options={"id": "verifiers_worlds"})


def world(**options: Any) -> VerifiersEnvironment:
    config = CONFIG.model_copy(update={"options": {**CONFIG.options, **options}})
    return VerifiersEnvironment.from_config(config)


def guess(number: object) -> str:
    return f"<guess>{number}</guess>"


def test_it_keeps_every_rule_of_an_environment() -> None:
    assert check_environment(VERIFIERS.load(), CONFIG, episodes=6) == []


def test_an_episode_with_its_rubric_s_reward_at_the_end() -> None:
    environment = world()
    task = environment.tasks("train")[6]
    assert (task.goal, task.payload["answer"]) == ("Guess number 6.", "7")
    assert environment.reset(task, task.seed) == "Answer with <guess>N</guess>."
    results = [environment.step(guess(number)) for number in (3, 8, 7)]
    assert results == [
        StepResult("Higher.", 0.0, False, False, True),
        StepResult("Lower.", 0.0, False, False, True),
        StepResult("Right!", 1.0 + 0.5 / 3, True, True, True),
    ]
    with pytest.raises(EnvironmentFailedError, match="call reset"):
        environment.step(guess(7))


def test_the_environment_s_own_limit_ends_the_episode() -> None:
    environment = world(arguments='{"max_turns": 2}')
    environment.reset(environment.tasks("unseen")[0], 0)
    assert environment.step("no guess") == StepResult("That is no number.", 0.0, False, False, False)
    # The second message is the last: env_response is not asked again, so the first guess alone was counted.
    assert environment.step(guess(9)) == StepResult("The episode is over.", 0.5, True, False, True)


def test_what_the_reward_must_reach_is_a_setting() -> None:
    environment = world(success_reward=1.2)
    environment.reset(environment.tasks("train")[0], 0)
    results = [environment.step(guess(number)) for number in (2, 2, 1)]
    assert results[-1] == StepResult("Right!", 1.0 + 0.5 / 3, True, False, True)


def test_faults_of_the_environment_are_raised_and_the_next_episode_plays() -> None:
    environment = world()
    task = environment.tasks("train")[0]
    environment.reset(task, 0)
    with pytest.raises(EnvironmentFailedError, match="Error: the number fell off the table"):
        environment.step(guess("boom"))
    environment.reset(task, 0)
    with pytest.raises(ZeroDivisionError, match="no such number"):
        environment.step(guess("crash"))
    environment.reset(task, 0)
    environment.step(guess(5))
    environment.reset(task, 0)  # in the middle of an episode
    assert environment.step(guess(1)).success


def test_splits_are_the_data_set_and_the_evaluation_set_or_a_fifth_of_the_data() -> None:
    own = world()
    assert [task.goal for task in own.tasks("unseen")] == [f"Guess number {i}." for i in (100, 101, 102)]
    assert len(own.tasks("train")) == 10
    cut = world(arguments='{"evaluation": false}')
    assert [task.goal for task in cut.tasks("unseen")] == ["Guess number 4.", "Guess number 9."]
    assert len(cut.tasks("train")) == 8
    with pytest.raises(ConfigError, match="no split 'seen'; allowed are: train, unseen"):
        cut.tasks("seen")


def test_a_single_turn_environment_is_one_of_one_step() -> None:
    import verifiers_worlds

    environment = VerifiersEnvironment(verifiers_worlds.single_turn, success_reward=5)
    assert environment.reset(environment.tasks("train")[0], 0) == BEGIN
    assert environment.step("four") == StepResult("The episode is over.", 4.0, True, False, True)


@pytest.mark.parametrize(("maker", "message"), [("with_tools", "tool calls"), ("with_groups", "groups")])
def test_what_cannot_be_played_with_text_is_refused(maker: str, message: str) -> None:
    import verifiers_worlds

    with pytest.raises(ConfigError, match=message):
        VerifiersEnvironment(getattr(verifiers_worlds, maker)).tasks("train")


def test_what_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EnvironmentMissingError, match="'nowhere' cannot be loaded"):
        world(id="nowhere").tasks("train")
    with pytest.raises(ConfigError, match=r"Next: add --set env\.options\.id=NAME"):
        world(id="").tasks("train")
    newer = ModuleType("verifiers")
    newer.__version__ = "0.4.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "verifiers", newer)
    with pytest.raises(EnvironmentMissingError, match=r"verifiers 0\.4\.0 has no MultiTurnEnv"):
        verifiers_package()


def test_it_plays_in_a_worker() -> None:
    use_workers(1)
    there = in_workers(VerifiersEnvironment.from_config)(CONFIG)
    use_workers(0)
    task = there.tasks("train")[6]
    assert there.reset(task, 0) == "Answer with <guess>N</guess>."
    assert there.step(guess(7)) == StepResult("Right!", 1.5, True, True, True)


def test_the_example_of_the_documentation_runs() -> None:
    text = Path(__file__).parents[2].joinpath("docs", "adapters.md").read_text()
    example = re.search(r"## verifiers.*?```python\n(.*?)```", text, re.DOTALL)
    assert example is not None
    names: dict[str, Any] = {}
    exec(example[1], names)
    assert names["result"].success
