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
from sdar.schemas.config import WarmStartConfig
from sdar.schemas.counting import count
from sdar.schemas.errors import CheckFailedError


@dataclass(frozen=True)
class WarmStartProgress:
    """State after one optimiser step: mean loss per demonstrated token, in nats."""

    step: int
    steps: int
    loss: float


def rate_share(step: int, steps: int) -> float:
    """Return the share of the peak rate at a step: a linear rise over 5 %, then a cosine down to a tenth."""
    rise = max(1, steps // 20)
    if step < rise:
        return (step + 1) / rise
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


@dataclass(frozen=True)
class Lesson:
    """One demonstration: its row, and the weight of each scored token in the loss, [A]."""

    row: Row
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class _Paced:
    """An optimiser of some of the weights, with its highest learning rate."""

    optimiser: torch.optim.Optimizer
    peak: float

    def step(self, rate: float) -> None:
        """Update the weights at a share of the highest rate, and drop their gradients."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.peak * rate
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)


def warm_start(
    model: PreTrainedModel,
    batch: Callable[[int], Sequence[Lesson]],
    settings: WarmStartConfig,
    report: Callable[[WarmStartProgress], None],
) -> None:
    """Train a model in place on demonstrations.

    Args:
        model: the model, float32.
        batch: the lessons of an optimiser step.
        settings: number of steps, optimiser and its rates.
        report: called after every step.

    Raises:
        CheckFailedError: the loss is not finite.
    """
    optimisers = _optimisers(model, settings)
    model.train()
    for step in range(settings.steps):
        loss = _accumulate(model, batch(step))
        if not math.isfinite(loss):
            raise CheckFailedError(f"warm start: the loss is {loss} at step {step}; lower the learning rate")
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step(rate_share(step, settings.steps))
        report(WarmStartProgress(step + 1, settings.steps, loss))
        count(step + 1, settings.steps, "steps")
    model.train(mode=False)


def _optimisers(model: PreTrainedModel, settings: WarmStartConfig) -> list[_Paced]:
    """Return AdamW for all weights, or Muon for the matrices of the blocks and AdamW for the others.

    Source of Muon: Jordan et al. 2024; it is for matrices that map hidden states to hidden states.
    """
    blocks = list[torch.nn.Parameter]()
    if settings.optimizer == "muon":
        blocks = [weight for weight in model.get_decoder().layers.parameters() if weight.ndim == 2]  # type: ignore[no-untyped-call]
    known = {id(weight) for weight in blocks}
    others = [weight for weight in model.parameters() if id(weight) not in known]
    adamw = torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.01)
    found = [_Paced(adamw, settings.learning_rate)]
    if blocks:
        found.append(_Paced(torch.optim.Muon(blocks, weight_decay=0.01), settings.muon_rate))
    return found


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
