"""Differences over seeds and tasks: hand-worked ends, and what the verdict needs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sdar.rl.crossed import crossed_bootstrap


def test_equal_differences_leave_no_doubt() -> None:
    found = crossed_bootstrap(np.ones((3, 4)), seed=0)
    assert (found.difference, found.low, found.high) == (1.0, 1.0, 1.0)
    assert (found.seeds_low, found.seeds_high) == (1.0, 1.0)
    assert found.verdict == "better"
    assert crossed_bootstrap(-np.ones((3, 4)), seed=0).verdict == "worse"
    assert crossed_bootstrap(np.zeros((3, 4)), seed=0).verdict == "not distinguishable"


def test_one_seed_proves_nothing_about_a_method() -> None:
    found = crossed_bootstrap(np.ones((1, 50)), seed=0)
    assert (found.low, found.high, found.seeds_low, found.seeds_high) == (1.0, 1.0, None, None)
    assert found.verdict == "not distinguishable"


def test_seeds_and_tasks_both_widen_the_interval() -> None:
    # Rows differ alone: the deviation of the mean over S drawn rows is their own over sqrt(S), here 0.1.
    # With differing columns as well (deviation 0.5 over 100 of them: 0.05) the variances add up.
    rows = np.where(np.arange(100) % 2, 1.0, -1.0)[:, None] * np.ones((1, 100))
    columns = np.where(np.arange(100) % 2, 0.5, -0.5)[None, :]
    alone, both = crossed_bootstrap(rows, seed=1), crossed_bootstrap(rows + columns, seed=1)
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * 0.1, rel=0.05)
    assert both.high - both.low == pytest.approx(2 * 1.96 * np.hypot(0.1, 0.05), rel=0.05)


def test_the_verdict_needs_the_t_interval_over_seeds_too() -> None:
    # Three seeds with means 0.1, 0.2 and 0.9: a bootstrap never draws below 0.1, Student's t with two degrees
    # of freedom reaches 0.4 - 4.303 * 0.436 / sqrt(3) = -0.683.
    found = crossed_bootstrap(np.array([[0.1], [0.2], [0.9]]) * np.ones((1, 20)), seed=0)
    assert found.low > 0
    assert found.seeds_low == pytest.approx(-0.683, abs=1e-3)
    assert found.verdict == "not distinguishable"


@given(arrays(np.float64, (3, 5), elements=st.sampled_from([-1.0, 0.0, 1.0])))
def test_exchanging_the_arms_mirrors_everything(matrix: np.ndarray) -> None:
    there, back = (crossed_bootstrap(each, seed=2, resamples=200) for each in (matrix, -matrix))
    assert back.difference == -there.difference
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    mirrored = {"better": "worse", "worse": "better"}
    assert back.verdict == mirrored.get(there.verdict, there.verdict)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (4,)])
def test_a_matrix_is_needed(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="seeds, tasks"):
        crossed_bootstrap(np.ones(shape), seed=0)
