"""Paired differences over two crossed factors: seeds of the training and tasks of the panel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from sdar.rl.statistics import mean_interval
from sdar.schemas.seeds import generator


@dataclass(frozen=True)
class CrossedDifference:
    """Mean of `after - before` over seeds and tasks.

    `low` and `high` are the 95 % bootstrap interval over seeds and tasks; `seeds_low` and `seeds_high` the
    95 % Student-t interval of the seeds' means, None with one seed.
    """

    difference: float
    low: float
    high: float
    seeds_low: float | None
    seeds_high: float | None
    verdict: Literal["better", "worse", "not distinguishable"]


def crossed_bootstrap(differences: ArrayLike, seed: int, resamples: int = 10_000) -> CrossedDifference:
    """Return how much better one method did than another over the same seeds and the same tasks.

    Each resample draws seeds and, independently, tasks, both with replacement, and takes the mean over the
    drawn rows and columns. With few seeds such an interval is too narrow, because a percentile bootstrap of n
    values knows nothing of Student's t; so the verdict is `better` or `worse` only when the t interval over
    seeds excludes 0 on the same side.

    Args:
        differences: [S, T] outcome of `after` minus that of `before`, seed by seed and task by task.
        seed: decides the resamples.
        resamples: how many.

    Raises:
        ValueError: `differences` is no matrix with at least one row and column.

    Source:
        Owen 2007, "The pigeonhole bootstrap".
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"differences must be a matrix [seeds, tasks], found shape {values.shape}")
    drawn = generator(seed, "crossed bootstrap")
    rows, columns = values.shape
    by_row = drawn.multinomial(rows, np.full(rows, 1 / rows), size=resamples)
    by_column = drawn.multinomial(columns, np.full(columns, 1 / columns), size=resamples)
    means = np.einsum("rt,rt->r", by_row @ values, by_column) / values.size
    low, high = (float(end) for end in np.quantile(means, [0.025, 0.975]))
    over_seeds = mean_interval([float(mean) for mean in values.mean(axis=1)])
    verdict: Literal["better", "worse", "not distinguishable"] = "not distinguishable"
    if over_seeds.low is not None and over_seeds.high is not None:
        if low > 0 and over_seeds.low > 0:
            verdict = "better"
        elif high < 0 and over_seeds.high < 0:
            verdict = "worse"
    return CrossedDifference(float(values.mean()), low, high, over_seeds.low, over_seeds.high, verdict)
