"""What the sampler says about its own tokens is what the learner computes, whoever shares the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sdar.policy.model import Policy
from sdar.policy.sampler import SampledAction, TransformersSampler, company
from sdar.policy.scoring import Row, forward_rows, log_distribution
from sdar.schemas.seeds import generator

LIMIT = 12
OBSERVATIONS = (
    "Nothing happens.",
    "You arrive at cabinet 3. It is closed.",
    "You pick up mug 1 from desk 1.",
)


@dataclass
class Talk:
    """One played conversation: all ids, where the action tokens are, and what the sampler said."""

    ids: list[int]
    positions: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    actions: list[SampledAction] = field(default_factory=list)


def uniforms(rows: Sequence[int], turns: int = 6) -> NDArray[np.float64]:
    return np.stack([generator(row, "test actions").random(turns * LIMIT) for row in rows])


def talk(policy: Policy, rows: Sequence[int], temperature: float) -> list[Talk]:
    """Play scripted conversations; row r has its own prompt and ends after 1 + r % 4 turns."""
    words = policy.dialogue
    goals = [f"put {'a hot ' * (row % 3)}mug in the cabinet" for row in rows]
    talks = [Talk(words.prompt(goal, "You are in a house.")) for goal in goals]
    batch = TransformersSampler(policy, LIMIT).start(uniforms(rows), temperature)
    new = [list(each.ids) for each in talks]
    for turn in range(4):
        running = [i for i, row in enumerate(rows) if turn < 1 + row % 4]
        if not running:
            break
        for i, action in zip(running, batch.act(running, [new[i] for i in running]), strict=True):
            each = talks[i]
            each.actions.append(action)
            each.positions += range(len(each.ids), len(each.ids) + len(action.ids))
            each.logprobs += action.logprobs
            new[i] = words.observation(OBSERVATIONS[(rows[i] + turn) % 3])
            each.ids = each.ids + action.ids + (new[i] if turn < rows[i] % 4 else [])
    return talks


def rescored(policy: Policy, talks: Sequence[Talk], temperature: float) -> list[NDArray[np.float32]]:
    rows = [
        Row(np.array(each.ids, dtype=np.int32), np.array(each.positions, dtype=np.int32)) for each in talks
    ]
    found: dict[int, NDArray[np.float32]] = {}
    with torch.inference_mode():
        for packed in forward_rows(policy.model, rows):
            logprobs = log_distribution(policy.model, packed.hidden, temperature)
            chosen = logprobs.gather(1, packed.targets[:, None])[:, 0]
            for place, index in enumerate(packed.rows):
                found[index] = chosen[packed.owner == place].numpy()
    return [found[i] for i in range(len(talks))]


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.0])
def test_sampled_logprobs_equal_teacher_forced_ones(policy: Policy, temperature: float) -> None:
    talks = talk(policy, range(9), temperature)
    lengths = {len(action.ids) for each in talks for action in each.actions}
    assert len(lengths) > 2  # the ragged case is the one that is tested
    assert {len(each.actions) for each in talks} == {1, 2, 3, 4}
    for each, logprobs in zip(talks, rescored(policy, talks, temperature), strict=True):
        np.testing.assert_allclose(each.logprobs, logprobs, atol=1e-5)


def test_greedy_takes_the_likeliest_token_and_reports_temperature_one(policy: Policy) -> None:
    talks = talk(policy, range(5), 0.0)
    for each, logprobs in zip(talks, rescored(policy, talks, 1.0), strict=True):
        np.testing.assert_allclose(each.logprobs, logprobs, atol=1e-5)
    row = Row(np.array(talks[3].ids, dtype=np.int32), np.array(talks[3].positions, dtype=np.int32))
    packed = next(forward_rows(policy.model, [row]))
    assert log_distribution(policy.model, packed.hidden).argmax(-1).equal(packed.targets)


def test_greedy_ignores_the_random_numbers(policy: Policy) -> None:
    sampler, prompt = (
        TransformersSampler(policy, LIMIT),
        policy.dialogue.prompt("put a mug in the desk", "Go."),
    )
    said = [sampler.start(uniforms([seed]), 0.0).act([0], [prompt])[0].ids for seed in (1, 2)]
    assert said[0] == said[1]


@pytest.mark.parametrize("companions", [[4], [0, 4], [4, 5, 6], [1, 2, 3, 4, 8, 9, 10, 11]])
def test_what_a_row_says_does_not_depend_on_its_batch(policy: Policy, companions: list[int]) -> None:
    alone = talk(policy, [7], 1.0)[0]
    rows = [*companions, 7]
    beside = talk(policy, rows, 1.0)[-1]
    assert beside.ids == alone.ids
    np.testing.assert_allclose(beside.logprobs, alone.logprobs, atol=1e-5)


def test_low_temperature_sharpens_and_high_temperature_flattens(policy: Policy) -> None:
    def mean_greedy_rank(temperature: float) -> float:
        talks = talk(policy, range(12), temperature)
        return float(np.mean(np.concatenate(rescored(policy, talks, 1.0))))

    assert mean_greedy_rank(0.2) > mean_greedy_rank(1.0) + 0.5
    assert mean_greedy_rank(1.0) > mean_greedy_rank(4.0) + 0.5


def test_tokens_are_drawn_by_inverting_the_cumulative_distribution(policy: Policy) -> None:
    prompt = policy.dialogue.prompt("put a mug in the desk", "Go.")
    row = Row(np.array([*prompt, 0], dtype=np.int32), np.array([len(prompt)], dtype=np.int32))
    packed = next(forward_rows(policy.model, [row]))
    shares = log_distribution(policy.model, packed.hidden, 1.0)[0].exp().double().detach().numpy()
    ends = np.cumsum(shares)
    draws = (np.arange(40) + 0.5) / 40
    batch = TransformersSampler(policy, 1).start(draws[:, None], 1.0)
    drawn = [action.ids[0] for action in batch.act(range(40), [prompt] * 40)]
    expected = np.searchsorted(ends, draws * ends[-1], side="right")
    # Rounding may decide a draw that falls on a border between two tokens: none of these does.
    assert drawn == expected.tolist()


def test_an_action_without_an_end_is_cut_and_incomplete(policy: Policy) -> None:
    prompt = policy.dialogue.prompt("put a mug in the desk", "Go.")
    rows = range(20)
    short = TransformersSampler(policy, 3).start(uniforms(rows), 1.0).act(rows, [prompt] * 20)
    long = TransformersSampler(policy, LIMIT).start(uniforms(rows), 1.0).act(rows, [prompt] * 20)
    assert {action.complete for action in short} == {True, False}
    for cut, whole in zip(short, long, strict=True):
        assert cut.ids == whole.ids[:3]
        assert cut.complete == (policy.dialogue.end_id in cut.ids)
        assert policy.dialogue.end_id not in cut.ids[:-1]
        assert len(cut.ids) == len(cut.logprobs)


def test_a_row_that_was_dropped_cannot_come_back(policy: Policy) -> None:
    prompt = policy.dialogue.prompt("put a mug in the desk", "Go.")
    batch = TransformersSampler(policy, 2).start(uniforms(range(3)), 1.0)
    batch.act([0, 1, 2], [prompt] * 3)
    batch.act([0, 2], [[policy.dialogue.end_id]] * 2)
    with pytest.raises(ValueError, match="not in list"):
        batch.act([1], [[policy.dialogue.end_id]])


def test_the_cache_outgrows_its_first_capacity(policy: Policy) -> None:
    prompt = policy.dialogue.prompt("put a mug in the desk", "Nothing happens. " * 200)
    assert 256 < len(prompt) < 1000
    action = TransformersSampler(policy, LIMIT).start(uniforms([1]), 1.0).act([0], [prompt])[0]
    grown = Talk([*prompt, *action.ids], list(range(len(prompt), len(prompt) + len(action.ids))))
    np.testing.assert_allclose(action.logprobs, rescored(policy, [grown], 1.0)[0], atol=1e-5)


def test_few_speakers_get_a_pass_of_their_own() -> None:
    assert company([2, 5, 6, 7, 9], 10) == [2, 5, 6, 7, 9]
    assert company([3, 7], 10) == [0, 1, 3, 7]  # four at least
    assert company([1, 2, 3, 4, 5, 6], 10) == list(range(10))  # to pick most of them costs more than it saves
    assert company([2], 3) == [0, 1, 2]
