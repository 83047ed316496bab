from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from sdar.rl.advantages import group_advantages, penalized_returns

ROUNDS = st.lists(
    st.tuples(st.integers(-5, 5), st.integers(0, 3)), min_size=1, max_size=24
)  # return and group of each episode


def _tensors(episodes: list[tuple[int, int]]) -> tuple[Tensor, Tensor]:
    returns = torch.tensor([float(value) for value, _ in episodes], dtype=torch.float64)
    return returns, torch.tensor([group for _, group in episodes])


def test_group_advantages_hand_worked() -> None:
    # Group 7: 0, 0, 3: mean 1, variance (1 + 1 + 4) / 2 = 3. Group 2: 1, 2: mean 1.5, variance 0.5.
    returns = torch.tensor([0.0, 1.0, 0.0, 2.0, 3.0])
    groups = torch.tensor([7, 2, 7, 2, 7])
    result = group_advantages(returns, groups, normalize_std=True)
    a, b = 1 / 3**0.5, 0.5 / 0.5**0.5
    torch.testing.assert_close(result.advantages, torch.tensor([-a, -b, -a, b, 2 * a]), rtol=0, atol=1e-5)
    assert (result.zero_spread_groups, result.groups) == (0, 2)


def test_without_normalisation_only_the_mean_is_taken_off() -> None:
    result = group_advantages(torch.tensor([0.0, 0.0, 3.0]), torch.zeros(3, dtype=torch.int64), False)
    assert result.advantages.tolist() == [-1.0, -1.0, 2.0]


@pytest.mark.parametrize("normalize_std", [True, False])
def test_group_of_one_and_equal_returns_give_exactly_zero(normalize_std: bool) -> None:
    # The mean of the three 0.1 rounds to another number than 0.1; the last two differ by rounding alone.
    returns = torch.tensor([1.0, 0.1, 0.1, 0.1, 0.1 + 0.2, 0.3], dtype=torch.float64)
    assert returns[4] != returns[5]
    result = group_advantages(returns, torch.tensor([0, 1, 1, 1, 2, 2]), normalize_std)
    assert result.advantages.tolist() == [0.0] * 6
    assert (result.zero_spread_groups, result.groups) == (3, 3)


def test_weights_hand_worked() -> None:
    # As if the group were 0, 0, 0, 4: mean 1, variance (3 x 1 + 9) / 3 = 4.
    returns, groups = torch.tensor([0.0, 4.0]), torch.tensor([3, 3])
    result = group_advantages(returns, groups, True, weights=torch.tensor([3, 1]))
    torch.testing.assert_close(result.advantages, torch.tensor([-0.5, 1.5]), rtol=0, atol=1e-5)
    plain = group_advantages(returns, groups, False, weights=torch.tensor([3, 1]))
    assert plain.advantages.tolist() == [-1.0, 3.0]


def test_weights_of_one_change_nothing_and_a_long_episode_alone_stays_a_group_of_one() -> None:
    returns, groups = torch.tensor([0.3, 0.7, 0.1, 5.0]), torch.tensor([0, 0, 0, 1])
    plain = group_advantages(returns, groups, True)
    ones = group_advantages(returns, groups, True, weights=torch.ones(4, dtype=torch.int64))
    assert ones.advantages.tolist() == plain.advantages.tolist()
    long = group_advantages(returns, groups, True, weights=torch.tensor([1, 1, 1, 9]))
    assert (long.advantages[3].item(), long.zero_spread_groups) == (0.0, 1)


def test_an_episode_without_rows_does_not_count() -> None:
    returns, groups = torch.tensor([0.0, 2.0, 100.0, 7.0]), torch.tensor([0, 0, 0, 1])
    result = group_advantages(returns, groups, False, weights=torch.tensor([1, 1, 0, 0]))
    assert result.advantages[:2].tolist() == [-1.0, 1.0]
    assert (result.advantages[3].item(), result.zero_spread_groups) == (0.0, 1)


def test_no_episodes() -> None:
    result = group_advantages(torch.zeros(0), torch.zeros(0, dtype=torch.int64), True)
    assert (result.advantages.shape, result.groups) == ((0,), 0)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match=r"returns \(2,\) and groups \(3,\)"):
        group_advantages(torch.zeros(2), torch.zeros(3, dtype=torch.int64), True)
    with pytest.raises(ValueError, match=r"weights \(3,\) must be \[N\]"):
        group_advantages(torch.zeros(2), torch.zeros(2), True, weights=torch.ones(3, dtype=torch.int64))


@given(ROUNDS, st.integers(-100, 100), st.booleans())
def test_shifting_all_returns_changes_nothing(
    episodes: list[tuple[int, int]], shift: int, normalize_std: bool
) -> None:
    returns, groups = _tensors(episodes)
    plain = group_advantages(returns, groups, normalize_std)
    shifted = group_advantages(returns + shift, groups, normalize_std)
    torch.testing.assert_close(plain.advantages, shifted.advantages, rtol=0, atol=1e-9)


@given(ROUNDS, st.floats(0.5, 100.0))
def test_scaling_the_returns_changes_normalised_advantages_by_the_epsilon_only(
    episodes: list[tuple[int, int]], scale: float
) -> None:
    returns, groups = _tensors(episodes)
    plain = group_advantages(returns, groups, True)
    scaled = group_advantages(returns * scale, groups, True)
    torch.testing.assert_close(plain.advantages, scaled.advantages, rtol=1e-4, atol=1e-9)


@given(ROUNDS, st.booleans())
def test_advantages_are_finite_ordered_like_returns_and_sum_to_zero_in_each_group(
    episodes: list[tuple[int, int]], normalize_std: bool
) -> None:
    returns, groups = _tensors(episodes)
    advantages = group_advantages(returns, groups, normalize_std).advantages
    assert torch.isfinite(advantages).all()
    for label in set(groups.tolist()):
        members = groups == label
        assert abs(float(advantages[members].sum())) < 1e-9
        assert torch.equal(advantages[members] > 0, returns[members] > returns[members].mean() + 1e-12)


def test_penalty_is_relative_to_the_group() -> None:
    # Returns 1, 1, 0 less 0.5 x (0, 1, 0.5) = 1, 0.5, -0.25.
    returns = penalized_returns(torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 0.5]), 0.5)
    assert returns.tolist() == [1.0, 0.5, -0.25]


def test_a_penalty_that_hits_all_alike_changes_nothing() -> None:
    returns, groups = torch.tensor([1.0, 0.0, 1.0]), torch.zeros(3, dtype=torch.int64)
    punished = penalized_returns(returns, torch.full((3,), 0.5), 0.25)
    torch.testing.assert_close(
        group_advantages(returns, groups, True).advantages,
        group_advantages(punished, groups, True).advantages,
    )
