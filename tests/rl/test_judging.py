from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from sdar.rl.judging import (
    Auroc,
    auroc,
    consistencies,
    echo_warning,
    episode_returns,
    needs_judgement,
    needs_selection,
    score_ranks,
)
from sdar.schemas.config import RewardConfig, RunConfig


def test_consistency_by_hand() -> None:
    # Group 0 has the verdicts 1 2 3 9 | 4 5 6 7, median 4.5: three of four below it, three of four above.
    # Group 1 is 0 0 0 0 | 0 0 0 1, median 0: all tied is undecided; three halves and a whole make 2.5 of 4.
    verdicts = np.array([[1.0, 2, 3, 9], [4, 5, 6, 7], [0, 0, 0, 0], [0, 0, 0, 1]])
    assert consistencies(verdicts, [0, 0, 1, 1]) == [0.75, 0.75, 0.5, 0.625]


def test_an_episode_without_a_group_is_compared_with_the_round() -> None:
    # All six verdicts: 1 1 | 2 3 | 5 6, median 2.5.
    verdicts = np.array([[1.0, 1], [2, 3], [5, 6]])
    assert consistencies(verdicts, [0, 1, 2]) == [1.0, 0.5, 1.0]


@given(st.integers(1, 6), st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_consistency_has_no_direction_and_no_scale(n: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    # Eighths, so that no rounding breaks or makes a tie.
    verdicts = random.integers(-8, 9, (n, k)) / 8
    groups = random.integers(0, 3, n).tolist()
    found = consistencies(verdicts, groups)
    assert all(0.5 <= share <= 1 for share in found)
    assert consistencies(2 - 4 * verdicts, groups) == pytest.approx(found)


def test_auroc_by_hand() -> None:
    # Successes 3 and 1 against failures 2, 1 and 0: 3 beats all three; 1 ties with 1 and beats 0.
    found = auroc([3, 1, 2, 1, 0], [True, True, False, False, False])
    assert found is not None
    assert found.value == pytest.approx((3 + 1.5) / 6)
    assert found.low < found.value < found.high


def test_the_interval_by_hand() -> None:
    # One of each: (1 - a)^2 = z^2 a (1 - a), so a = 1 / (1 + z^2) = 1 / 4.8415, Wilson's for one of one.
    assert auroc([1, 0], [True, False]) == Auroc(1.0, pytest.approx(0.20655, abs=1e-5), 1.0)
    assert auroc([0, 1], [True, False]) == Auroc(0.0, 0.0, pytest.approx(0.79345, abs=1e-5))


def test_the_interval_is_near_that_of_hanley_and_mcneil_for_many_episodes() -> None:
    # Area 0.5 by symmetry, n = 200 of each: Q1 = Q2 = 1/3, variance (1/4 + 398 (1/3 - 1/4)) / 40000 =
    # 8.3542e-4, standard error 0.028903, half-width 0.05665. Newcombe's
    # interval takes the variance at its own ends, as Wilson's does, so the two are not quite the same.
    scores = np.concatenate([np.arange(200), np.arange(200)])
    found = auroc(scores, np.arange(400) < 200)
    assert found is not None
    assert found.value == 0.5
    assert (found.low, found.high) == pytest.approx((0.5 - 0.05665, 0.5 + 0.05665), abs=6e-4)


@given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=2, max_size=40))
def test_auroc_is_that_of_an_independent_implementation(pairs: list[tuple[int, bool]]) -> None:
    scores, success = [score for score, _ in pairs], [outcome for _, outcome in pairs]
    found = auroc(scores, success)
    if len(set(success)) < 2:
        assert found is None
        return
    assert found is not None
    assert found.value == pytest.approx(roc_auc_score(success, scores), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1
    turned = auroc([-score for score in scores], success)
    assert turned is not None
    assert (turned.value, turned.low) == pytest.approx((1 - found.value, 1 - found.high), abs=1e-9)


def test_the_echo_chamber_is_named_with_its_figures() -> None:
    sentence = echo_warning(Auroc(0.45, 0.3, 0.61))
    assert "Echo chamber" in sentence
    assert "AUROC 0.45 [0.30, 0.61], below 0.6" in sentence
    assert echo_warning(Auroc(0.6, 0.5, 0.7)) == echo_warning(None) == ""


def test_ranks_by_hand() -> None:
    # Places 0 and 3; the two ties share places 1 and 2.
    assert score_ranks([-1.0, -9.0, -1.0, 400.0]) == pytest.approx([0.5, 0.0, 0.5, 1.0])
    assert score_ranks([7.0]) == [0.5]
    assert score_ranks([2.0, 2.0, 2.0]) == pytest.approx([0.5] * 3)
    assert score_ranks([]) == []


def test_returns_of_every_source() -> None:
    environment, scores = [1.0, 0.0, 0.0], [-0.2, -0.5, 0.1]
    assert episode_returns(environment, None, RewardConfig()) == [1.0, 0.0, 0.0]
    assert episode_returns(environment, scores, RewardConfig(source="self")) == [0.5, 0.0, 1.0]
    mixed = RewardConfig(source="mixed", self_weight=0.2)
    assert episode_returns(environment, scores, mixed) == pytest.approx([0.9, 0.0, 0.2])


@pytest.mark.parametrize(("scores", "found"), [(None, "found none"), ([1.0], "found 1")])
def test_missing_scores_are_refused(scores: list[float] | None, found: str) -> None:
    with pytest.raises(ValueError, match=f"'self' needs 2 scores, {found}"):
        episode_returns([0.0, 1.0], scores, RewardConfig(source="self"))


@pytest.mark.parametrize(
    ("changes", "judgement", "selection"),
    [
        ({}, False, False),
        ({"reward": {"source": "self"}}, True, False),
        ({"reward": {"source": "mixed"}}, True, False),
        ({"reward": {"contexts": 8}}, False, False),
        ({"select": {"consistency": 0.75}}, True, True),
        ({"select": {"success": True}}, False, True),
        ({"select": {"length_quantile": 0.5}}, False, True),
        ({"select": {"return_quantile": 0.5}}, False, True),
    ],
)
def test_which_settings_need_which_stage(
    changes: dict[str, dict[str, object]], judgement: bool, selection: bool
) -> None:
    config = RunConfig.model_validate(changes)
    assert (needs_judgement(config), needs_selection(config)) == (judgement, selection)
