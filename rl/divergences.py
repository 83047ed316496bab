"""Per-token self-distillation terms: what pulls the student towards the teacher.

N counts action tokens, V is the vocabulary size. Log-probs are natural logarithms. The teacher never gets
a gradient. Log-probs must be finite: a log-softmax of finite logits is.
"""

from __future__ import annotations

from torch import Tensor

from sdar.schemas.config import Divergence


def sampled(logp: Tensor, logp_teacher: Tensor) -> Tensor:
    """Return `logp_teacher - logp` on the sampled tokens.

    Its gradient is `-grad logp` whatever the teacher thinks: only the gate, which multiplies it, knows the
    teacher's opinion.

    Args:
        logp: [N], student log-prob of the sampled token, with gradient.
        logp_teacher: [N], teacher log-prob of the same token.

    Source:
        SDAR, arXiv 2605.15155, as published.
    """
    return logp_teacher.detach() - logp


def sampled_reverse_kl(logp: Tensor, logp_teacher: Tensor) -> Tensor:
    """Return `-(logp_teacher - logp) * logp` with the bracket held constant.

    On tokens sampled from the student its expected gradient is that of the reverse KL at the position. The
    value itself is not a divergence.

    Args:
        logp: [N], student log-prob of the sampled token, with gradient.
        logp_teacher: [N], teacher log-prob of the same token.

    Source:
        OPSD, arXiv 2601.18734, policy-gradient form.
    """
    return -(logp_teacher - logp).detach() * logp


def reverse_kl(student_logprobs: Tensor, teacher_logprobs: Tensor) -> Tensor:
    """Return `KL(student || teacher)` over the whole vocabulary, [N] in nats.

    Args:
        student_logprobs: [N, V], normalised log-probs with gradient.
        teacher_logprobs: [N, V], normalised log-probs.

    Source:
        SDPO, arXiv 2601.20802; OPSD, arXiv 2601.18734.
    """
    return (student_logprobs.exp() * (student_logprobs - teacher_logprobs.detach())).sum(-1)


def forward_kl(student_logprobs: Tensor, teacher_logprobs: Tensor) -> Tensor:
    """Return `KL(teacher || student)` over the whole vocabulary, [N] in nats.

    Args:
        student_logprobs: [N, V], normalised log-probs with gradient.
        teacher_logprobs: [N, V], normalised log-probs.

    Source:
        OPSD, arXiv 2601.18734.
    """
    teacher = teacher_logprobs.detach()
    return (teacher.exp() * (teacher - student_logprobs)).sum(-1)


def needs_vocabulary(name: Divergence) -> bool:
    """Return whether the divergence reads log-probs of the whole vocabulary."""
    return name in ("reverse_kl", "forward_kl")


def divergence(
    name: Divergence,
    logp: Tensor,
    logp_teacher: Tensor,
    student_logprobs: Tensor | None,
    teacher_logprobs: Tensor | None,
) -> Tensor:
    """Return the per-token term [N] of the named divergence.

    Args:
        name: which divergence.
        logp: [N], student log-prob of the sampled token, with gradient.
        logp_teacher: [N], teacher log-prob of the same token.
        student_logprobs: [N, V], read by `reverse_kl` and `forward_kl` only.
        teacher_logprobs: [N, V], read by `reverse_kl` and `forward_kl` only.

    Raises:
        ValueError: the divergence needs the whole vocabulary and it was not given.
    """
    if name == "sampled":
        return sampled(logp, logp_teacher)
    if name == "sampled_reverse_kl":
        return sampled_reverse_kl(logp, logp_teacher)
    if student_logprobs is None or teacher_logprobs is None:
        raise ValueError(f"divergence {name} needs student_logprobs and teacher_logprobs of shape [N, V]")
    exact = reverse_kl if name == "reverse_kl" else forward_kl
    return exact(student_logprobs, teacher_logprobs)
