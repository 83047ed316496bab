from __future__ import annotations

import numpy as np
import pytest

from sdar.rl.collapse import RoundFigures
from sdar.rl.convergence import Evaluated, decide
from sdar.schemas.config import StopConfig
from sdar.schemas.errors import IntegrityError
from sdar.schemas.records import Verdict

STOP = StopConfig(rounds=60, target=0.9, patience=2, floor=0.05)


def history(*successes: int, n: int = 200) -> list[Evaluated]:
    """Return evaluations at rounds 0, 5, 10, ...; the first `successes` tasks of the panel succeed."""
    return [
        Evaluated(5 * index, f"policy-{index}", np.arange(n) < count) for index, count in enumerate(successes)
    ]


def verdict(evaluations: list[Evaluated], stop: StopConfig = STOP, minutes: float = 0.0) -> Verdict:
    return decide(evaluations, stop, evaluations[-1].round, minutes, seed=0)


def test_improving_runs_go_on() -> None:
    result = verdict(history(60, 90, 120, 150))
    assert (result.stop, result.reason, result.best_policy) == (False, "continue", "policy-3")
    assert result.last_gain is not None
    # Best before the last two is 90, best of them 150.
    assert (result.last_gain.before, result.last_gain.after) == ("policy-1", "policy-3")
    assert result.last_gain.difference == pytest.approx(0.3)


def test_the_sentence_carries_numbers_and_interval() -> None:
    # 60 of 200: centre (0.3 + 0.0096) / 1.0192 = 0.3038, half-width 0.0630.
    sentence = verdict(history(60)).sentence
    assert "success 30.0% [24.1%, 36.7%] on 200 tasks in round 0" in sentence
    assert "90.0%" in sentence
    assert "policy-0" in sentence


def test_target_needs_the_lower_end() -> None:
    # 184 of 200 is 92 %, lower end 87 %; 190 of 200 is 95 %, lower end 91 %.
    assert verdict(history(60, 184)).reason == "continue"
    result = verdict(history(60, 190))
    assert (result.stop, result.reason, result.best_success) == (True, "target", 0.95)


def test_flat_runs_converge_once_patience_is_over() -> None:
    assert verdict(history(100, 101)).reason == "continue"
    assert verdict(history(100, 101)).last_gain is None
    result = verdict(history(100, 101, 99))
    assert (result.stop, result.reason, result.best_policy) == (True, "converged", "policy-1")
    assert "+0.5 points" in result.sentence


def test_patience_looks_at_the_best_of_the_window_not_the_last() -> None:
    assert verdict(history(60, 100, 70)).reason == "continue"


def test_gain_must_be_proven_above_the_least_gain() -> None:
    # 20 of 200 gained, none lost: +10 points, interval about [6, 14.5].
    run = history(100, 120, 110)
    assert verdict(run).reason == "continue"
    assert verdict(run, STOP.model_copy(update={"min_gain": 0.08})).reason == "converged"


def test_a_gain_on_five_tasks_proves_nothing() -> None:
    # The bootstrap interval excludes 0, but five tasks without a loss happen by chance once in 16.
    result = verdict(history(100, 105, 104))
    assert result.last_gain is not None
    assert result.last_gain.low > 0
    assert (result.reason, result.last_gain.verdict) == ("converged", "not distinguishable")


def test_collapse_names_the_round_it_fell_from() -> None:
    result = verdict(history(60, 80, 4))
    assert (result.stop, result.reason, result.best_policy) == (True, "collapse", "policy-1")
    assert "success 40.0%" in result.sentence
    assert "in round 5" in result.sentence
    assert "below the floor of 5.0%" in result.sentence
    assert "Rolled back to the policy of round 5, the best on the panel: success 40.0%" in result.sentence


def test_a_collapse_in_the_training_rounds_rolls_back_too() -> None:
    entropies = (0.03, 0.04, 0.85, 0.9, 0.95)
    rounds = [RoundFigures(number, value, 0.3, 0.2) for number, value in enumerate(entropies, 1)]
    run = history(60, 50)
    result = decide(run, STOP, 5, 0.0, seed=0, rounds=rounds)
    assert (result.stop, result.reason, result.best_policy) == (True, "collapse", "policy-0")
    assert "outside [0, 0.8] in 3 rounds in a row (0.85, 0.9, 0.95), after 0.04 in round 2" in result.sentence
    assert "Rolled back to the policy of round 0" in result.sentence
    assert decide(run, STOP, 5, 0.0, seed=0, rounds=rounds[:4]).reason == "continue"


def test_a_run_at_its_target_has_not_collapsed() -> None:
    rounds = [RoundFigures(number, 0.9 if number > 1 else 0.1, 0.9, 0.0) for number in range(1, 6)]
    assert decide(history(60, 190), STOP, 5, 0.0, seed=0, rounds=rounds).reason == "target"


def test_a_weak_start_is_not_a_collapse() -> None:
    # 12 of 200 is 6 %, lower end 3 %: never certainly above the floor.
    assert verdict(history(12, 4)).reason == "continue"


def test_budgets() -> None:
    run = history(60, 90)
    rounds = decide(run, STOP.model_copy(update={"rounds": 5}), 5, 0.0, seed=0)
    assert (rounds.stop, rounds.reason) == (True, "rounds")
    minutes = STOP.model_copy(update={"minutes": 30.0})
    assert verdict(run, minutes, minutes=29.9).reason == "continue"
    assert verdict(run, minutes, minutes=30.0).reason == "minutes"


def test_best_is_by_the_panel_and_the_first_of_equals() -> None:
    result = verdict(history(60, 120, 120, 90))
    assert (result.best_policy, result.best_round, result.best_success) == ("policy-1", 5, 0.6)


def test_other_panels_are_refused() -> None:
    with pytest.raises(IntegrityError, match=r"\[100, 200\].*sdar stage evaluate --round 0"):
        verdict(history(60) + history(60, n=100))


def test_nothing_to_decide_on_is_refused() -> None:
    with pytest.raises(ValueError, match="found none"):
        decide([], STOP, 0, 0.0, seed=0)
