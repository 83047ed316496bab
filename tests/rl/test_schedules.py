from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar.rl.schedules import scheduled
from sdar.schemas.config import Schedule


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [1, 1, 1, 1, 1, 1]),
        # Rounds 1 to 6 of a schedule over 4: 0, 1/4, 1/2, 3/4, 1 and more of the way.
        ("linear", [1, 0.75, 0.5, 0.25, 0, 0]),
        # (1 + cos) / 2 of 0, 45, 90, 135 and 180 degrees.
        ("cosine", [1, (1 + sqrt(0.5)) / 2, 0.5, (1 - sqrt(0.5)) / 2, 0, 0]),
    ],
)
def test_schedules_hand_worked(schedule: Schedule, expected: list[float]) -> None:
    found = [scheduled(schedule, 4, round_number) for round_number in range(1, 7)]
    assert found == pytest.approx(expected, abs=1e-12)


@given(st.sampled_from(["linear", "cosine"]), st.integers(1, 100), st.integers(1, 200))
def test_a_falling_schedule_never_rises_and_stays_in_the_unit_interval(
    schedule: Schedule, rounds: int, round_number: int
) -> None:
    now, later = scheduled(schedule, rounds, round_number), scheduled(schedule, rounds, round_number + 1)
    assert 0.0 <= later <= now <= 1.0
    assert (later < now) == (round_number <= rounds)
