from __future__ import annotations

from collections.abc import Callable
from math import log

import pytest
import torch
from torch import Tensor

from sdar.rl.divergences import (
    divergence,
    forward_kl,
    needs_vocabulary,
    reverse_kl,
    sampled,
    sampled_reverse_kl,
)
from sdar.schemas.config import Divergence

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


@pytest.mark.parametrize("term", [reverse_kl, forward_kl])
def test_exact_divergences_against_finite_differences(term: Callable[[Tensor, Tensor], Tensor]) -> None:
    teacher = _logits(1).log_softmax(-1)
    logits = _logits(2).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: term(z.log_softmax(-1), teacher), (logits,))


def test_sampled_against_finite_differences() -> None:
    logp = torch.tensor([-0.3, -1.2, -4.0], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([-0.1, -2.0, -0.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda z: sampled(z, teacher), (logp,))


@pytest.mark.parametrize("term", [reverse_kl, forward_kl])
def test_equal_policies_have_neither_divergence_nor_gradient(
    term: Callable[[Tensor, Tensor], Tensor],
) -> None:
    logits = _logits(3).requires_grad_()
    value = term(logits.log_softmax(-1), logits.detach().log_softmax(-1))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    torch.testing.assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-14)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-14)


def _expected_gradient(term: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
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


@pytest.mark.parametrize("name", ["sampled", "sampled_reverse_kl", "reverse_kl", "forward_kl"])
def test_the_teacher_gets_no_gradient(name: Divergence) -> None:
    student, teacher = _logits(6).requires_grad_(), _logits(7).requires_grad_()
    student_logprobs, teacher_logprobs = student.log_softmax(-1), teacher.log_softmax(-1)
    value = divergence(
        name, student_logprobs[:, 0], teacher_logprobs[:, 0], student_logprobs, teacher_logprobs
    )
    to_student, to_teacher = torch.autograd.grad(value.sum(), (student, teacher), allow_unused=True)
    assert to_student.abs().max() > 0
    assert to_teacher is None


@pytest.mark.parametrize("name", ["reverse_kl", "forward_kl"])
def test_exact_divergences_refuse_to_run_without_the_vocabulary(name: Divergence) -> None:
    assert needs_vocabulary(name)
    with pytest.raises(ValueError, match=f"{name} needs student_logprobs"):
        divergence(name, torch.zeros(2), torch.zeros(2), None, None)


@pytest.mark.parametrize("name", ["sampled", "sampled_reverse_kl"])
def test_sampled_divergences_do_without_the_vocabulary(name: Divergence) -> None:
    assert not needs_vocabulary(name)
    assert divergence(name, torch.zeros(2), torch.ones(2), None, None).shape == (2,)
