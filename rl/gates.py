"""Gates on the self-distillation term: how far to trust the teacher on each token."""

from __future__ import annotations

import torch
from torch import Tensor

from sdar.schemas.config import Gate


def gate(name: Gate, gap: Tensor, entropy: Tensor, beta: float) -> Tensor:
    """Return the weight of each token's self-distillation term, without gradient.

    | name | weight |
    |---|---|
    | `gap` | `sigmoid(beta * gap)`: trust the teacher where it finds the token more likely |
    | `entropy` | `sigmoid(beta * entropy)`: trust it where the student is unsure; at least 0.5 |
    | `soft_or` | `sigmoid(beta * (1 - (1 - entropy) * (1 - gap)))`: either of the two |
    | `none` | 1 |
    | `half` | 0.5, which `gap` gives at beta = 0 |

    Args:
        name: which gate.
        gap: [N], teacher minus student log-prob of the sampled token, in nats.
        entropy: [N] in [0, 1], student entropy divided by log(vocabulary size).
        beta: sharpness, at least 0.

    Returns:
        [N] in [0, 1], detached.

    Source:
        SDAR, arXiv 2605.15155, gated self-distillation. `none` and `half` are for ablation.
    """
    gap, entropy = gap.detach(), entropy.detach()
    if name == "gap":
        return torch.sigmoid(beta * gap)
    if name == "entropy":
        return torch.sigmoid(beta * entropy)
    if name == "soft_or":
        return torch.sigmoid(beta * (1 - (1 - entropy) * (1 - gap)))
    return torch.full_like(gap, 1.0 if name == "none" else 0.5)
