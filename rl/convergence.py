"""When the loop ends, why, and which policy it hands over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sdar.rl.collapse import RoundFigures, collapse
from sdar.rl.statistics import Interval, PairedDifference, comparison, paired_bootstrap, wilson_interval
from sdar.schemas.config import StopConfig
from sdar.schemas.errors import IntegrityError
from sdar.schemas.records import Verdict

Reason = Literal["continue", "target", "converged", "rounds", "minutes", "collapse"]


@dataclass(frozen=True)
class Evaluated:
    """One evaluation on the frozen panel: `outcomes` [n] bool, success of each task in panel order."""

    round: int
    policy_id: str
    outcomes: NDArray[np.bool_]

    @property
    def success(self) -> float:
        """Share of the panel's tasks that succeeded."""
        return float(np.mean(self.outcomes))

    @property
    def interval(self) -> Interval:
        """The 95 % Wilson interval of the success."""
        return wilson_interval(int(np.sum(self.outcomes)), len(self.outcomes))


@dataclass(frozen=True)
class _Gain:
    before: Evaluated
    after: Evaluated
    paired: PairedDifference


def decide(
    history: Sequence[Evaluated],
    stop: StopConfig,
    round: int,
    minutes_used: float,
    seed: int,
    rounds: Sequence[RoundFigures] = (),
) -> Verdict:
    """Return whether the loop stops after the latest evaluation, and the best policy so far.

    The first that holds decides:

    1. `target`: the lower end of the latest success interval reaches `stop.target`.
    2. `collapse`: the latest success is below `stop.floor` and an earlier one was above it for certain, or
       `sdar.rl.collapse` finds it in the training rounds.
    3. `converged`: there were more than `stop.patience` evaluations, and the best of the last
       `stop.patience` is not proven (95 %, paired bootstrap) to gain more than `stop.min_gain` over the
       best before them.
    4. `rounds`, `minutes`: a budget is used up.

    Args:
        history: all evaluations on one panel, oldest first, at least one.
        stop: the criteria.
        round: rounds completed.
        minutes_used: wall time of the run so far, in minutes.
        seed: decides the bootstrap resamples.
        rounds: figures of the training rounds so far, oldest first.

    Returns:
        The verdict. Its best policy is the one with the highest success on the panel, the earliest of
        equals; `last_gain` is the comparison of criterion 3 where one was made.

    Raises:
        ValueError: there is no evaluation.
        IntegrityError: the evaluations are not of one panel.
    """
    _check_history(history)
    best = _best(history)
    gain = _gain(history, stop.patience, seed)
    reason, sentence = _reason(history, stop, round, minutes_used, gain, rounds)
    return Verdict(
        round=round,
        stop=reason != "continue",
        reason=reason,
        sentence=f"{sentence} {_handed_over(best, rolled_back=reason == 'collapse')}",
        best_policy=best.policy_id,
        best_round=best.round,
        best_success=best.success,
        last_gain=comparison(gain.before.policy_id, gain.after.policy_id, gain.paired) if gain else None,
    )


def _check_history(history: Sequence[Evaluated]) -> None:
    if not history:
        raise ValueError("deciding needs at least one evaluation, found none")
    sizes = {len(evaluated.outcomes) for evaluated in history}
    if len(sizes) > 1 or 0 in sizes:
        raise IntegrityError(
            f"evaluations have {sorted(sizes)} outcomes; all must be of one panel with at least one task. "
            f"Evaluate again with one evaluation.panel_size: sdar stage evaluate --round {history[-1].round} "
            "--force"
        )


def _best(evaluations: Sequence[Evaluated]) -> Evaluated:
    return max(evaluations, key=lambda evaluated: evaluated.success)


def _gain(history: Sequence[Evaluated], patience: int, seed: int) -> _Gain | None:
    if len(history) <= patience:
        return None
    before, after = _best(history[:-patience]), _best(history[-patience:])
    return _Gain(before, after, paired_bootstrap(before.outcomes, after.outcomes, seed))


def _reason(
    history: Sequence[Evaluated],
    stop: StopConfig,
    round: int,
    minutes_used: float,
    gain: _Gain | None,
    rounds: Sequence[RoundFigures],
) -> tuple[Reason, str]:
    latest = history[-1]
    if latest.interval.low >= stop.target:
        return (
            "target",
            f"Target reached: {_describe(latest)}, with its lower end at {stop.target:.1%} or above.",
        )
    fallen = _fallen_from(history, stop.floor)
    if fallen is not None:
        return "collapse", (
            f"Collapsed: {_describe(latest)}, below the floor of {stop.floor:.1%}, after {_describe(fallen)}."
        )
    if sign := collapse(rounds, stop):
        return "collapse", f"Collapsed: {sign}; {_describe(latest)}."
    if gain is not None and not _proven(gain, stop.min_gain):
        return (
            "converged",
            f"Converged: {_describe_gain(gain, stop)}, not proven to be above {stop.min_gain:.1%}.",
        )
    if round >= stop.rounds:
        return "rounds", f"All {stop.rounds} rounds are done: {_describe(latest)}."
    if stop.minutes is not None and minutes_used >= stop.minutes:
        return "minutes", (
            f"The budget of {stop.minutes:g} minutes is used up ({minutes_used:.1f}): {_describe(latest)}."
        )
    return "continue", f"Going on: {_describe(latest)}; the target is a lower end of {stop.target:.1%}."


def _fallen_from(history: Sequence[Evaluated], floor: float) -> Evaluated | None:
    best = _best(history)
    return best if history[-1].success < floor and best.interval.low > floor else None


def _proven(gain: _Gain, min_gain: float) -> bool:
    return gain.paired.verdict == "better" and gain.paired.low > min_gain


def _handed_over(best: Evaluated, *, rolled_back: bool) -> str:
    if rolled_back:
        where = f"Rolled back to the policy of round {best.round}, the best on the panel"
        return f"{where}: {_success(best)}, policy {best.policy_id}."
    return f"Best on the panel: {_describe(best)}, policy {best.policy_id}."


def _describe(evaluated: Evaluated) -> str:
    return f"{_success(evaluated)} in round {evaluated.round}"


def _success(evaluated: Evaluated) -> str:
    low, high = evaluated.interval.low, evaluated.interval.high
    return f"success {evaluated.success:.1%} [{low:.1%}, {high:.1%}] on {len(evaluated.outcomes)} tasks"


def _describe_gain(gain: _Gain, stop: StopConfig) -> str:
    paired = gain.paired
    return (
        f"the best of the last {stop.patience} evaluations ({gain.after.success:.1%} in round "
        f"{gain.after.round}) differs from the best before them ({gain.before.success:.1%} in round "
        f"{gain.before.round}) by {_points(paired.difference)} points "
        f"[{_points(paired.low)}, {_points(paired.high)}]"
    )


def _points(share: float) -> str:
    return f"{100 * share:+.1f}"
