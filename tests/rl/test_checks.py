from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sdar.rl.checks import (
    check_logprob_agreement,
    check_mean_agreement,
    check_same_actions,
    check_skills_arrive,
    check_teacher_effect,
    warnings_for,
)
from sdar.schemas.config import SdarConfig
from sdar.schemas.errors import CheckFailedError
from sdar.schemas.records import UpdateReport


def _describe(token: int) -> str:
    return f"episode e7, token {token}"


def _report(**changes: Any) -> UpdateReport:
    healthy: dict[str, Any] = {
        "step": 0,
        "loss": 0.1,
        "policy_loss": 0.0,
        "distillation": 0.1,
        "kl": 0.0,
        "drift": 0.0,
        "entropy": 0.2,
        "clip_share": 0.05,
        "ratio_mean": 1.0,
        "gate_mean": 0.5,
        "gate_share": 0.5,
        "coefficient": 1.0,
        "gap_mean": 0.0,
        "gap_std": 1.0,
        "gradient_norm": 1.0,
        "skipped": False,
        "tokens": 100,
    }
    return UpdateReport(**{**healthy, **changes})


def test_agreement_reports_largest_and_mean_difference() -> None:
    sampler = np.array([-1.0, -2.0, -3.0, -4.0])
    agreement = check_logprob_agreement(
        sampler, sampler + np.array([0, 1e-5, -3e-5, 0]), 1e-4, "vllm", _describe
    )
    assert (agreement.max, agreement.mean) == pytest.approx((3e-5, 1e-5), abs=1e-12)


def test_disagreement_names_engine_tolerance_token_and_values() -> None:
    sampler, learner = np.array([-1.0, -2.0, -3.0]), np.array([-1.0, -2.5, -3.1])
    with pytest.raises(CheckFailedError) as failure:
        check_logprob_agreement(sampler, learner, 1e-4, "vllm", _describe)
    message = str(failure.value)
    for part in ("engine vllm", "tolerance 0.0001", "episode e7, token 1", "sampler -2,", "learner -2.5"):
        assert part in message


def test_in_bfloat16_the_mean_is_limited_and_no_single_token() -> None:
    # One token of four is off by 0.3: the mean is 0.075, and 1000 times the tolerance 0.1.
    sampler = np.array([-1.0, -2.0, -3.0, -9.0])
    agreement = check_mean_agreement(sampler, sampler + np.array([0, 0, 0, 0.3]), 1e-4, "engine", _describe)
    assert (agreement.max, agreement.mean) == pytest.approx((0.3, 0.075), abs=1e-9)
    with pytest.raises(
        CheckFailedError, match=r"bfloat16: mean difference 0\.12 .* allowed is a mean of 0\.1"
    ):
        check_mean_agreement(sampler, sampler + 0.12, 1e-4, "engine", _describe)
    with pytest.raises(CheckFailedError, match="difference nan"):
        check_mean_agreement(sampler, np.array([-1.0, np.nan, -3.0, -9.0]), 1e-4, "engine", _describe)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_disagree(wrong: float) -> None:
    good = np.array([-1.0, -2.0])
    with pytest.raises(CheckFailedError, match="token 1"):
        check_logprob_agreement(good, np.array([-1.0, wrong]), 1e9, "vllm", _describe)
    with pytest.raises(CheckFailedError, match="token 1"):
        check_logprob_agreement(np.array([-1.0, wrong]), np.array([-1.0, wrong]), 1e9, "vllm", _describe)


def test_agreement_of_other_lengths_and_of_nothing() -> None:
    with pytest.raises(CheckFailedError, match="same action tokens"):
        check_logprob_agreement(np.zeros(2), np.zeros(1), 1e-4, "vllm", _describe)
    assert check_logprob_agreement(np.zeros(0), np.zeros(0), 1e-4, "vllm", _describe).max == 0.0


def test_same_actions() -> None:
    ids = np.array([5, 6, 7], dtype=np.int32)
    check_same_actions(ids, ids.copy())
    with pytest.raises(CheckFailedError, match=r"1 of 3 .* action token 2: id 7 against 8"):
        check_same_actions(ids, np.array([5, 6, 8], dtype=np.int32))
    with pytest.raises(CheckFailedError, match="episode e7, token 0"):
        check_same_actions(ids, np.array([0, 6, 8], dtype=np.int32), _describe)
    with pytest.raises(CheckFailedError, match="has 3 action tokens, the teacher's 2"):
        check_same_actions(ids, ids[:2])


def test_skills_arrive() -> None:
    check_skills_arrive(np.array([1, 2, 3]), np.array([1, 9, 2, 3]), "e7")
    check_skills_arrive(np.array([1, 2, 3]), np.array([1, 9, 3]), "e7")
    with pytest.raises(CheckFailedError, match="skills were retrieved for episode e7, but"):
        check_skills_arrive(np.array([1, 2, 3]), np.array([1, 2, 3]), "e7")


def test_teacher_effect() -> None:
    check_teacher_effect(np.array([0.0, 1e-3]))
    check_teacher_effect(np.zeros(0))
    with pytest.raises(CheckFailedError, match="all 3 teacher-student gaps are 0"):
        check_teacher_effect(np.zeros(3))
    with pytest.raises(CheckFailedError, match="no effect"):
        check_teacher_effect(np.array([2e-6, -1e-6]))
    with pytest.raises(CheckFailedError, match=r"1 of 2 .* not finite, first nan at action token 1"):
        check_teacher_effect(np.array([0.5, np.nan]))


def test_a_healthy_round_has_no_warnings() -> None:
    assert warnings_for([_report(), _report()], 0.3, SdarConfig(), 1.0) == []
    assert warnings_for([], 0.3, SdarConfig(), 1.0) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"clip_share": 0.5}, "clipped tokens is 0.5, above 0.3"),
        ({"clip_share": float("nan")}, "clipped tokens is nan"),
        ({"entropy": 1e-5}, "normalised entropy is 1e-05"),
        ({"entropy": 0.95}, "normalised entropy is 0.95"),
        ({"entropy": float("nan")}, "normalised entropy is nan"),
        ({"drift": 0.3}, "KL from the policy that sampled is 0.3, above 0.2"),
        ({"gap_mean": -2.5}, "mean gap is -2.5, outside [-2, 2]"),
        ({"gap_std": 6.0}, "standard deviation of the gap is 6, above 5"),
        ({"gradient_norm": 250.0}, "gradient norm before the clip is 250, above 200"),
        ({"gate_share": 1.0}, "gates above 0.5 is 1"),
        ({"gate_share": 0.0}, "gates above 0.5 is 0"),
    ],
)
def test_one_warning_for_one_figure(changes: dict[str, Any], sentence: str) -> None:
    (warning,) = warnings_for([_report(**changes)], 0.3, SdarConfig(gate="gap"), max_gradient_norm=2.0)
    assert sentence in warning


def test_warnings_about_groups_and_skipped_steps() -> None:
    (groups,) = warnings_for([_report()], 0.9, SdarConfig(), 1.0)
    assert groups == (
        "The share of groups with equal returns is 0.9, above 0.8: rewards hardly teach any more."
    )
    (invalid,) = warnings_for([_report()], 0.3, SdarConfig(), 1.0, invalid_share=0.6)
    assert "invalid actions is 0.6, above 0.5" in invalid
    # A skipped step has no figures worth judging.
    skipped = _report(skipped=True, gradient_norm=float("nan"), entropy=float("nan"))
    (warning,) = warnings_for([_report(), skipped], 0.3, SdarConfig(), 1.0)
    assert "skipped for a non-finite gradient is 0.5" in warning


def test_the_gate_is_judged_only_where_it_can_fall_on_both_sides() -> None:
    report = _report(gate_share=1.0)
    assert warnings_for([report], 0.3, SdarConfig(gate="entropy"), 1.0) == []
    assert warnings_for([report], 0.3, SdarConfig(gate="gap", coefficient=0.0), 1.0) == []
    centred = _report(gate_share=0.006, gate_mean=0.0)  # what a healthy round of sdar_centred has
    assert warnings_for([centred], 0.3, SdarConfig(gate="centred_gap", divergence="sampled"), 1.0) == []


def test_the_gap_is_judged_only_where_it_enters_the_loss() -> None:
    report = _report(gap_mean=-9.0, gap_std=9.0)
    assert len(warnings_for([report], 0.3, SdarConfig(), 1.0)) == 2
    assert warnings_for([report], 0.3, SdarConfig(coefficient=0.0), 1.0) == []
