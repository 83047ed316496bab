from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar.rl.credit import CREDITS, CreditInputs, step_returns, token_advantages, turn_beliefs
from sdar.schemas.config import AdvantageConfig, Credit


def episode(
    advantage: float = 1.0,
    gaps: tuple[tuple[float, ...], ...] = ((0.0,), (0.0,)),
    observations: tuple[str, ...] = ("hall", "kitchen"),
    rewards: tuple[float, ...] = (0.0, 0.0),
    group: int = 0,
    success_rate: float = 0.5,
) -> CreditInputs:
    """Return an episode whose `gaps` are listed turn by turn."""
    return CreditInputs(
        advantage=advantage,
        group=group,
        success_rate=success_rate,
        observations=observations,
        rewards=np.array(rewards),
        turn=np.array([turn for turn, tokens in enumerate(gaps) for _ in tokens], dtype=np.int32),
        gap=np.array([gap for tokens in gaps for gap in tokens], dtype=np.float32),
    )


def spread(one: CreditInputs, config: AdvantageConfig, round_number: int = 1) -> list[float]:
    return [float(value) for value in token_advantages([one], config, round_number)[0]]


def test_every_credit_has_a_rule() -> None:
    assert set(CREDITS) == set(get_args(Credit))


def test_episode_credit_is_the_advantage_on_every_token() -> None:
    assert spread(episode(-0.5, ((1.0, 2.0), (3.0,))), AdvantageConfig()) == [-0.5, -0.5, -0.5]


def test_step_returns_hand_worked() -> None:
    # 4; 2 + 0.5 x 4; 1 + 0.5 x 4.
    assert step_returns(np.array([1.0, 2.0, 4.0]), 0.5).tolist() == [3.0, 4.0, 4.0]
    assert step_returns(np.zeros(0), 0.5).tolist() == []


ANCHOR = AdvantageConfig(credit="anchor", credit_weight=2.0, discount=0.5, normalize_std=False)


def test_anchor_hand_worked() -> None:
    episodes = [
        # From the hall 0 + 0.5 x 1, from the kitchen 1.
        episode(1.0, ((0.0, 0.0), (0.0,)), ("hall", "kitchen"), (0.0, 1.0)),
        # From the hall, seen twice, 0 and 0.
        episode(-1.0, ((0.0,), (0.0,)), ("hall", "hall"), (0.0, 0.0)),
        # The same texts in another group stand alone.
        episode(0.5, ((0.0,), (0.0,)), ("hall", "kitchen"), (0.0, 8.0), group=1),
    ]
    found = [tokens.tolist() for tokens in token_advantages(episodes, ANCHOR, 1)]
    # Hall: 0.5, 0, 0 with mean 1/6. The kitchen has one member.
    assert found[0] == pytest.approx([1 + 2 / 3, 1 + 2 / 3, 1.0])
    assert found[1] == pytest.approx([-1 - 1 / 3, -1 - 1 / 3])
    assert found[2] == [0.5, 0.5]
    # With the deviation: variance (1/9 + 2/36) / 2 = 1/12.
    scaled = token_advantages(episodes, ANCHOR.model_copy(update={"normalize_std": True}), 1)
    assert scaled[0].tolist() == pytest.approx([1 + 2 / 3 * sqrt(12)] * 2 + [1.0], rel=1e-5)


def test_anchor_adds_nothing_where_the_returns_from_a_place_are_equal() -> None:
    same = [episode(advantage, rewards=(0.0, 1.0)) for advantage in (1.0, -1.0)]
    assert [tokens.tolist() for tokens in token_advantages(same, ANCHOR, 1)] == [[1.0, 1.0], [-1.0, -1.0]]


RATIO = AdvantageConfig(credit="teacher_ratio", credit_share=0.5, credit_clip=0.2)


@pytest.mark.parametrize(
    ("advantage", "gap", "expected"),
    [
        # Half of the advantage is weighted: 2 (1/2 + 1/2 e^gap), the factor held in [0.8, 1.2].
        (2.0, log(1.1), 2.1),
        (2.0, log(2.0), 2.2),
        (2.0, -3.0, 1.8),
        # What the teacher finds likelier is blamed less: e^-gap.
        (-2.0, log(1.1), -2 * (0.5 + 0.5 / 1.1)),
        (-2.0, 3.0, -1.8),
        (-2.0, -3.0, -2.2),
        (0.0, 3.0, 0.0),
        # Neither overflows nor warns.
        (2.0, 5000.0, 2.2),
        (2.0, -5000.0, 1.8),
    ],
)
def test_teacher_ratio_hand_worked(advantage: float, gap: float, expected: float) -> None:
    assert spread(episode(advantage, ((gap,), ())), RATIO) == pytest.approx([expected], abs=1e-6)


def test_the_share_falls_to_nothing_over_its_rounds() -> None:
    falling = RATIO.model_copy(update={"credit_rounds": 4})
    factors = [spread(episode(1.0, ((9.0,), ())), falling, number)[0] for number in (1, 2, 3, 5, 99)]
    # 1 + share x 0.2 with shares 1/2, 3/8, 1/4, 0, 0.
    assert factors == pytest.approx([1.1, 1.075, 1.05, 1.0, 1.0], abs=1e-6)
    assert spread(episode(1.0, ((9.0,), ())), RATIO, 99) == pytest.approx([1.1], abs=1e-6)


def test_beliefs_hand_worked() -> None:
    # Odds 1: evidence ln 3, then half of it kept plus ln 3 / 2: both make the odds 3.
    assert turn_beliefs(np.array([log(3), log(3) / 2]), 0.5, 0.5) == pytest.approx([0.5, 0.75, 0.75])
    # The first belief stays off 0 and 1; evidence of any size keeps it a probability.
    assert turn_beliefs(np.array([1e5, -1e6]), 1.0, 1.0) == pytest.approx([0.95, 1.0, 0.0])
    assert turn_beliefs(np.zeros(1), 0.0, 0.9) == pytest.approx([0.05, 0.05])


BELIEF = AdvantageConfig(credit="turn_belief", credit_share=0.5, credit_clip=0.2, discount=1.0)


def test_turn_belief_hand_worked() -> None:
    # From 0.5: the first turn's tokens add ln 3 (to 0.75), the second's take 2 ln 3 away (to 0.25).
    moving = ((log(3) / 2, log(3) / 2), (-2 * log(3),))
    # Moves 1/4 and -1/2 have mean -1/8 and deviation 3/8: scores 1 and -1, factors 1.2 and 0.8, halved.
    assert spread(episode(2.0, moving), BELIEF) == pytest.approx([2.2, 2.2, 1.8], abs=1e-6)
    # A failure blames the turn that moved the belief down.
    assert spread(episode(-2.0, moving), BELIEF) == pytest.approx([-1.8, -1.8, -2.2], abs=1e-6)


def test_turn_belief_bounds_the_outlier() -> None:
    # Five turns of which one moves: scores 2 and -1/2, factors 1.4 held at 1.2 and 0.9.
    gaps = ((1.0,), (0.0,), (0.0,), (0.0,), (0.0,))
    one = episode(1.0, gaps, ("a", "b", "c", "d", "e"), (0.0,) * 5)
    assert spread(one, BELIEF) == pytest.approx([1.1] + [0.95] * 4, abs=1e-6)


@pytest.mark.parametrize("gaps", [((0.0,), (0.0,)), ((0.0, 0.0), ())])
def test_turns_that_move_nothing_share_alike(gaps: tuple[tuple[float, ...], ...]) -> None:
    assert spread(episode(0.7, gaps), BELIEF) == pytest.approx([0.7, 0.7], abs=1e-7)


def test_the_first_turn_starts_from_the_groups_success() -> None:
    gaps = ((1.0,), (1.0,))
    sure, unsure = (spread(episode(1.0, gaps, success_rate=rate), BELIEF) for rate in (0.95, 0.05))
    # Near certainty the first turn moves the belief more than the second, far from it less.
    assert sure[0] > 1 > sure[1]
    assert unsure[0] < 1 < unsure[1]


@given(
    st.sampled_from(["teacher_ratio", "turn_belief"]),
    st.floats(-3, 3),
    st.lists(st.lists(st.floats(-50, 50), max_size=3), min_size=1, max_size=5),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_the_sign_stays_and_factors_stay_in_the_clip(
    credit: Credit, advantage: float, gaps: list[list[float]], clip: float, share: float
) -> None:
    config = AdvantageConfig(credit=credit, credit_clip=clip, credit_share=share)
    turns = len(gaps)
    one = episode(advantage, tuple(map(tuple, gaps)), ("x",) * turns, (0.0,) * turns, success_rate=0.3)
    for value in spread(one, config):
        assert abs(value - advantage) <= abs(advantage) * clip * share + 1e-5
        assert value * advantage >= 0


@pytest.mark.parametrize("credit", get_args(Credit))
def test_episodes_without_turns_and_rounds_without_episodes(credit: Credit) -> None:
    config = AdvantageConfig(credit=credit)
    assert token_advantages([], config, 1) == []
    empty = episode(1.0, (), (), ())
    found = token_advantages([empty, episode(0.5)], config, 1)
    assert [tokens.tolist() for tokens in found] == [[], [0.5, 0.5]]


def test_lengths_that_disagree_are_refused() -> None:
    with pytest.raises(ValueError, match="one for each turn"):
        replace(episode(), rewards=np.zeros(3))
    with pytest.raises(ValueError, match=r"must both be \[A\]"):
        replace(episode(), gap=np.zeros(3, dtype=np.float32))


def test_full_credit_of_the_ratio_is_the_ratio() -> None:
    config = RATIO.model_copy(update={"credit_share": 1.0, "credit_clip": 1.0})
    assert spread(episode(1.0, ((-0.5, 0.5), ())), config) == pytest.approx([exp(-0.5), exp(0.5)], abs=1e-6)
