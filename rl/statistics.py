"""Intervals for success rates, paired differences and means over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist, mean, stdev
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from sdar.schemas.records import Comparison
from sdar.schemas.seeds import generator

# With fewer differing pairs even a unanimous sign test stays above 5 % (2 / 2**5 = 6.25 %), while the
# bootstrap, which cannot see outcomes that did not occur, may already exclude 0.
LEAST_DIFFERING_PAIRS = 6


@dataclass(frozen=True)
class Interval:
    """A confidence interval, both ends included."""

    low: float
    high: float


@dataclass(frozen=True)
class PairedDifference:
    """Mean of `after - before` over pairs, its 95 % bootstrap interval and what may be concluded."""

    difference: float
    low: float
    high: float
    verdict: Literal["better", "worse", "not distinguishable"]


@dataclass(frozen=True)
class MeanInterval:
    """A mean over `n` seeds and its interval; `low` and `high` are None when one seed gives no spread."""

    mean: float
    low: float | None
    high: float | None
    n: int


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return the Wilson score interval of a success rate.

    Args:
        successes: number of successes, in [0, n].
        n: number of trials; 0 gives [0, 1], since nothing is known.
        confidence: two-sided level in (0, 1).

    Raises:
        ValueError: `successes` is not in [0, n].

    Source:
        Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie in [0, {n}], found {successes}")
    if n == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, scale = successes / n, 1 + z * z / n
    centre = (rate + z * z / (2 * n)) / scale
    half = z * sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / scale
    # At the ends the formula gives 0 and 1 exactly, rounding does not.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(low, high)


def paired_bootstrap(
    before: ArrayLike, after: ArrayLike, seed: int, resamples: int = 10_000
) -> PairedDifference:
    """Return how much better `after` did than `before` on the same tasks.

    The interval is the 95 % percentile interval of the mean difference over resampled pairs. The verdict is
    `better` or `worse` when it excludes 0 and at least six pairs differ.

    Args:
        before: [n] bool or float, outcome of each task; n at least 1.
        after: [n] the same tasks in the same order.
        seed: decides the resamples.
        resamples: how many.

    Raises:
        ValueError: the two are not vectors of one length of at least 1.

    Source:
        Efron 1979, "Bootstrap methods: another look at the jackknife".
    """
    first, second = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if first.ndim != 1 or first.shape != second.shape or first.size == 0:
        raise ValueError(f"paired outcomes must be two vectors [n], found {first.shape} and {second.shape}")
    differences = second - first
    means = _resampled_means(differences, seed, resamples)
    low, high = (float(end) for end in np.quantile(means, [0.025, 0.975]))
    enough = np.count_nonzero(differences) >= LEAST_DIFFERING_PAIRS
    verdict: Literal["better", "worse", "not distinguishable"] = "not distinguishable"
    if enough and low > 0:
        verdict = "better"
    elif enough and high < 0:
        verdict = "worse"
    return PairedDifference(float(differences.mean()), low, high, verdict)


def _resampled_means(values: NDArray[Any], seed: int, resamples: int) -> NDArray[Any]:
    # How often each distinct value is drawn says as much as the n draws, without a [resamples, n] array.
    distinct, counts = np.unique(values, return_counts=True)
    draws = generator(seed, "bootstrap").multinomial(values.size, counts / values.size, size=resamples)
    means: NDArray[Any] = draws @ distinct / values.size
    return means


def comparison(before: str, after: str, paired: PairedDifference) -> Comparison:
    """Return the stored form of a paired difference between the policies `before` and `after`."""
    return Comparison(
        before=before,
        after=after,
        difference=paired.difference,
        low=paired.low,
        high=paired.high,
        verdict=paired.verdict,
    )


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> MeanInterval:
    """Return the mean over seeds with its Student-t interval.

    Args:
        values: one number for each seed, at least one.
        confidence: two-sided level in (0, 1).

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a mean over seeds needs at least one value, found none")
    n, centre = len(values), mean(values)
    if n == 1:
        return MeanInterval(centre, None, None, 1)
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * stdev(values) / sqrt(n)
    return MeanInterval(centre, centre - half, centre + half, n)
