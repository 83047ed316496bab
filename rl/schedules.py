"""How a coefficient falls with the rounds."""

from __future__ import annotations

from math import cos, pi

from sdar.schemas.config import Schedule


def scheduled(schedule: Schedule, rounds: int, round_number: int) -> float:
    """Return the share of a coefficient that is in force in a round.

    Args:
        schedule: `constant` is always 1; `linear` and `cosine` fall from 1 to 0.
        rounds: a falling schedule is 1 in round 1 and 0 from round `rounds + 1` on; at least 1.
        round_number: counted from 1.

    Returns:
        A number in [0, 1].
    """
    if schedule == "constant":
        return 1.0
    done = min(max(round_number - 1, 0) / rounds, 1.0)
    return 1 - done if schedule == "linear" else (1 + cos(pi * done)) / 2
