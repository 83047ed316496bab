"""Supervised warm start: likelihood of demonstrated actions, and a little of all other tokens."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import PreTrainedModel

from sdar.policy.scoring import Row, forward_rows, log_distribution
from sdar.schemas.errors import CheckFailedError


@dataclass(frozen=True)
class WarmStartProgress:
    """State after one optimiser step: mean loss per demonstrated token, in nats."""

    step: int
    steps: int
    loss: float


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Return the rate at a step: linear rise over the first 5 %, then cosine down to a tenth of the peak."""
    rise = max(1, steps // 20)
    if step < rise:
        return peak * (step + 1) / rise
    return peak * (0.1 + 0.45 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))))


@dataclass(frozen=True)
class Lesson:
    """One demonstration: its row, and the weight of each scored token in the loss, [A]."""

    row: Row
    weights: NDArray[np.float32]


def warm_start(
    model: PreTrainedModel,
    batch: Callable[[int], Sequence[Lesson]],
    steps: int,
    peak_rate: float,
    report: Callable[[WarmStartProgress], None],
) -> None:
    """Train a model in place on demonstrations.

    Args:
        model: the model, float32.
        batch: the lessons of an optimiser step.
        steps: optimiser steps.
        peak_rate: highest AdamW learning rate.
        report: called after every step.

    Raises:
        CheckFailedError: the loss is not finite.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=peak_rate, betas=(0.9, 0.98), weight_decay=0.01)
    model.train()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, steps, peak_rate)
        loss = _accumulate(model, batch(step))
        if not math.isfinite(loss):
            raise CheckFailedError(f"warm start: the loss is {loss} at step {step}; lower the learning rate")
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        report(WarmStartProgress(step + 1, steps, loss))
    model.train(mode=False)


def _accumulate(model: PreTrainedModel, lessons: Sequence[Lesson]) -> float:
    """Add up the gradient of one step; return the mean loss of the tokens of weight 1, the actions."""
    total = sum(float(lesson.weights.sum()) for lesson in lessons)
    loss_sum = count = 0.0
    for packed in forward_rows(model, [lesson.row for lesson in lessons]):
        weights = torch.from_numpy(np.concatenate([lessons[i].weights for i in packed.rows]))
        losses = functional.nll_loss(log_distribution(model, packed.hidden), packed.targets, reduction="none")
        loss = (losses * weights.to(losses.device)).sum() / total
        loss.backward()  # type: ignore[no-untyped-call]
        actions = weights == 1
        loss_sum += float(losses.detach().cpu()[actions].sum())
        count += float(actions.sum())
    return loss_sum / max(count, 1.0)
