"""Budgets, and a device that runs out of memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdar.policy import memory
from sdar.policy.memory import TokenBudget, logit_chunks, token_budget
from sdar.policy.model import Policy
from sdar.policy.scoring import Row
from sdar.schemas.config import PolicyConfig
from sdar.schemas.errors import MemoryExceededError
from sdar.tasks.score import score_rows


def short_of_memory(limit: int) -> Any:
    """A hook for a decoder whose device has room for so many tokens; it is where CUDA's own error arises."""

    def refuse(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs["input_ids"].numel() > limit:
            raise torch.cuda.OutOfMemoryError(f"{kwargs['input_ids'].numel()} tokens are too many")

    return refuse


def rows(policy: Policy, lengths: list[int]) -> list[Row]:
    rng, size = np.random.default_rng(3), policy.model.config.vocab_size
    return [
        Row(rng.integers(0, size, length).astype(np.int32), np.arange(1, length, dtype=np.int32))
        for length in lengths
    ]


def test_the_budget_is_the_devices_unless_one_is_set() -> None:
    assert token_budget(PolicyConfig()).tokens == memory.TOKEN_BUDGETS["cpu"]
    assert token_budget(PolicyConfig(token_budget=300)).tokens == 300


def test_halving_by_hand() -> None:
    # Six rows of at most 10 tokens are 60 when padded, so the first half is 30 and not 512.
    tried, budget = list[int](), TokenBudget(1024)

    def work(tokens: int) -> str:
        tried.append(tokens)
        if tokens > 12:
            raise torch.cuda.OutOfMemoryError("too many")
        return "done"

    assert budget.fit(work, [10, 4, 4, 9, 2, 1]) == "done"
    assert tried == [1024, 30, 15, 10]  # 7 would be less than the longest row
    assert (budget.tokens, budget.halvings) == (10, 3)
    assert "ran out of memory 3 times" in budget.warning
    assert "policy.token_budget=10" in budget.warning
    assert budget.fit(work, [10, 4]) == "done"
    assert tried[4:] == [10]  # the smaller budget stays
    assert TokenBudget(5).warning == ""


def test_a_row_that_does_not_fit_alone_is_an_error() -> None:
    def never(tokens: int) -> None:
        raise torch.cuda.OutOfMemoryError("too many")

    with pytest.raises(MemoryExceededError, match=r"one row of 9 tokens does not fit.*gradient_check"):
        TokenBudget(64).fit(never, [3, 9])


def test_other_errors_are_not_tried_again() -> None:
    calls = list[int]()

    def broken(tokens: int) -> None:
        calls.append(tokens)
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        TokenBudget(64).fit(broken, [3, 9])
    assert calls == [64]


def test_scores_are_the_same_when_memory_runs_out(policy: Policy) -> None:
    given_rows = rows(policy, [40, 12, 33, 8, 25, 39, 5])
    expected = score_rows(policy, given_rows, 0.8, keep_hidden=True)
    handle = policy.model.get_decoder().register_forward_pre_hook(short_of_memory(50), with_kwargs=True)
    budget = TokenBudget(2048)
    try:
        found = score_rows(policy, given_rows, 0.8, keep_hidden=True, budget=budget)
    finally:
        handle.remove()
    assert budget.halvings == 3  # 7 rows of 40: 280, then 140, 70 and 40
    assert budget.tokens == 40
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)
        np.testing.assert_allclose(one.entropy, other.entropy, atol=1e-5)
        assert one.hidden is not None
        assert other.hidden is not None
        np.testing.assert_allclose(one.hidden, other.hidden, atol=1e-4)


@given(st.integers(0, 3000), st.integers(1, 200_000))
def test_chunks_cover_every_token_once(count: int, vocabulary: int) -> None:
    parts = logit_chunks(count, vocabulary, torch.device("cpu"))
    assert parts
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    sizes = [len(range(count)[part]) for part in parts]
    assert all(size * vocabulary <= memory.LOGITS["cpu"] for size in sizes)


def test_chunks_by_hand() -> None:
    # 2 ** 24 logits are 110 tokens of a vocabulary of 151 936.
    parts = logit_chunks(250, 151_936, torch.device("cpu"))
    assert [(part.start, part.stop) for part in parts] == [(0, 110), (110, 220), (220, 330)]


def test_scores_do_not_depend_on_the_parts(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    given_rows = rows(policy, [30, 7, 18])
    whole = score_rows(policy, given_rows, 1.0, keep_hidden=False)
    monkeypatch.setitem(memory.LOGITS, "cpu", 4 * policy.model.config.vocab_size)
    for one, other in zip(whole, score_rows(policy, given_rows, 1.0, keep_hidden=False), strict=True):
        np.testing.assert_allclose(one.logprobs, other.logprobs, atol=1e-5)
        np.testing.assert_allclose(one.entropy, other.entropy, atol=1e-6)
