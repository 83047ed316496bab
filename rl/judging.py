"""The policy's judgement of its own episodes: agreement, agreement with the truth, and use as a return."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from sdar.schemas.config import RewardConfig, RunConfig, SelectConfig

# Below this the score hardly tells success from failure: learning from it feeds the policy its own errors.
LEAST_AUROC = 0.6


@dataclass(frozen=True)
class Auroc:
    """Share of (success, failure) pairs that a score puts in the right order, with its 95 % interval."""

    value: float
    low: float
    high: float


def needs_judgement(config: RunConfig) -> bool:
    """Say whether a round of this configuration has a `judge` stage."""
    return config.reward.source != "environment" or config.select.consistency > 0


def needs_selection(config: RunConfig) -> bool:
    """Say whether a round of this configuration has a `select` stage."""
    return config.select != SelectConfig()


def consistencies(verdicts: NDArray[np.floating[Any]], groups: Sequence[int]) -> list[float]:
    """Return how far the verdicts on each episode agree about its side of the group's median.

    The median is that of all verdicts on all episodes of the group. A verdict equal to it counts half on
    either side. An episode that is alone in its group is compared with the median of the whole round.

    Args:
        verdicts: [N, K] float, verdict k on episode n, in nats.
        groups: [N], group of each episode.

    Returns:
        [N], share of an episode's verdicts on the side that has more of them, in [0.5, 1].
    """
    labels = np.asarray(groups)
    shares = []
    for own, group in zip(verdicts, groups, strict=True):
        mine = labels == group
        centre = np.median(verdicts[mine] if mine.sum() > 1 else verdicts)
        above = float(np.mean(own > centre) + np.mean(own == centre) / 2)
        shares.append(max(above, 1 - above))
    return shares


def auroc(scores: ArrayLike, success: ArrayLike) -> Auroc | None:
    """Return the area under the ROC curve of a score as a test for success, equal scores counted half.

    The interval treats episodes as independent; attempts at one task are not quite.

    Args:
        scores: [N] float, higher for what is believed to have succeeded.
        success: [N] bool, the truth.

    Returns:
        0.5 is chance, 1 perfect; None where one of the two outcomes did not occur.

    Source:
        Interval: Newcombe 2006, "Confidence intervals for an effect size measure based on the Mann-Whitney
        statistic, part 2", method 5. Unlike the standard error of Hanley and McNeil 1982, on which it rests,
        it does not shrink to nothing when every pair is in order.
    """
    truth = np.asarray(success, dtype=bool)
    good, bad = int(truth.sum()), int((~truth).sum())
    if not good or not bad:
        return None
    ranks = _ranks(scores)
    value = float((ranks[truth].sum() - good * (good + 1) / 2) / (good * bad))
    return Auroc(value, _lower_end(value, good, bad), 1 - _lower_end(1 - value, good, bad))


def _ranks(values: ArrayLike) -> NDArray[np.float64]:
    """Return the rank of each value, 1 for the lowest; equal values share the mean of their ranks."""
    _, place, counts = np.unique(np.asarray(values, np.float64), return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def _lower_end(value: float, good: int, bad: int) -> float:
    if value == 0:
        return 0.0
    z, more = NormalDist().inv_cdf(0.975), (good + bad) / 2 - 1

    def distance(area: float) -> float:
        shape = 1 + more * ((1 - area) / (2 - area) + area / (1 + area))
        return value - area - z * sqrt(area * (1 - area) * shape / (good * bad))

    # The area itself, or just below 1: there the deviation is larger than the distance to the value.
    return float(brentq(distance, 0.0, min(value, 1 - 1e-12)))


def echo_warning(area: Auroc | None) -> str:
    """Return a sentence when the score does not tell success from failure, else nothing."""
    if area is None or area.value >= LEAST_AUROC:
        return ""
    return (
        f"Echo chamber: the self-judgement tells success from failure with AUROC {area.value:.2f} "
        f"[{area.low:.2f}, {area.high:.2f}], below {LEAST_AUROC}; learning from it repeats the policy's own "
        "errors. Use reward.source=environment, or better skills."
    )


def score_ranks(scores: Sequence[float]) -> list[float]:
    """Return the place of each score among all, from 0 for the lowest to 1 for the highest.

    Equal scores share the mean of their places; a score without others to compare with gets 0.5.
    """
    if len(scores) < 2:
        return [0.5] * len(scores)
    return [float(rank - 1) / (len(scores) - 1) for rank in _ranks(scores)]


def episode_returns(
    environment: Sequence[float], scores: Sequence[float] | None, reward: RewardConfig
) -> list[float]:
    """Return what the update and the selection take for the episodes' returns.

    Scores are nats a token without a natural zero or unit, so their rank in the round is what counts: it lies
    in [0, 1] like the rewards, one outlier does not set the scale, and the order within a group is kept.

    Args:
        environment: [N], the environment's returns; `mixed` takes them to lie in [0, 1].
        scores: [N], self-judged scores in the same order; may be None for `environment`.
        reward: `environment` gives the first, `self` the ranks of the second, and `mixed`
            `(1 - self_weight) * return + self_weight * rank`.

    Returns:
        [N].

    Raises:
        ValueError: scores are needed and missing, or not one for each episode.
    """
    if reward.source == "environment":
        return list(environment)
    if scores is None or len(scores) != len(environment):
        found = "none" if scores is None else len(scores)
        raise ValueError(f"reward.source {reward.source!r} needs {len(environment)} scores, found {found}")
    ranks = score_ranks(scores)
    if reward.source == "self":
        return ranks
    weight = reward.self_weight
    return [(1 - weight) * r + weight * rank for r, rank in zip(environment, ranks, strict=True)]
