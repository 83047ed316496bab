from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar.rl.collapse import RoundFigures, collapse, mean_entropy
from sdar.schemas.config import StopConfig
from sdar.schemas.records import UpdateReport

STOP = StopConfig(entropy_low=0.001, entropy_high=0.8, spread_share=0.1, spread_rounds=3)


def rounds(
    entropy: Sequence[float | None] | float = 0.03,
    success: Sequence[float] | float = 0.4,
    spread: Sequence[float | None] | float = 0.2,
) -> list[RoundFigures]:
    given = [value if isinstance(value, Sequence) else None for value in (entropy, success, spread)]
    count = max(len(value) for value in given if value is not None)

    def column(value: Any) -> list[Any]:
        return list(value) if isinstance(value, Sequence) else [value] * count

    columns = zip(column(entropy), column(success), column(spread), strict=True)
    return [RoundFigures(number, *values) for number, values in enumerate(columns, 1)]


@pytest.mark.parametrize(
    ("entropies", "collapsed"),
    [
        ([0.03, 0.9, 0.9, 0.9], True),
        ([0.03, 0.0005, 0.0, 0.0002], True),
        ([0.03, 0.0005, 0.9, 0.9], True),
        ([0.03, math.nan, math.nan, math.nan], True),
        ([0.03, 0.9, 0.9], False),  # two rounds may be one bad update
        ([0.03, 0.9, 0.9, 0.7], False),  # it came back
        ([0.03, 0.9, 0.9, 0.7, 0.9, 0.9], False),
        ([0.9, 0.9, 0.9, 0.9, 0.9], False),  # it was never inside: a policy that knows nothing yet
        ([0.03, None, None, None, None], False),  # rounds without a step say nothing
        ([0.03, 0.9, None, 0.9, 0.9], True),
        ([0.8, 0.001, 0.8, 0.001], False),  # the ends belong to the band
    ],
)
def test_entropy_outside_its_band_for_three_rounds(entropies: list[float | None], collapsed: bool) -> None:
    sign = collapse(rounds(entropy=entropies), STOP)
    assert (sign is not None) == collapsed
    if sign:
        assert sign.startswith("the normalised entropy was outside [0.001, 0.8]")


# The early mean of (0.1, 0.2, 0.3, 0.2, 0.2) is 0.2, a tenth of it 0.02.
EARLY = [0.1, 0.2, 0.3, 0.2, 0.2]


def test_a_small_deviation_with_fallen_success_is_a_collapse() -> None:
    run = rounds(success=[0.3, 0.4, 0.5, 0.4, 0.3, 0.1, 0.0, 0.02], spread=[*EARLY, 0.019, 0.0, 0.01])
    sign = collapse(run, STOP)
    assert sign is not None
    assert "below 10% of its early mean of 0.2 in the last 3 rounds" in sign
    assert "collected success is 4.0% after 50.0% in round 3" in sign


@pytest.mark.parametrize(
    ("success", "spread"),
    [
        ([0.4] * 5 + [1.0, 1.0, 1.0], [*EARLY, 0.0, 0.0, 0.0]),  # everything succeeds
        ([0.4] * 5 + [0.5, 0.5, 0.5], [*EARLY, 0.0, 0.0, 0.0]),  # a policy that is sure of itself
        ([0.4] * 5 + [0.2, 0.2, 0.2], [*EARLY, 0.0, 0.0, 0.0]),  # half of the best is not below half
        ([0.4] * 5 + [0.1, 0.1, 0.1], [*EARLY, 0.0, 0.0, 0.021]),  # once above it
        ([0.4] * 5 + [0.1, 0.1], [*EARLY, 0.0, 0.0]),  # too few rounds
        ([0.4] * 5 + [0.0] * 3, [0.0] * 8),  # groups of one never had a deviation
        ([0.4] * 5 + [0.1] * 3, [None, *EARLY[1:], 0.0, 0.0, 0.0]),  # an old store
        ([0.4] * 5 + [0.1] * 3, [*EARLY, 0.0, None, 0.0]),
        ([0.0] * 8, [*EARLY, 0.0, 0.0, 0.0]),  # it never succeeded
    ],
)
def test_a_small_deviation_alone_is_none(success: list[float], spread: list[float | None]) -> None:
    assert collapse(rounds(success=success, spread=spread), STOP) is None


def test_share_zero_turns_the_rule_off() -> None:
    run = rounds(success=[0.4] * 5 + [0.0] * 3, spread=[*EARLY, 0.0, 0.0, 0.0])
    assert collapse(run, STOP) is not None
    assert collapse(run, STOP.model_copy(update={"spread_share": 0.0})) is None


@given(st.lists(st.floats(0.4, 1.0), min_size=15, max_size=30), st.floats(0.05, 1.0))
def test_the_defaults_stop_no_run_that_does_not_get_worse(successes: list[float], share: float) -> None:
    # Groups of two with one chance of success for all: the deviation is 1/2 with probability 2 p (1 - p).
    better = np.maximum.accumulate(successes)
    spread = [float(share * p * (1 - p)) for p in better]
    assert collapse(rounds(success=[float(p) for p in better], spread=spread), StopConfig()) is None


def test_mean_entropy_leaves_out_skipped_steps() -> None:
    def report(entropy: float, skipped: bool = False) -> UpdateReport:
        zeros = dict.fromkeys(UpdateReport.model_fields, 0)
        return UpdateReport(**{**zeros, "entropy": entropy, "skipped": skipped})

    assert mean_entropy([report(0.2), report(0.4), report(math.nan, skipped=True)]) == pytest.approx(0.3)
    assert mean_entropy([]) is None
    nothing = mean_entropy([report(0.5, skipped=True)])
    assert nothing is not None
    assert math.isnan(nothing)
