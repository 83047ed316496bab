"""Packing loses no row, and padding changes no score."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdar.policy.model import Policy
from sdar.policy.scoring import (
    Row,
    forward_rows,
    head_log_distribution,
    log_distribution,
    normalised_entropy,
    pack,
)


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(1, 1000))
def test_packing_takes_each_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = pack(lengths, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        padded = len(group) * max(lengths[i] for i in group)
        assert padded <= budget or len(group) == 1
    # Every group but the last is full: one more row would not have fitted.
    for group in groups[:-1]:
        assert (len(group) + 1) * max(lengths[i] for i in group) > budget


def test_packing_by_hand() -> None:
    # Longest first: 6 and 5 fit into 12 when padded to 6; 4, 2 and 1 fit when padded to 4.
    assert pack([4, 6, 1, 5, 2], budget=12) == [[1, 3], [0, 4, 2]]
    assert pack([9, 2], budget=4) == [[0], [1]]
    assert pack([], budget=4) == []


def rows_of(policy: Policy, count: int) -> list[Row]:
    rng = np.random.default_rng(2)
    size = policy.model.config.vocab_size
    rows = []
    for _ in range(count):
        length = int(rng.integers(3, 60))
        positions = np.sort(rng.permutation(np.arange(1, length))[: int(rng.integers(1, length - 1))])
        rows.append(Row(rng.integers(0, size, length).astype(np.int32), positions.astype(np.int32)))
    return rows


def scores(policy: Policy, rows: list[Row], budget: int) -> list[np.ndarray]:
    found: dict[int, np.ndarray] = {}
    with torch.inference_mode():
        for packed in forward_rows(policy.model, rows, budget):
            chosen = log_distribution(policy.model, packed.hidden).gather(1, packed.targets[:, None])[:, 0]
            for place, index in enumerate(packed.rows):
                found[index] = chosen[packed.owner == place].numpy()
    return [found[i] for i in range(len(rows))]


@pytest.mark.parametrize("budget", [64, 200, 8192])
def test_padding_does_not_change_scores(policy: Policy, budget: int) -> None:
    rows = rows_of(policy, 15)
    alone = [scores(policy, [row], 8192)[0] for row in rows]
    together = scores(policy, rows, budget)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_score_is_the_log_softmax_of_the_state_before_the_token(policy: Policy) -> None:
    ids = [7, 300, 41, 5, 600]
    row = Row(np.array(ids, dtype=np.int32), np.array([1, 4], dtype=np.int32))
    with torch.inference_mode():
        logits = policy.model(input_ids=torch.tensor([ids])).logits[0]
        expected = [float(logits[0].log_softmax(-1)[300]), float(logits[3].log_softmax(-1)[600])]
    np.testing.assert_allclose(scores(policy, [row], 8192)[0], expected, atol=1e-5)


def test_targets_are_the_tokens_at_the_positions(policy: Policy) -> None:
    rows = rows_of(policy, 6)
    for packed in forward_rows(policy.model, rows, 200):
        expected = np.concatenate([rows[i].token_ids[rows[i].positions] for i in packed.rows])
        assert packed.targets.tolist() == expected.tolist()
        assert packed.owner.bincount(minlength=len(packed.rows)).tolist() == [
            len(rows[i].positions) for i in packed.rows
        ]


def test_temperature_divides_the_logits() -> None:
    # Logits 0 and 2 at temperature 2 are 0 and 1: the second has probability e / (1 + e).
    head, hidden = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0]])
    logprobs = head_log_distribution(head, hidden, temperature=2.0)
    assert float(logprobs[0, 1].exp()) == pytest.approx(math.e / (1 + math.e), abs=1e-6)


def test_entropy_is_one_for_uniform_and_zero_for_certain() -> None:
    uniform = torch.full((1, 8), math.log(1 / 8))
    certain = torch.tensor([[0.0, -80.0, -80.0]])
    assert float(normalised_entropy(uniform)) == pytest.approx(1.0, abs=1e-6)
    assert float(normalised_entropy(certain)) == pytest.approx(0.0, abs=1e-6)
    # Two equally likely of four: log 2 / log 4.
    half = torch.tensor([[math.log(0.5), math.log(0.5), -80.0, -80.0]])
    assert float(normalised_entropy(half)) == pytest.approx(0.5, abs=1e-6)
