"""The collapse guard over training rounds: entropy that left its band, and returns that no longer differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdar.schemas.config import StopConfig
from sdar.schemas.records import UpdateReport

# A round has thousands of tokens, so chance hardly moves its entropy, but one bad update can push it out and
# the next ones bring it back. Three rounds outside are no accident, and fit between two evaluations.
ENTROPY_ROUNDS = 3

EARLY_ROUNDS = 5  # rounds whose mean deviation is the measure

# Returns also stop differing where everything succeeds, and where the policy is sure of what it does well.
# That is no collapse, so the success must have fallen below this share of the best round's too.
FALLEN = 0.5


@dataclass(frozen=True)
class RoundFigures:
    """What the guard looks at in one training round.

    Attributes:
        round: its number.
        entropy: mean normalised entropy over the optimiser steps that were taken, in [0, 1]; NaN when all
            were skipped, None when there was nothing to learn from.
        success: share of the collected episodes that succeeded, in [0, 1].
        spread: mean over groups of the deviation of returns; None in stores from before it was kept.
    """

    round: int
    entropy: float | None
    success: float
    spread: float | None


def mean_entropy(reports: Sequence[UpdateReport]) -> float | None:
    """Return the mean normalised entropy of the steps taken: NaN when all were skipped, None for no steps."""
    if not reports:
        return None
    taken = [report.entropy for report in reports if not report.skipped]
    return float(np.mean(taken)) if taken else float("nan")


def collapse(rounds: Sequence[RoundFigures], stop: StopConfig) -> str | None:
    """Return what shows that the policy has collapsed, as the middle of a sentence, or None.

    1. Entropy: outside [`stop.entropy_low`, `stop.entropy_high`], or not a number, in each of the last 3
       rounds that have one, after a round inside. A policy that was never inside has not left the band.
    2. Spread: below `stop.spread_share` of its mean over the first 5 rounds in each of the last
       `stop.spread_rounds`, while the mean success of these is below half of the best round's.

    Args:
        rounds: all training rounds so far, oldest first.
        stop: the bounds.
    """
    return _entropy(rounds, stop) or _spread(rounds, stop)


def _entropy(rounds: Sequence[RoundFigures], stop: StopConfig) -> str | None:
    known = [(figures.round, figures.entropy) for figures in rounds if figures.entropy is not None]
    before, latest = known[:-ENTROPY_ROUNDS], known[-ENTROPY_ROUNDS:]
    low, high = stop.entropy_low, stop.entropy_high
    well = [place for place in before if low <= place[1] <= high]  # NaN is outside
    if not well or any(low <= entropy <= high for _, entropy in latest):
        return None
    values = ", ".join(f"{entropy:.3g}" for _, entropy in latest)
    return (
        f"the normalised entropy was outside [{low:g}, {high:g}] in {ENTROPY_ROUNDS} rounds in a row "
        f"({values}), after {well[-1][1]:.3g} in round {well[-1][0]}"
    )


def _spread(rounds: Sequence[RoundFigures], stop: StopConfig) -> str | None:
    if len(rounds) < EARLY_ROUNDS + stop.spread_rounds:
        return None
    latest = rounds[-stop.spread_rounds :]
    early = [figures.spread for figures in rounds[:EARLY_ROUNDS] if figures.spread is not None]
    late = [figures.spread for figures in latest if figures.spread is not None]
    if len(early) < EARLY_ROUNDS or len(late) < len(latest):
        return None
    success, best = float(np.mean([figures.success for figures in latest])), max(rounds, key=_success)
    measure = float(np.mean(early))
    if max(late) >= stop.spread_share * measure or success >= FALLEN * best.success:
        return None
    return (
        f"the deviation of returns within groups was below {stop.spread_share:.0%} of its early mean of "
        f"{measure:.3g} in the last {len(latest)} rounds, whose collected success is {success:.1%} after "
        f"{best.success:.1%} in round {best.round}"
    )


def _success(figures: RoundFigures) -> float:
    return figures.success
