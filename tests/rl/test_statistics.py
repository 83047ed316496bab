from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar.rl.statistics import comparison, mean_interval, paired_bootstrap, wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (9, 10, 0.596, 0.982),  # textbook value
        (0, 10, 0.0, 0.278),  # z^2 / (n + z^2) = 3.841 / 13.841
        (10, 10, 0.722, 1.0),
        (50, 100, 0.404, 0.596),
    ],
)
def test_wilson_known_values(successes: int, n: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, n)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=6e-4)


def test_wilson_without_trials_knows_nothing() -> None:
    assert (wilson_interval(0, 0).low, wilson_interval(0, 0).high) == (0.0, 1.0)


def test_wilson_widens_with_confidence() -> None:
    assert wilson_interval(9, 10, 0.99).low < wilson_interval(9, 10, 0.95).low


@pytest.mark.parametrize("successes", [-1, 11])
def test_wilson_refuses_impossible_counts(successes: int) -> None:
    with pytest.raises(ValueError, match=r"in \[0, 10\]"):
        wilson_interval(successes, 10)


@given(st.integers(1, 500), st.data())
def test_wilson_holds_the_rate_and_is_symmetric(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    interval, mirror = wilson_interval(successes, n), wilson_interval(n - successes, n)
    assert 0.0 <= interval.low <= successes / n <= interval.high <= 1.0
    assert interval.low == pytest.approx(1 - mirror.high, abs=1e-12)


def test_bootstrap_interval_against_the_normal_approximation() -> None:
    # 400 pairs, 120 gained, 40 lost: mean 0.2, variance 160/400 - 0.04 = 0.36, standard error 0.03.
    before = np.array([False] * 120 + [True] * 40 + [True] * 240)
    after = np.array([True] * 120 + [False] * 40 + [True] * 240)
    paired = paired_bootstrap(before, after, seed=1)
    assert paired.difference == pytest.approx(0.2)
    assert (paired.low, paired.high) == pytest.approx((0.2 - 1.96 * 0.03, 0.2 + 1.96 * 0.03), abs=0.006)
    assert paired.verdict == "better"


def test_bootstrap_is_paired() -> None:
    # Both succeed half of the time; 100 tasks gained and none lost shows only if pairs are kept.
    before = np.array([True] * 200 + [False] * 200)
    after = np.array([True] * 230 + [False] * 170)
    assert paired_bootstrap(before, after, 0).verdict == "better"
    assert paired_bootstrap(before, after[::-1], 0).verdict == "not distinguishable"


def test_bootstrap_verdict_is_antisymmetric() -> None:
    before, after = np.zeros(50), np.array([1.0] * 20 + [0.0] * 30)
    assert paired_bootstrap(after, before, 0).verdict == "worse"
    assert paired_bootstrap(before, before, 0).verdict == "not distinguishable"


def test_few_differing_pairs_prove_nothing() -> None:
    five, six = np.array([1.0] * 5), np.array([1.0] * 6)
    assert paired_bootstrap(np.zeros(5), five, 0).verdict == "not distinguishable"
    assert paired_bootstrap(np.zeros(6), six, 0).verdict == "better"


def test_bootstrap_repeats_with_its_seed() -> None:
    draw = np.random.default_rng(0)
    before, after = draw.normal(size=40), draw.normal(size=40)
    assert paired_bootstrap(before, after, 3) == paired_bootstrap(before, after, 3)
    assert paired_bootstrap(before, after, 3).low != paired_bootstrap(before, after, 4).low


def test_bootstrap_refuses_other_lengths_and_nothing() -> None:
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        paired_bootstrap(np.zeros(2), np.zeros(3), 0)
    with pytest.raises(ValueError, match=r"\(0,\) and \(0,\)"):
        paired_bootstrap(np.zeros(0), np.zeros(0), 0)


def test_comparison_carries_the_numbers() -> None:
    paired = paired_bootstrap(np.zeros(8), np.ones(8), 0)
    record = comparison("old", "new", paired)
    assert (record.before, record.after, record.difference, record.verdict) == ("old", "new", 1.0, "better")
    assert (record.low, record.high) == (paired.low, paired.high)


def test_mean_interval_hand_worked() -> None:
    # 1 2 3: mean 2, deviation 1, t(2, 97.5 %) = 4.3027, half-width 4.3027 / sqrt 3 = 2.4842.
    interval = mean_interval([1.0, 2.0, 3.0])
    assert (interval.mean, interval.low, interval.high) == pytest.approx((2.0, -0.4842, 4.4842), abs=1e-3)
    assert interval.n == 3


def test_one_seed_has_no_interval_and_none_is_refused() -> None:
    alone = mean_interval([0.5])
    assert (alone.mean, alone.low, alone.high) == (0.5, None, None)
    with pytest.raises(ValueError, match="found none"):
        mean_interval([])
