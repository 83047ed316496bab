"""The weights that the optimiser steps: those of the model, or float32 copies of them in lower precision.

A step of 1e-6 is lost when it is added to a bfloat16 weight, which has 8 binary digits. So the optimiser
keeps a float32 copy of every such weight, sums up the gradients in float32, and rounds the copies into the
model after each step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel


def trained_weights(model: PreTrainedModel) -> list[torch.Tensor]:
    """Return the weights of a model that get a gradient, in a fixed order."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def master_copies(weights: Iterable[torch.Tensor]) -> list[torch.Tensor]:
    """Return float32 weights as they are, and of all others a float32 copy to be optimised in their place."""
    return [
        weight if weight.dtype == torch.float32 else weight.detach().float().requires_grad_()
        for weight in weights
    ]


@dataclass(frozen=True)
class Masters:
    """The model's weights and, in the same order, what the optimiser steps in their place.

    Where a weight is float32 both are the same tensor, and nothing here does anything to it.
    """

    weights: list[torch.Tensor]
    masters: list[torch.Tensor]

    def collect(self) -> None:
        """Move the gradients of one pass into the copies, where they are added up in float32."""
        for weight, master in self._pairs():
            if weight.grad is not None:
                gradient = weight.grad.float()
                master.grad = gradient if master.grad is None else master.grad.add_(gradient)
                weight.grad = None

    def clear(self) -> None:
        """Forget all gradients."""
        for tensor in (*self.weights, *self.masters):
            tensor.grad = None

    def round_back(self) -> None:
        """Round the copies into the model."""
        with torch.no_grad():
            for weight, master in self._pairs():
                weight.copy_(master)

    def _pairs(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        pairs = zip(self.weights, self.masters, strict=True)
        return [(weight, master) for weight, master in pairs if weight is not master]
