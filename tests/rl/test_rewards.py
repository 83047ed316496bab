"""A reward of the user's own: how it is found, told apart from another one, and applied."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import numpy as np
import pytest

from sdar.rl.rewards import (
    NOT_HERE,
    Reward,
    check_reward,
    reward_content,
    reward_function,
    reward_read,
    rewarded,
)
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.records import Episode, StopReason, TaskSpec, Turn

TASK = TaskSpec(id="t1", environment="e", split="train", type="fetch", goal="fetch 3", seed=0)


def played(turns: int, *, success: bool) -> Episode:
    return Episode(
        id=f"{turns}{success}",
        task_id="t1",
        task_type="fetch",
        group=0,
        sample=0,
        seed=0,
        turns=tuple(
            Turn(index=i, observation="o", action="a", reward=0.5, valid=True, start=1, end=2)
            for i in range(turns)
        ),
        prompt_length=1,
        token_ids=np.array([1, 2], np.int32),
        action_mask=np.array([False, True]),
        sampler_logprobs=np.zeros(2, np.float32),
        episode_return=0.5 * turns,
        success=success,
        stop_reason=StopReason.MAX_STEPS,
    )


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's with a reward: 1 for a success, less 0.25 a turn, plus the goal's last digit."""
    name = f"rewards_{abs(hash(str(tmp_path)))}"
    (tmp_path / f"{name}.py").write_text(
        "def brisk(episode, task):\n"
        "    return episode.success - 0.25 * len(episode.turns) + int(task.goal[-1])\n"
        "def broken(episode, task):\n    return 1 / 0\n"
        "def endless(episode, task):\n    return float('inf')\n"
        "class rules:\n    brisk = staticmethod(brisk)\n"
        "number = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return name


def test_returns_are_the_functions_and_turns_keep_their_rewards(module: str) -> None:
    episodes = [played(2, success=True), played(4, success=False)]
    given = rewarded(f"{module}:brisk", episodes, {"t1": TASK})
    assert [episode.episode_return for episode in given] == [1 - 0.5 + 3, 0 - 1.0 + 3]
    assert [turn.reward for turn in given[0].turns] == [0.5, 0.5]
    assert [episode.id for episode in given] == [episode.id for episode in episodes]
    assert rewarded(f"{module}:rules.brisk", episodes, {"t1": TASK}) == given


def test_without_a_function_nothing_changes() -> None:
    episodes = [played(2, success=True)]
    assert rewarded("", episodes, {}) == episodes
    assert reward_read(RunConfig()) == {}


@pytest.mark.parametrize("name", ["", "brisk", "no_such_module:brisk", "json:no_such", "MODULE:number"])
def test_a_name_that_leads_to_no_function_is_refused(module: str, name: str) -> None:
    with pytest.raises(ConfigError, match=r"package\.module:function\. Next: .*PYTHONPATH"):
        reward_function(name.replace("MODULE", module))


@pytest.mark.parametrize(("name", "reason"), [("broken", "ZeroDivisionError"), ("endless", "gave inf")])
def test_a_reward_that_fails_names_itself_and_the_task(module: str, name: str, reason: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"{name} failed for an episode of task t1 with 2 turns .*{reason}"
    ):
        rewarded(f"{module}:{name}", [played(2, success=True)], {"t1": TASK})


def read(name: str) -> dict[str, str]:
    return reward_read(RunConfig.model_validate({"reward": {"function": name}}))


def test_what_stands_beside_a_reward_counts_as_its_source(module: str, tmp_path: Path) -> None:
    before = read(f"{module}:brisk")
    assert before["reward.function"] == f"{module}:brisk"
    assert read(f"{module}:brisk") == before
    file = tmp_path / f"{module}.py"
    file.write_text(file.read_text() + "number = 40  # another one\n")
    assert read(f"{module}:brisk") == before  # the process still computes the old one
    del sys.modules[module]
    assert read(f"{module}:brisk") != before


def test_a_declared_version_is_all_that_counts(module: str, tmp_path: Path) -> None:
    reward = reward_function(f"{module}:brisk")
    reward.version = 2  # type: ignore[attr-defined]
    reward_content.cache_clear()
    assert read(f"{module}:brisk")["reward.content"] == "version 2"


def test_a_reward_that_cannot_be_loaded_is_stale_and_no_crash() -> None:
    assert read("no_such_module:brisk")["reward.content"] == NOT_HERE


def test_a_reward_without_source_or_version_is_refused() -> None:
    exec("def typed_in(episode, task):\n    return 0.0", namespace := {"__name__": "nowhere"})
    reward: Reward = namespace["typed_in"]  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="set its attribute `version`"):
        reward_content(reward)
    with pytest.raises(ConfigError, match="set its attribute `version`"):
        check_reward(RunConfig.model_validate({"reward": {"function": "math:dist"}}))
    check_reward(RunConfig())
    partial = functools.partial(reward)
    partial.version = "a"  # type: ignore[attr-defined]
    assert reward_content(partial) == "version a"
