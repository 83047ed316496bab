"""Per-token self-distillation terms: what pulls the student towards the teacher.

N counts action tokens, V is the vocabulary size. Log-probs are natural logarithms. The teacher never gets
a gradient. Log-probs must be finite: a log-softmax of finite logits is.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from sdar.schemas.config import SdarConfig

VOCABULARY_DIVERGENCES = ("reverse_kl", "forward_kl", "jsd")

# Beyond this log-ratio the k3 estimate is held constant: exp would explode.
KL_CLAMP = 10.0


@dataclass(frozen=True)
class Restricted:
    """Student and teacher over the same k + 1 outcomes, [N, k + 1] log-probs; the last is all the rest."""

    student: Tensor
    teacher: Tensor


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


def k3_estimate(logp: Tensor, logp_reference: Tensor) -> Tensor:
    """Return the non-negative estimate `e^d - d - 1` of the KL to the reference, `d = logp_reference - logp`.

    Args:
        logp: [N], with gradient.
        logp_reference: [N]; `d` is clamped to +-10, so beyond that the gradient is 0.

    Source:
        GRPO, arXiv 2402.03300, equation 4.
    """
    d = (logp_reference.detach() - logp).clamp(-KL_CLAMP, KL_CLAMP)
    return d.exp() - d - 1


def k3(logp: Tensor, logp_old: Tensor, logp_teacher: Tensor) -> Tensor:
    """Return `rho (e^d - d - 1)` with `d = logp_teacher - logp` and `rho = exp(logp - logp_old)`.

    The tokens were drawn from the old policy, so the mean of `rho f` is the sum over the vocabulary of
    `pi f`, and as `rho` keeps its gradient, the mean of the gradient is the gradient of that sum. For this
    `f` the sum is `sum pi_T + KL(pi || pi_T) - sum pi = KL(pi || pi_T)`, so value and gradient are both
    unbiased. On fresh samples the value is so without `rho` too, but its mean gradient would be that of
    `KL(pi_T || pi)`, the other direction.

    Args:
        logp: [N], student log-prob of the sampled token, with gradient.
        logp_old: [N], log-prob that the sampler reported.
        logp_teacher: [N], teacher log-prob; `d` is clamped to +-10, where only `rho` has a gradient left.

    Source:
        Skill-SD, arXiv 2604.10674: the k3 estimate weighted by the importance ratio.
    """
    return (logp - logp_old.detach()).exp() * k3_estimate(logp, logp_teacher)


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


def jsd(student_logprobs: Tensor, teacher_logprobs: Tensor, weight: float) -> Tensor:
    """Return the Jensen-Shannon divergence `w KL(teacher || m) + (1 - w) KL(student || m)`, [N] in nats.

    `m = w teacher + (1 - w) student` moves with the student; as all three sum to 1, what that adds to the
    gradient cancels. Unlike the two KLs the divergence is bounded, by ln 2 at w = 1/2, so one token that
    either side finds impossible cannot dominate.

    Args:
        student_logprobs: [N, V], normalised log-probs with gradient.
        teacher_logprobs: [N, V], normalised log-probs.
        weight: share of the teacher in the mixture, in (0, 1).

    Source:
        GKD, arXiv 2306.13649, equation 1; OPSD, arXiv 2601.18734.
    """
    teacher = teacher_logprobs.detach()
    mixture = torch.logaddexp(teacher + log(weight), student_logprobs + log(1 - weight))
    return weight * forward_kl(mixture, teacher) + (1 - weight) * (
        student_logprobs.exp() * (student_logprobs - mixture)
    ).sum(-1)


def top_k(student_logprobs: Tensor, teacher_logprobs: Tensor, k: int) -> Restricted:
    """Return both distributions over the teacher's k likeliest tokens and one entry for all others.

    The mass of the others is summed in the log domain from their own log-probs. One minus the mass of the k
    would lose all digits where the k hold nearly everything. A divergence of the result is at most that of
    the whole tables.

    Args:
        student_logprobs: [N, V], normalised log-probs with gradient.
        teacher_logprobs: [N, V], normalised log-probs.
        k: tokens kept, at least 1; with k >= V the tables are returned as they are.

    Source:
        SDPO, arXiv 2601.20802, top-k distillation with a tail. There the student's likeliest tokens are kept;
        the teacher's are where a forward KL has its mass, and do not change while the student learns.
    """
    teacher_logprobs = teacher_logprobs.detach()
    if k >= teacher_logprobs.shape[-1]:
        return Restricted(student_logprobs, teacher_logprobs)
    kept = teacher_logprobs.topk(k, dim=-1).indices

    def restrict(table: Tensor) -> Tensor:
        tail = table.scatter(-1, kept, -torch.inf).logsumexp(-1, keepdim=True)
        return torch.cat([table.gather(-1, kept), tail], dim=-1)

    return Restricted(restrict(student_logprobs), restrict(teacher_logprobs))


def needs_vocabulary(sdar: SdarConfig) -> bool:
    """Return whether the term is on and reads the student's and the teacher's whole distributions."""
    over_vocabulary = sdar.divergence in VOCABULARY_DIVERGENCES or sdar.gate == "centred_gap"
    return sdar.coefficient > 0 and over_vocabulary


def divergence(
    sdar: SdarConfig,
    logp: Tensor,
    logp_old: Tensor,
    logp_teacher: Tensor,
    student_logprobs: Tensor | None,
    teacher_logprobs: Tensor | None,
) -> Tensor:
    """Return the per-token term [N] of the configured divergence.

    Args:
        sdar: which divergence, the teacher's share in `jsd`, and how much of the vocabulary.
        logp: [N], student log-prob of the sampled token, with gradient.
        logp_old: [N], log-prob that the sampler reported; read by `k3` only.
        logp_teacher: [N], teacher log-prob of the same token.
        student_logprobs: [N, V], read by `reverse_kl`, `forward_kl` and `jsd` only.
        teacher_logprobs: [N, V], likewise.

    Raises:
        ValueError: the divergence needs the whole vocabulary and it was not given.
    """
    name = sdar.divergence
    if name == "sampled":
        return sampled(logp, logp_teacher)
    if name == "sampled_reverse_kl":
        return sampled_reverse_kl(logp, logp_teacher)
    if name == "k3":
        return k3(logp, logp_old, logp_teacher)
    if student_logprobs is None or teacher_logprobs is None:
        raise ValueError(f"divergence {name} needs student_logprobs and teacher_logprobs of shape [N, V]")
    tables = Restricted(student_logprobs, teacher_logprobs)
    if sdar.top_k:
        tables = top_k(student_logprobs, teacher_logprobs, sdar.top_k)
    if name == "jsd":
        return jsd(tables.student, tables.teacher, sdar.jsd_weight)
    exact = reverse_kl if name == "reverse_kl" else forward_kl
    return exact(tables.student, tables.teacher)
