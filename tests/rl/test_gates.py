from __future__ import annotations

from math import exp, log
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


STUDENT = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
TEACHER = torch.tensor([[0.25, 0.5, 0.25]], dtype=torch.float64).log()


def test_the_centred_gate_hand_worked() -> None:
    # At beta 1 the gate is pi_T / (pi_T + pi): 1/3, 2/3, 1/2, on average 1/6 + 1/6 + 1/8 = 11/24.
    for token, expected in enumerate([1 / 3 - 11 / 24, 2 / 3 - 11 / 24, 1 / 2 - 11 / 24]):
        gap = (TEACHER - STUDENT)[:, token]
        weight = gate("centred_gap", gap, torch.zeros(1), 1.0, STUDENT, TEACHER)
        assert float(weight) == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 1000), st.floats(0, 20))
def test_the_centred_gate_is_zero_on_average_over_the_student(seed: int, beta: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, 1, 6, dtype=torch.float64, generator=draw).log_softmax(-1)
    gap = (teacher - student)[0]
    weight = gate("centred_gap", gap, torch.zeros(6), beta, student.expand(6, 6), teacher.expand(6, 6))
    assert float((student[0].exp() * weight).sum()) == pytest.approx(0.0, abs=1e-12)
    # The likelier the teacher finds a token beside the student, the larger its weight.
    assert weight[gap.argmax()] >= weight[gap.argmin()]


def test_the_centred_gate_needs_the_tables() -> None:
    with pytest.raises(ValueError, match="centred_gap needs student_logprobs"):
        gate("centred_gap", torch.zeros(1), torch.zeros(1), 5.0, STUDENT, None)


@pytest.mark.parametrize("name", NAMES)
def test_gates_carry_no_gradient(name: Gate) -> None:
    gap = torch.tensor([log(0.5)], requires_grad=True)
    entropy = torch.tensor([0.2], requires_grad=True)
    assert not gate(name, gap, entropy, 5.0, STUDENT.clone().requires_grad_(), TEACHER).requires_grad


@pytest.mark.parametrize("name", ["gap", "entropy", "soft_or"])
def test_beta_zero_is_the_half_gate(name: Gate) -> None:
    gap, entropy = torch.tensor([-3.0, 4.0]), torch.tensor([0.1, 0.9])
    assert gate(name, gap, entropy, 0.0).tolist() == gate("half", gap, entropy, 7.0).tolist()


@given(
    st.sampled_from([name for name in NAMES if name != "centred_gap"]),
    st.floats(-1e4, 1e4),
    st.floats(0, 1),
    st.floats(0, 100),
)
def test_gates_stay_in_the_unit_interval(name: Gate, gap: float, entropy: float, beta: float) -> None:
    weight = float(gate(name, torch.tensor([gap]), torch.tensor([entropy]), beta)[0])
    assert 0.0 <= weight <= 1.0
