from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import exp, log
from typing import get_args

import pytest
import torch
from torch import Tensor

from sdar.rl.divergences import (
    divergence,
    forward_kl,
    jsd,
    k3,
    k3_estimate,
    needs_vocabulary,
    reverse_kl,
    sampled,
    sampled_reverse_kl,
    top_k,
)
from sdar.schemas.config import Divergence, Gate, SdarConfig

Term = Callable[[Tensor, Tensor], Tensor]
EXACT: tuple[Term, ...] = (reverse_kl, forward_kl, partial(jsd, weight=0.3))

STUDENT = torch.tensor([[0.5, 0.25, 0.25], [0.2, 0.3, 0.5], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)
TEACHER = torch.tensor([[0.25, 0.5, 0.25], [0.2, 0.3, 0.5], [0.5, 0.25, 0.25]], dtype=torch.float64)


def _logits(seed: int) -> Tensor:
    return torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_sampled_terms_hand_worked() -> None:
    logp = torch.tensor([log(0.5), log(0.25), log(0.2)])
    teacher = torch.tensor([log(0.25), log(0.25), log(0.8)])
    # Gaps -ln 2, 0 and ln 4.
    torch.testing.assert_close(sampled(logp, teacher), torch.tensor([-log(2), 0.0, log(4)]))
    expected = torch.tensor([log(2) * log(0.5), 0.0, -log(4) * log(0.2)])
    torch.testing.assert_close(sampled_reverse_kl(logp, teacher), expected)


def test_exact_divergences_hand_worked() -> None:
    # Row 0, reverse: .5 ln 2 + .25 ln .5 = .25 ln 2; forward: .25 ln .5 + .5 ln 2 = .25 ln 2.
    # Row 1: equal. Row 2, reverse: (ln 2/3 + 2 ln 4/3) / 3 = ln(32/27) / 3;
    # forward: .5 ln 3/2 + 2 x .25 ln 3/4 = .5 ln 9/8.
    reverse = torch.tensor([0.25 * log(2), 0.0, log(32 / 27) / 3], dtype=torch.float64)
    forward = torch.tensor([0.25 * log(2), 0.0, 0.5 * log(9 / 8)], dtype=torch.float64)
    torch.testing.assert_close(reverse_kl(STUDENT.log(), TEACHER.log()), reverse, rtol=0, atol=1e-12)
    torch.testing.assert_close(forward_kl(STUDENT.log(), TEACHER.log()), forward, rtol=0, atol=1e-12)


def test_jensen_shannon_hand_worked() -> None:
    # One outcome each, weight 1/4 on the teacher: the mixture is (3/4, 1/4), so 1/4 ln 4 + 3/4 ln 4/3.
    student = torch.tensor([[1.0, 1e-300]], dtype=torch.float64).log()
    teacher = torch.tensor([[1e-300, 1.0]], dtype=torch.float64).log()
    apart = torch.tensor([0.25 * log(4) + 0.75 * log(4 / 3)], dtype=torch.float64)
    torch.testing.assert_close(jsd(student, teacher, 0.25), apart, rtol=0, atol=1e-12)
    # Rows of STUDENT and TEACHER at weight 1/2. Row 0: mixture 3/8, 3/8, 1/4, and both sides are
    # 1/2 ln 4/3 + 1/4 ln 2/3. Row 1: equal.
    value = jsd(STUDENT.log(), TEACHER.log(), 0.5)
    torch.testing.assert_close(float(value[0]), 0.5 * log(4 / 3) + 0.25 * log(2 / 3), rtol=0, atol=1e-12)
    assert float(value[1]) == pytest.approx(0.0, abs=1e-12)


def test_jensen_shannon_is_symmetric_at_one_half_and_bounded() -> None:
    student, teacher = (20 * _logits(8)).log_softmax(-1), (20 * _logits(9)).log_softmax(-1)
    there, back = jsd(student, teacher, 0.5), jsd(teacher, student, 0.5)
    torch.testing.assert_close(there, back, rtol=0, atol=1e-12)
    assert 0.1 < float(there.max()) <= log(2)


def test_k3_hand_worked_and_clamped() -> None:
    logp = torch.tensor([log(0.25), log(0.5), -50.0], dtype=torch.float64, requires_grad=True)
    value = k3_estimate(logp, torch.tensor([log(0.5), log(0.5), 0.0], dtype=torch.float64))
    # d = ln 2: 2 - ln 2 - 1; d = 0: 0; d = 50, held at 10: e^10 - 11.
    expected = torch.tensor([1 - log(2), 0.0, exp(10) - 11], dtype=torch.float64)
    torch.testing.assert_close(value.detach(), expected)
    (gradient,) = torch.autograd.grad(value.sum(), logp)
    # d k3 / d logp = 1 - e^d: -1, 0, and 0 where clamped.
    torch.testing.assert_close(gradient, torch.tensor([-1.0, 0.0, 0.0], dtype=torch.float64))


def test_weighted_k3_hand_worked() -> None:
    logp = torch.tensor([log(0.25), log(0.5), -50.0], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([log(0.5), log(0.25), -50.0], dtype=torch.float64)
    value = k3(logp, old, torch.tensor([log(0.5), log(0.25), 0.0], dtype=torch.float64))
    # Ratios 1/2, 2, 1; d = ln 2, -ln 2, and 50 held at 10.
    far = exp(10) - 11
    expected = torch.tensor([0.5 * (1 - log(2)), 2 * (log(2) - 0.5), far], dtype=torch.float64)
    torch.testing.assert_close(value.detach(), expected)
    (gradient,) = torch.autograd.grad(value.sum(), logp)
    # rho (k3 + 1 - e^d) = -rho d: the score-function form; where clamped only rho moves.
    expected = torch.tensor([-0.5 * log(2), 2 * log(2), far], dtype=torch.float64)
    torch.testing.assert_close(gradient, expected)


def test_top_k_hand_worked() -> None:
    student = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64).log()
    teacher = torch.tensor([[0.3, 0.1, 0.5, 0.1]], dtype=torch.float64).log()
    tables = top_k(student, teacher, 2)
    # The teacher's likeliest are tokens 2 and 0; the student gives them 0.3 and 0.1 and 0.6 to the rest.
    torch.testing.assert_close(tables.teacher.exp(), torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64))
    torch.testing.assert_close(tables.student.exp(), torch.tensor([[0.3, 0.1, 0.6]], dtype=torch.float64))


def test_a_tail_below_the_rounding_of_one_keeps_its_digits() -> None:
    # The others hold e^-40 each: one minus the likeliest token's mass would be 0, its log minus infinity.
    logits = torch.tensor([[0.0, -40.0, -40.0, -41.0]], requires_grad=True)
    tables = top_k(logits.log_softmax(-1), logits.log_softmax(-1), 1)
    assert float(tables.student[0, 1].detach()) == pytest.approx(-40 + log(2 + exp(-1)), abs=1e-4)
    (gradient,) = torch.autograd.grad(forward_kl(tables.student, tables.teacher).sum(), logits)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("term", EXACT)
def test_merging_tokens_never_adds_divergence(term: Term) -> None:
    student, teacher = (3 * _logits(8)).log_softmax(-1), (3 * _logits(9)).log_softmax(-1)
    whole = term(student, teacher)
    merged = [top_k(student, teacher, k) for k in (1, 2, 3, 4)]
    values = torch.stack([term(each.student, each.teacher) for each in merged])
    assert (values >= -1e-12).all()
    assert (values <= whole + 1e-12).all()
    assert (values[0] < whole - 1e-3).any()
    torch.testing.assert_close(values[-1], whole)


@pytest.mark.parametrize("term", EXACT)
def test_exact_divergences_against_finite_differences(term: Term) -> None:
    teacher = _logits(1).log_softmax(-1)
    logits = _logits(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: term(z.log_softmax(-1), teacher), (logits,))


def test_sampled_against_finite_differences() -> None:
    logp = torch.tensor([-0.3, -1.2, -4.0], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([-0.1, -2.0, -0.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: sampled(z, teacher), (logp,))


@pytest.mark.parametrize("term", EXACT)
def test_equal_policies_have_neither_divergence_nor_gradient(term: Term) -> None:
    logits = _logits(3).requires_grad_()
    value = term(logits.log_softmax(-1), logits.detach().log_softmax(-1))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-14)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-14)


def _expected_gradient(term: Term) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean gradient of a sampled term over all tokens of the student, its logits, the teacher."""
    logits, teacher = _logits(4).requires_grad_(), _logits(5).log_softmax(-1)
    logprobs = logits.log_softmax(-1)
    # Weighing every token by its (constant) probability is the expectation over sampling.
    value = (logprobs.exp().detach() * term(logprobs, teacher)).sum()
    (gradient,) = torch.autograd.grad(value, logits)
    return gradient, logits, teacher


def test_the_published_term_pulls_nowhere_on_average() -> None:
    gradient, _, _ = _expected_gradient(sampled)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-14)


def test_the_sampled_reverse_kl_is_an_unbiased_estimate_of_the_exact_gradient() -> None:
    gradient, logits, teacher = _expected_gradient(sampled_reverse_kl)
    (exact,) = torch.autograd.grad(reverse_kl(logits.log_softmax(-1), teacher).sum(), logits)
    assert exact.abs().max() > 0.1
    torch.testing.assert_close(gradient, exact, rtol=0, atol=1e-12)


def test_weighted_k3_is_an_unbiased_estimate_of_the_reverse_kl_and_its_gradient() -> None:
    logits, old, teacher = (
        _logits(4).requires_grad_(),
        _logits(10).log_softmax(-1),
        _logits(5).log_softmax(-1),
    )
    logprobs = logits.log_softmax(-1)
    # Tokens drawn from the old policy, which is not the present one.
    value = (old.exp() * k3(logprobs, old, teacher)).sum()
    (gradient,) = torch.autograd.grad(value, logits)
    exact = reverse_kl(logits.log_softmax(-1), teacher).sum()
    (expected,) = torch.autograd.grad(exact, logits)
    assert float(value.detach()) == pytest.approx(float(exact.detach()), abs=1e-12)
    torch.testing.assert_close(gradient, expected, rtol=0, atol=1e-12)


def test_k3_without_the_ratio_has_the_gradient_of_the_other_direction() -> None:
    gradient, logits, teacher = _expected_gradient(k3_estimate)
    (forward,) = torch.autograd.grad(forward_kl(logits.log_softmax(-1), teacher).sum(), logits)
    torch.testing.assert_close(gradient, forward, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", get_args(Divergence))
def test_the_teacher_gets_no_gradient(name: Divergence) -> None:
    student, teacher = _logits(6).requires_grad_(), _logits(7).requires_grad_()
    student_logprobs, teacher_logprobs = student.log_softmax(-1), teacher.log_softmax(-1)
    sdar, logp, old = SdarConfig(divergence=name, top_k=2), student_logprobs[:, 0], torch.zeros(3)
    value = divergence(sdar, logp, old, teacher_logprobs[:, 0], student_logprobs, teacher_logprobs)
    to_student, to_teacher = torch.autograd.grad(value.sum(), (student, teacher), allow_unused=True)
    assert to_student.abs().max() > 0
    assert to_teacher is None


@pytest.mark.parametrize("name", ["reverse_kl", "forward_kl", "jsd"])
def test_exact_divergences_refuse_to_run_without_the_vocabulary(name: Divergence) -> None:
    with pytest.raises(ValueError, match=f"{name} needs student_logprobs"):
        divergence(SdarConfig(divergence=name), *[torch.zeros(2)] * 3, None, None)


@pytest.mark.parametrize("name", ["sampled", "sampled_reverse_kl", "k3"])
def test_sampled_divergences_do_without_the_vocabulary(name: Divergence) -> None:
    value = divergence(SdarConfig(divergence=name), *[torch.zeros(2)] * 3, None, None)
    assert value.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "gate", "coefficient", "needed"),
    [
        ("reverse_kl", "none", 0.1, True),
        ("forward_kl", "entropy", 0.1, True),
        ("jsd", "gap", 0.1, True),
        ("sampled", "centred_gap", 0.1, True),
        ("sampled", "gap", 0.1, False),
        ("sampled_reverse_kl", "soft_or", 0.1, False),
        ("k3", "none", 0.1, False),
        ("forward_kl", "centred_gap", 0.0, False),
    ],
)
def test_what_needs_the_vocabulary(name: Divergence, gate: Gate, coefficient: float, needed: bool) -> None:
    assert needs_vocabulary(SdarConfig(divergence=name, gate=gate, coefficient=coefficient)) is needed
