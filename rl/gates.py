"""Gates on the self-distillation term: how far to trust the teacher on each token."""

from __future__ import annotations

import torch
from torch import Tensor

from sdar.schemas.config import Gate


def gate(
    name: Gate,
    gap: Tensor,
    entropy: Tensor,
    beta: float,
    student_logprobs: Tensor | None = None,
    teacher_logprobs: Tensor | None = None,
) -> Tensor:
    """Return the weight of each token's self-distillation term, without gradient.

    | name | weight |
    |---|---|
    | `gap` | `sigmoid(beta * gap)`: trust the teacher where it finds the token more likely |
    | `entropy` | `sigmoid(beta * entropy)`: trust it where the student is unsure; at least 0.5 |
    | `soft_or` | `sigmoid(beta * (1 - (1 - entropy) * (1 - gap)))`: either of the two |
    | `centred_gap` | `gap` less its mean over the tokens that the student could have sampled there |
    | `none` | 1 |
    | `half` | 0.5, which `gap` gives at beta = 0 |

    Args:
        name: which gate.
        gap: [N], teacher minus student log-prob of the sampled token, in nats.
        entropy: [N] in [0, 1], student entropy divided by log(vocabulary size).
        beta: sharpness, at least 0.
        student_logprobs: [N, V], read by `centred_gap` only.
        teacher_logprobs: [N, V], likewise.

    Returns:
        [N] in [0, 1], of `centred_gap` in [-1, 1]; detached.

    Raises:
        ValueError: `centred_gap` was asked for without the two tables.

    Source:
        SDAR, arXiv 2605.15155, gated self-distillation. `centred_gap` is ours; `none` and `half` are for
        ablation.
    """
    gap, entropy = gap.detach(), entropy.detach()
    if name == "gap":
        return torch.sigmoid(beta * gap)
    if name == "centred_gap":
        return torch.sigmoid(beta * gap) - expected_gap_gate(beta, student_logprobs, teacher_logprobs)
    if name == "entropy":
        return torch.sigmoid(beta * entropy)
    if name == "soft_or":
        return torch.sigmoid(beta * (1 - (1 - entropy) * (1 - gap)))
    return torch.full_like(gap, 1.0 if name == "none" else 0.5)


def expected_gap_gate(
    beta: float, student_logprobs: Tensor | None, teacher_logprobs: Tensor | None
) -> Tensor:
    """Return the mean of the `gap` gate over the student's distribution at each position, detached.

    It is the baseline that makes the gate of a sampled token zero on average, so that the `sampled` term
    praises and blames tokens by the teacher's opinion of them relative to the others.

    Args:
        beta: sharpness, at least 0.
        student_logprobs: [N, V], normalised log-probs.
        teacher_logprobs: [N, V], normalised log-probs.

    Returns:
        [N] in [0, 1].

    Raises:
        ValueError: a table is missing.
    """
    if student_logprobs is None or teacher_logprobs is None:
        raise ValueError("gate centred_gap needs student_logprobs and teacher_logprobs of shape [N, V]")
    student, teacher = student_logprobs.detach(), teacher_logprobs.detach()
    return (student.exp() * torch.sigmoid(beta * (teacher - student))).sum(-1)
