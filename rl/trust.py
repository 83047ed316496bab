"""How far a teacher is worth following: what it was seen to do better than the student."""

from __future__ import annotations

from math import sqrt

from sdar.schemas.config import SdarConfig

# One-sided 95 %: a lead that chance explains easily counts as none.
CERTAIN = 1.645
FOLLOWED = 0.1
"""From this trust on the teacher is the main source of what is learnt, below it the reward."""


def needs_trial(sdar: SdarConfig) -> bool:
    """Say whether the teacher is tried, because lambda depends on how well it acts."""
    return sdar.coefficient > 0 and sdar.trust == "lead"


def lead_share(teacher_wins: int, teacher_trials: int, student_wins: int, student_trials: int) -> float:
    """Return the share of the student's failures that the teacher is sure to mend, in [0, 1].

    It is `(T - S - 1.645 se) / (1 - S)`, where T and S are the success rates, each with one success and one
    failure added, and `se` is the standard error of their difference; nothing below 0 counts. A teacher that
    retrieval fails gets nothing, and a teacher that the student has caught up with gets less and less.

    Args:
        teacher_wins: episodes in which the teacher, acting by itself, reached the goal.
        teacher_trials: how many it played.
        student_wins: the same for the student.
        student_trials: the same for the student.

    Raises:
        ValueError: more wins than trials, or fewer than none.
    """
    for wins, trials in ((teacher_wins, teacher_trials), (student_wins, student_trials)):
        if not 0 <= wins <= trials:
            raise ValueError(f"wins must lie in [0, {trials}], found {wins}")
    teacher, student = (teacher_wins + 1) / (teacher_trials + 2), (student_wins + 1) / (student_trials + 2)
    error = sqrt(
        teacher * (1 - teacher) / (teacher_trials + 2) + student * (1 - student) / (student_trials + 2)
    )
    return max(0.0, (teacher - student - CERTAIN * error) / (1 - student))
