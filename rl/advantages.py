"""Group-relative advantages: how much better an episode did than the other attempts at its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sdar.schemas.records import Episode

FLAT = 1e-6
"""Figures that differ by no more than this count as equal: rounding alone can make that difference."""


@dataclass(frozen=True)
class GroupAdvantages:
    """Advantages of one round.

    `advantages` [N] has the dtype of the returns; `zero_spread_groups` of the `groups` groups had equal
    returns (or one episode only) and so teach nothing through the policy loss.
    """

    advantages: Tensor
    zero_spread_groups: int
    groups: int


def group_advantages(
    returns: Tensor,
    groups: Tensor,
    normalize_std: bool,
    eps: float = FLAT,
    weights: Tensor | None = None,
) -> GroupAdvantages:
    """Return each episode's return relative to its group: `(R - mean) / (std + eps)`.

    Args:
        returns: [N] float, return of each episode after any penalty.
        groups: [N] int, group of each episode; any labels, in any order.
        normalize_std: divide by the group's unbiased standard deviation; False is Dr.GRPO.
        eps: added to the deviation. Returns of a group that differ by no more than this count as equal,
            since rounding alone can make that difference.
        weights: [N] int, at least 0: how many rows each episode has. Mean and deviation are taken as if
            its return occurred that often; None counts every episode once.

    Returns:
        The advantages; exactly 0 in a group of one and in a group with equal returns, never NaN.

    Raises:
        ValueError: `returns`, `groups` and `weights` are not vectors of one length.

    Source:
        GRPO, arXiv 2402.03300, section 4.1; without the division, Dr.GRPO, arXiv 2503.20783. Weights by
        rows are what the public code of SDAR, arXiv 2605.15155, does.
    """
    if returns.dim() != 1 or returns.shape != groups.shape:
        raise ValueError(f"returns {tuple(returns.shape)} and groups {tuple(groups.shape)} must both be [N]")
    if weights is not None and weights.shape != returns.shape:
        raise ValueError(f"weights {tuple(weights.shape)} must be [N] like returns {tuple(returns.shape)}")
    advantages = torch.zeros(len(returns), dtype=torch.float64, device=returns.device)
    labels = sorted(set(groups.tolist()))
    flat = 0
    for label in labels:
        members = groups == label
        values = returns[members].double()
        counted = values if weights is None else values.repeat_interleave(weights[members])
        if not counted.numel() or counted.max() - counted.min() <= eps:
            flat += 1
            continue
        centred = values - counted.mean()
        advantages[members] = centred / (counted.std() + eps) if normalize_std else centred
    return GroupAdvantages(advantages.to(returns.dtype), zero_spread_groups=flat, groups=len(labels))


def penalized_returns(returns: Tensor, invalid_share: Tensor, penalty: float) -> Tensor:
    """Return the episode returns less `penalty` times the share of invalid turns.

    Apply it before the group statistics, so that the penalty is relative to the group like the return is.

    Args:
        returns: [N] float, return of each episode.
        invalid_share: [N] float in [0, 1], share of the episode's turns whose action was not valid.
        penalty: what a wholly invalid episode loses, in units of return.
    """
    return returns - penalty * invalid_share


def penalized_episodes(episodes: Sequence[Episode], returns: Sequence[float], penalty: float) -> Tensor:
    """Return what the group statistics are taken of, [N]: returns less the penalty for invalid turns.

    Args:
        episodes: N episodes.
        returns: [N], what each is worth.
        penalty: what a wholly invalid episode loses, in units of return.
    """
    invalid = [
        float(np.mean([not turn.valid for turn in episode.turns])) if episode.turns else 0.0
        for episode in episodes
    ]
    return penalized_returns(torch.tensor(returns), torch.tensor(invalid), penalty)
