"""Episodes as rows of tokens, their stop reasons, and worlds that raise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
from tiny_policy import shown, tiny_policy

from sdar.envs.base import EnvironmentFactory, StepResult
from sdar.envs.household.environment import Household
from sdar.envs.worker_pool import POOL
from sdar.envs.workers import Registered, in_workers, use_workers
from sdar.policy.sampler import TransformersSampler
from sdar.schemas.config import EnvironmentConfig, RunConfig
from sdar.schemas.records import Episode, StopReason, TaskSpec
from sdar.tasks.collect import assign, round_tasks
from sdar.tasks.demonstrations import encode_demonstration
from sdar.tasks.rollout import Assignment, RolloutLimits, roll_out

TASKS = Household().tasks("train")[:4]
LIMITS = RolloutLimits(temperature=1.0, max_steps=4, max_tokens=1024, max_action_tokens=8)


def play(make: Callable[[int], Household] = Household, limits: RolloutLimits = LIMITS) -> list[Episode]:
    policy = tiny_policy()
    assignments = [Assignment(task, group, 0, 70 + group) for group, task in enumerate(TASKS)]
    sampler = TransformersSampler(policy, limits.max_action_tokens)
    return roll_out(
        lambda config: make(config.house), EnvironmentConfig(), policy.dialogue, sampler, assignments, limits
    )


def test_turns_cover_exactly_the_action_tokens() -> None:
    for episode in play():
        spans = [place for turn in episode.turns for place in range(turn.start, turn.end)]
        assert spans == np.flatnonzero(episode.action_mask).tolist()
        assert (episode.sampler_logprobs[episode.action_mask] < 0).all()
        assert not episode.sampler_logprobs[~episode.action_mask].any()
        assert episode.turns[0].start == episode.prompt_length
        assert episode.episode_return == sum(turn.reward for turn in episode.turns)


def test_the_row_can_be_rebuilt_from_texts_and_sampled_ids() -> None:
    words = tiny_policy().dialogue
    for task, episode in zip(TASKS, play(), strict=True):
        ids = words.prompt(task.goal, episode.turns[0].observation)
        for turn in episode.turns:
            ids += [] if turn.index == 0 else words.observation(turn.observation)
            sampled = episode.token_ids[turn.start : turn.end].tolist()
            assert words.decode(sampled) == turn.action
            ids += sampled
        assert ids == episode.token_ids.tolist()


def test_turns_replay_in_the_world() -> None:
    for task, episode in zip(TASKS, play(), strict=True):
        world = Household()
        observation = world.reset(task, task.seed)
        for turn in episode.turns:
            assert turn.observation == observation
            result = world.step(turn.action)
            observation = result.observation
            cut = episode.token_ids[turn.end - 1] != tiny_policy().dialogue.end_id
            assert turn.valid == (result.valid and not cut)


def test_a_cut_action_is_invalid() -> None:
    episodes = play(limits=dataclasses.replace(LIMITS, max_action_tokens=2))
    turns = [turn for episode in episodes for turn in episode.turns]
    end = tiny_policy().dialogue.end_id
    cut = [turn for episode in episodes for turn in episode.turns if episode.token_ids[turn.end - 1] != end]
    assert cut
    assert not any(turn.valid for turn in cut)
    assert all(turn.end - turn.start <= 2 for turn in turns)


def test_the_step_limit_ends_an_episode() -> None:
    episodes = play()
    assert {episode.stop_reason for episode in episodes} == {StopReason.MAX_STEPS}
    assert {len(episode.turns) for episode in episodes} == {4}


def test_the_context_window_ends_an_episode_before_it_overflows() -> None:
    limit = 72
    episodes = play(limits=dataclasses.replace(LIMITS, max_steps=20, max_tokens=limit))
    assert {episode.stop_reason for episode in episodes} == {StopReason.MAX_TOKENS}
    assert all(len(episode.token_ids) <= limit for episode in episodes)


class Faulty(Household):
    """A world that breaks in two of the four tasks: one at the second step, one at the start."""

    steps = 0

    def reset(self, task: TaskSpec, seed: int) -> str:
        if task.id == TASKS[3].id:
            raise OSError("no such scene")
        self.task = task
        return super().reset(task, seed)

    def step(self, action: str) -> StepResult:
        self.steps += 1
        if self.task.id == TASKS[1].id and self.steps == 2:
            raise ZeroDivisionError("the stove exploded")
        return super().step(action)


def test_an_error_in_a_world_ends_that_episode_only() -> None:
    sound, faulty = play(), play(Faulty)
    assert [episode.id for episode in faulty[::2]] == [episode.id for episode in sound[::2]]
    assert [episode.stop_reason for episode in faulty[1::2]] == [StopReason.ENVIRONMENT_ERROR] * 2
    assert faulty[1].error == "ZeroDivisionError: the stove exploded"
    assert faulty[3].error == "OSError: no such scene"
    assert [len(episode.turns) for episode in faulty] == [4, 2, 4, 0]
    assert not faulty[1].turns[1].valid
    assert not faulty[1].success
    assert faulty[1].turns[0] == sound[1].turns[0]
    assert "message is stored" in faulty[1].stop_reason.sentence


class Odd(Household):
    """A world that answers one of the four tasks with what no episode can hold."""

    first: object = None
    answer: object = None

    def reset(self, task: TaskSpec, seed: int) -> str:
        observation, self.odd = super().reset(task, seed), task.id == TASKS[1].id
        return self.first if self.odd and self.first else observation  # type: ignore[return-value]

    def step(self, action: str) -> StepResult:
        result = super().step(action)
        return self.answer if self.odd and not self.first else result  # type: ignore[return-value]


RIGHT = StepResult("Nothing happens.", 0.0, False, False, True)


@pytest.mark.parametrize(
    ("first", "answer", "message"),
    [
        (None, None, "the step gave a NoneType without observation, reward, done, success, valid"),
        (None, ("seen", 0.0, False, False, {}), "the step gave a tuple without observation"),
        (None, dataclasses.replace(RIGHT, observation=None), "the observation is a NoneType"),
        (None, dataclasses.replace(RIGHT, observation="\ud800"), "the observation is no text in Unicode"),
        (
            None,
            dataclasses.replace(RIGHT, reward=float("nan")),
            "the reward is nan; allowed is a finite number",
        ),
        (None, dataclasses.replace(RIGHT, reward="1"), "the reward is '1'; allowed is a finite number"),
        (None, dataclasses.replace(RIGHT, success=None), "success is None; allowed are True and False"),
        (("seen", {}), None, "the observation is a tuple; allowed is a text"),
    ],
)
def test_an_answer_that_no_episode_can_hold_ends_that_episode_only(
    first: object, answer: object, message: str
) -> None:
    def make(house: int) -> Odd:
        world = Odd(house)
        world.first, world.answer = first, answer
        return world

    episodes = play(make)
    assert [episode.id for episode in episodes[::2]] == [episode.id for episode in play()[::2]]
    assert episodes[1].stop_reason == StopReason.ENVIRONMENT_ERROR
    assert message in str(episodes[1].error)
    assert episodes[1].episode_return == 0
    assert not episodes[1].success


@pytest.mark.parametrize("count", [1, 3])
def test_worker_processes_play_the_same_episodes(count: int) -> None:
    policy, tasks = tiny_policy(), [TASKS[i % 4] for i in range(7)]
    assignments = [Assignment(task, group, 0, 70 + group) for group, task in enumerate(tasks)]

    def episodes(factory: EnvironmentFactory) -> list[Episode]:
        sampler = TransformersSampler(policy, LIMITS.max_action_tokens)
        return roll_out(factory, EnvironmentConfig(), policy.dialogue, sampler, assignments, LIMITS)

    use_workers(count)
    there = episodes(in_workers(Registered("household")))
    use_workers(0)
    POOL.close()
    here = episodes(Household.from_config)
    assert [episode.id for episode in there] == [episode.id for episode in here]
    assert [episode.turns for episode in there] == [episode.turns for episode in here]


class Quick(Household):
    """Any action solves or fails the task at once."""

    def step(self, action: str) -> StepResult:
        assert self.game is not None
        success = self.game.task.id != TASKS[0].id
        return StepResult("Done.", float(success), True, success, True)


def test_the_world_ends_an_episode() -> None:
    episodes = play(Quick)
    assert [episode.stop_reason for episode in episodes] == [StopReason.FAILURE] + [StopReason.SUCCESS] * 3
    assert [episode.episode_return for episode in episodes] == [0, 1, 1, 1]
    assert [episode.success for episode in episodes] == [False, True, True, True]


@pytest.mark.parametrize(("count", "size"), [(4, 12), (5, 12), (12, 12)])
def test_rounds_pass_over_the_tasks_without_repetition(count: int, size: int) -> None:
    tasks = Household().tasks("train")[:size]
    rounds = 12
    drawn = [task.id for number in range(1, rounds + 1) for task in round_tasks(tasks, number, count, 3)]
    for first in range(0, len(drawn) - size + 1, size):
        assert sorted(drawn[first : first + size]) == sorted(task.id for task in tasks)
    assert drawn[:size] != drawn[size : 2 * size]
    assert round_tasks(tasks, 2, count, 3) == round_tasks(tasks, 2, count, 3)
    assert [task.id for task in round_tasks(tasks, 1, count, 4)] != drawn[:count]


def test_a_task_that_occurs_twice_in_a_round_is_played_differently() -> None:
    tasks = Household().tasks("train")[:5]
    drawn = round_tasks(tasks, 1, 8, 3)  # eight of five tasks: three occur twice
    assignments = assign(drawn, 2, 7)
    assert [(a.group, a.sample) for a in assignments] == [(group, n) for group in range(8) for n in range(2)]
    assert len({(a.task.id, a.seed) for a in assignments}) == 16
    assert [a.seed for a in assign(drawn[:1], 2, 7)] == [a.seed for a in assignments[:2]]


def test_detours_of_a_demonstration_have_no_weight() -> None:
    words = tiny_policy().dialogue
    for index in range(30):
        lesson = encode_demonstration(words, shown(index), RunConfig().policy.max_tokens, 0.0)
        weight = dict(zip(lesson.row.positions.tolist(), lesson.weights.tolist(), strict=True))
        ids, place = lesson.row.token_ids.tolist(), 0
        for turn in shown(index).turns:
            place = ids.index(words.observation("")[-1], place) + 1
            action = words.action(turn.action)
            assert ids[place : place + len(action)] == action
            assert {weight[p] for p in range(place, place + len(action))} == {float(turn.learn)}


def test_a_demonstration_that_is_too_long_loses_whole_turns() -> None:
    words, longest = tiny_policy().dialogue, max(range(30), key=lambda index: len(shown(index).turns))
    whole = encode_demonstration(words, shown(longest), 1024, 0.0).row.token_ids
    short = encode_demonstration(words, shown(longest), len(whole) - 1, 0.0).row.token_ids
    assert len(short) < len(whole)
    assert short.tolist() == whole[: len(short)].tolist()
    assert short[-1] == words.end_id
