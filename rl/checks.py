"""Checks that every round must pass, and warnings about rounds that pass but look unwell."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdar.schemas.config import SdarConfig
from sdar.schemas.errors import CheckFailedError
from sdar.schemas.records import UpdateReport

# Re-packing the same row moves an fp32 log-prob by about this much; a skill that is read moves it far more.
ROUNDING = 1e-5
# The mean difference of log-probs allowed in bfloat16, in multiples of the limit on the largest in float32.
# A pretrained model of 135 M weights has a mean of 0.045; a temperature of 0.95 instead of 1 makes it 0.12.
BFLOAT16_TOLERANCE = 1000

# Warning bands, each a round's mean over its optimiser steps.
MOST_ZERO_SPREAD = 0.8  # share of groups without spread: the policy loss sees almost nothing
MOST_INVALID = 0.5  # share of turns that the environment could not read: the policy lost its language
MOST_CLIPPED = 0.3  # share of clipped tokens: the policy left the data that it learns from
MOST_DRIFT = 0.2  # KL from the policy that sampled, nats a token: the steps are too large for their data
GAP_BAND = (-2.0, 2.0)  # mean gap, nats a token: student and teacher speak of different things
MOST_GAP_DEVIATION = 5.0  # its standard deviation: a few tokens decide the term
GATE_BAND = (0.02, 0.98)  # share of gates above 0.5: outside, the gate no longer tells tokens apart
ENTROPY_BAND = (1e-3, 0.9)  # normalised entropy: samples all alike, or close to noise
MOST_GRADIENT = 100.0  # gradient norm before the clip, in multiples of update.max_gradient_norm


@dataclass(frozen=True)
class LogprobAgreement:
    """Absolute difference of sampler and learner log-probs over all action tokens, in nats."""

    max: float
    mean: float


def check_logprob_agreement(
    sampler: NDArray[np.floating[Any]],
    learner: NDArray[np.floating[Any]],
    tolerance: float,
    engine: str,
    describe: Callable[[int], str],
) -> LogprobAgreement:
    """Return how well the sampler's log-probs agree with the learner's at the weights that sampled.

    Args:
        sampler: [N], log-probs that the sampling engine reported for the action tokens.
        learner: [N], the same tokens scored by the learner at the same temperature.
        tolerance: largest difference allowed, in nats.
        engine: name of the sampling engine, for the message.
        describe: names token i for the message, for instance its episode, turn and text.

    Raises:
        CheckFailedError: a difference is above the tolerance or not a number, or the lengths differ.
    """
    if sampler.shape != learner.shape:
        raise CheckFailedError(
            f"engine {engine} reported log-probs of shape {sampler.shape}, the learner {learner.shape}; they "
            "must cover the same action tokens. Collect the round again: sdar stage collect --round N --force"
        )
    if sampler.size == 0:
        return LogprobAgreement(0.0, 0.0)
    with np.errstate(invalid="ignore"):  # inf - inf is reported below as a failure
        difference = np.abs(sampler.astype(np.float64) - learner.astype(np.float64))
    worst = int(np.argmax(np.where(np.isnan(difference), np.inf, difference)))
    if not difference[worst] <= tolerance:
        raise CheckFailedError(
            f"engine {engine} and the learner disagree about log-probs: largest difference "
            f"{difference[worst]:.3g}, tolerance {tolerance:g}. Worst token: {describe(worst)}, sampler "
            f"{sampler[worst]:.6g}, learner {learner[worst]:.6g}; mean difference {difference.mean():.3g} "
            f"over {sampler.size} tokens. Other weights, another temperature or another precision sampled. "
            "Collect again at the current weights (sdar stage collect --round N --force); for a "
            "low-precision engine raise checks.logprob_tolerance."
        )
    return LogprobAgreement(float(difference.max()), float(difference.mean()))


def check_mean_agreement(
    sampler: NDArray[np.floating[Any]],
    learner: NDArray[np.floating[Any]],
    tolerance: float,
    engine: str,
    describe: Callable[[int], str],
) -> LogprobAgreement:
    """Return the same as `check_logprob_agreement` for a bfloat16 policy, of which the mean is limited.

    Its numbers have 8 binary digits, and the sampler adds them up in another order than the learner: single
    unlikely tokens may differ by tenths of a nat, while a fault, such as other weights, moves them all.

    Args:
        sampler: [N], as there.
        learner: [N], as there.
        tolerance: as there; the mean difference may be `BFLOAT16_TOLERANCE` times that, in nats.
        engine: as there.
        describe: as there.

    Raises:
        CheckFailedError: the mean difference is above the limit, or a difference is not a number.
    """
    agreement = check_logprob_agreement(sampler, learner, sys.float_info.max, engine, describe)
    limit = BFLOAT16_TOLERANCE * tolerance
    if not agreement.mean <= limit:
        raise CheckFailedError(
            f"engine {engine} and the learner disagree about log-probs in bfloat16: mean difference "
            f"{agreement.mean:.3g} over {sampler.size} tokens, largest {agreement.max:.3g}; allowed is a "
            f"mean of {limit:g}. Other weights or another temperature sampled, or the model needs float32. "
            "Collect again at the current weights (sdar stage collect --round N --force), or begin with "
            f"policy.dtype=float32 or checks.logprob_tolerance={2 * agreement.mean / BFLOAT16_TOLERANCE:.1g}."
        )
    return agreement


def check_same_actions(
    student_ids: NDArray[np.integer[Any]],
    teacher_ids: NDArray[np.integer[Any]],
    describe: Callable[[int], str] = "action token {}".format,
) -> None:
    """Check that the teacher's row holds exactly the action tokens of the student's row.

    Args:
        student_ids: [A] int, action tokens of the student's row in order.
        teacher_ids: [A] int, action tokens of the teacher's row in order.
        describe: names action token i for the message.

    Raises:
        CheckFailedError: the lengths or an id differ.
    """
    if student_ids.shape != teacher_ids.shape:
        raise CheckFailedError(
            f"the student's row has {student_ids.size} action tokens, the teacher's {teacher_ids.size}; they "
            "must be the same tokens. Build the contexts again: sdar stage retrieve --round N --force"
        )
    differing = np.flatnonzero(student_ids != teacher_ids)
    if differing.size:
        first = int(differing[0])
        raise CheckFailedError(
            f"{differing.size} of {student_ids.size} action tokens differ between student and teacher, first "
            f"{describe(first)}: id {student_ids[first]} against {teacher_ids[first]}; they must be equal. "
            "Build the contexts again: sdar stage retrieve --round N --force"
        )


def check_skills_arrive(
    student_ids: NDArray[np.integer[Any]], teacher_ids: NDArray[np.integer[Any]], episode: str
) -> None:
    """Check that the teacher reads something else than the student, whatever the weights of the two are.

    Args:
        student_ids: [S] int, the student's row.
        teacher_ids: [T] int, the teacher's row of the same tokens, with skills in its prompt.
        episode: named in the message.

    Raises:
        CheckFailedError: the rows are equal.
    """
    if np.array_equal(student_ids, teacher_ids):
        raise CheckFailedError(
            f"skills were retrieved for episode {episode}, but the teacher's row is the student's, token by "
            "token: they do not reach the teacher. Build the contexts again: sdar stage retrieve --round N "
            "--force"
        )


def check_teacher_effect(gap: NDArray[np.floating[Any]]) -> None:
    """Check that the skill block changes what the teacher thinks of the actions.

    Args:
        gap: [N], teacher minus student log-prob of every action token of the round, in nats. Empty passes.

    Raises:
        CheckFailedError: every gap is 0 up to fp32 rounding, or a gap is not a finite number.
    """
    wrong = np.flatnonzero(~np.isfinite(gap))
    if wrong.size:
        raise CheckFailedError(
            f"{wrong.size} of {gap.size} teacher-student gaps are not finite, first {gap[wrong[0]]} at "
            f"action token {wrong[0]}; all must be. The weights may have diverged: lower "
            "update.learning_rate and go on from an earlier round, see sdar status"
        )
    if gap.size and np.abs(gap).max() <= ROUNDING:
        raise CheckFailedError(
            f"all {gap.size} teacher-student gaps are 0 (largest {np.abs(gap).max():.1g}): the skill block "
            "has no effect on the teacher. Look at what was retrieved (skills.path, skills.strategy, "
            "skills.threshold, skills.budget), then: sdar stage retrieve --round N --force"
        )


def warnings_for(
    reports: Sequence[UpdateReport],
    zero_spread_share: float,
    sdar: SdarConfig,
    max_gradient_norm: float,
    invalid_share: float = 0.0,
) -> list[str]:
    """Return one sentence for each figure of a round that lies outside its band.

    The bands are the constants above. They are wide: a warning means "look", not "wrong".

    Args:
        reports: the optimiser steps of one round.
        zero_spread_share: share in [0, 1] of the round's groups whose returns were all equal; 0 where the
            loss reads no advantage.
        sdar: gate and lambda; the gate is judged only if it is in use and falls on both sides of 0.5 when all
            is well: `centred_gap` lies around 0, the others that are left out never below 0.5.
        max_gradient_norm: the gradient clip of the run.
        invalid_share: share in [0, 1] of the round's turns whose action the environment could not read.
    """
    taken = [report for report in reports if not report.skipped]
    found = [
        _above(
            "share of groups with equal returns",
            zero_spread_share,
            MOST_ZERO_SPREAD,
            "rewards hardly teach any more",
        ),
        _above("share of invalid actions", invalid_share, MOST_INVALID),
        _above("share of optimiser steps skipped for a non-finite gradient", _skipped(reports), 0.0),
    ]
    if taken:
        found += _of_steps(taken, sdar, max_gradient_norm)
    return [sentence for sentence in found if sentence is not None]


def _of_steps(taken: Sequence[UpdateReport], sdar: SdarConfig, max_gradient_norm: float) -> list[str | None]:
    def mean(name: str) -> float:
        return float(np.mean([getattr(report, name) for report in taken]))

    found = [
        _above("share of clipped tokens", mean("clip_share"), MOST_CLIPPED),
        _above("KL from the policy that sampled", mean("drift"), MOST_DRIFT),
        _outside("normalised entropy", mean("entropy"), ENTROPY_BAND),
        _above("gradient norm before the clip", mean("gradient_norm"), MOST_GRADIENT * max_gradient_norm),
    ]
    if sdar.coefficient > 0:
        found += [
            _outside("mean gap", mean("gap_mean"), GAP_BAND),
            _above("standard deviation of the gap", mean("gap_std"), MOST_GAP_DEVIATION),
        ]
    if sdar.coefficient > 0 and sdar.gate in ("gap", "soft_or"):
        found.append(_outside("share of gates above 0.5", mean("gate_share"), GATE_BAND))
    return found


def _skipped(reports: Sequence[UpdateReport]) -> float:
    return sum(report.skipped for report in reports) / max(len(reports), 1)


def _above(what: str, value: float, most: float, meaning: str = "") -> str | None:
    if value <= most:  # written so that NaN warns too
        return None
    return f"The {what} is {value:.3g}, above {most:g}{f': {meaning}' if meaning else ''}."


def _outside(what: str, value: float, band: tuple[float, float]) -> str | None:
    low, high = band
    return None if low <= value <= high else f"The {what} is {value:.3g}, outside [{low:g}, {high:g}]."
