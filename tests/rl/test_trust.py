"""The teacher's lead, worked out by hand."""

from __future__ import annotations

import pytest

from sdar.rl.trust import lead_share


def test_a_teacher_with_a_clear_lead() -> None:
    # T = 63/66, S = 41/130; variances 0.95455 * 0.04545 / 66 and 0.31538 * 0.68462 / 130, se 0.048146.
    assert lead_share(62, 64, 40, 128) == pytest.approx(
        (0.954545 - 0.315385 - 1.645 * 0.048146) / 0.684615, abs=1e-4
    )


def test_no_lead_no_trust() -> None:
    assert lead_share(20, 64, 40, 128) == 0.0
    assert lead_share(0, 64, 40, 128) == 0.0
    assert lead_share(24, 64, 40, 128) == 0.0  # 38 % against 31 % is within chance


def test_trust_falls_as_the_student_catches_up() -> None:
    shares = [lead_share(62, 64, wins, 128) for wins in (40, 80, 100, 112, 120, 126)]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.8
    assert shares[-1] == 0.0


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 4\], found 5"):
        lead_share(5, 4, 0, 1)
