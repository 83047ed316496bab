from __future__ import annotations

from math import exp
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdar.rl.gates import gate
from sdar.schemas.config import Gate

NAMES: tuple[Gate, ...] = get_args(Gate)


def _sigma(x: float) -> float:
    return 1 / (1 + exp(-x))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # gap 0, 1, -2; entropy 0, 0.5, 1; beta 2.
        ("gap", [0.5, _sigma(2.0), _sigma(-4.0)]),
        ("entropy", [0.5, _sigma(1.0), _sigma(2.0)]),
        # 1 - (1 - h)(1 - gap): 1 - 1 x 1 = 0; 1 - 0.5 x 0 = 1; 1 - 0 x 3 = 1.
        ("soft_or", [0.5, _sigma(2.0), _sigma(2.0)]),
        ("none", [1.0, 1.0, 1.0]),
        ("half", [0.5, 0.5, 0.5]),
    ],
)
def test_gates_hand_worked(name: Gate, expected: list[float]) -> None:
    weight = gate(name, torch.tensor([0.0, 1.0, -2.0]), torch.tensor([0.0, 0.5, 1.0]), beta=2.0)
    torch.testing.assert_close(weight, torch.tensor(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_gates_carry_no_gradient(name: Gate) -> None:
    gap = torch.tensor([0.3], requires_grad=True)
    entropy = torch.tensor([0.2], requires_grad=True)
    assert not gate(name, gap, entropy, 5.0).requires_grad


@pytest.mark.parametrize("name", ["gap", "entropy", "soft_or"])
def test_beta_zero_is_the_half_gate(name: Gate) -> None:
    gap, entropy = torch.tensor([-3.0, 4.0]), torch.tensor([0.1, 0.9])
    assert gate(name, gap, entropy, 0.0).tolist() == gate("half", gap, entropy, 7.0).tolist()


@given(st.sampled_from(NAMES), st.floats(-1e4, 1e4), st.floats(0, 1), st.floats(0, 100))
def test_gates_stay_in_the_unit_interval(name: Gate, gap: float, entropy: float, beta: float) -> None:
    weight = float(gate(name, torch.tensor([gap]), torch.tensor([entropy]), beta)[0])
    assert 0.0 <= weight <= 1.0
