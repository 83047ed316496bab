"""One update on several devices: each rank keeps a part of every weight and learns from a part of the rows.

FSDP2 gathers the weights of a layer for as long as it runs, adds up the gradients of all ranks and leaves
each rank its part of the sum. Parts of the loss are additive and know the size of the whole mini-batch, so
sums, not means, give what one device would have computed.

Source:
    PyTorch FSDP, arXiv 2304.11277; `torch.distributed.fsdp.fully_shard` is its second version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MethodType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import (
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from sdar.policy.scoring import pack

Item = TypeVar("Item")


@dataclass(frozen=True)
class Rank:
    """One of `count` processes that share an update; `number` is in [0, count)."""

    number: int = 0
    count: int = 1


ALONE = Rank()


def deal(lengths: Sequence[int], tokens: int, rank: Rank) -> list[list[int]]:
    """Return which rows a rank learns from, pass by pass; an empty pass is one that it runs for the others.

    Rows are dealt out longest first, so that the ranks get about as many tokens each. Every rank has to run
    as many passes as the one with the most of them: all take part when weights are gathered.

    Args:
        lengths: [R], tokens of each row.
        tokens: padded tokens of a pass, as for `pack`.
        rank: whose share.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    shares = [order[number :: rank.count] for number in range(rank.count)]
    passes = [
        [[mine[i] for i in group] for group in pack([lengths[i] for i in mine], tokens)] for mine in shares
    ]
    own = passes[rank.number]
    return own + [[]] * (max(map(len, passes)) - len(own))


def shard(model: PreTrainedModel, mesh: DeviceMesh) -> None:
    """Leave each rank its part of every weight, in place; the model moves to the device of the rank.

    The learner calls the decoder and multiplies with the output embedding by itself. So the decoder counts as
    the model's forward pass: embeddings are gathered before it and stay until the gradients went back.

    Args:
        model: the same on every rank.
        mesh: of one dimension, all ranks.
    """
    precision = MixedPrecisionPolicy(reduce_dtype=torch.float32)
    for layer in model.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            fully_shard(layer, mesh=mesh, mp_policy=precision)
    fully_shard(model, mesh=mesh, mp_policy=precision, reshard_after_forward=False)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            # Sums in place of means; and no operator that only NCCL has.
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)
    _run_as_root(model)


def _run_as_root(model: Any) -> None:
    decoder = model.get_decoder()

    def decode(self: PreTrainedModel, *arguments: Any, **named: Any) -> Any:
        return decoder(*arguments, **named)

    model.decode = MethodType(decode, model)
    register_fsdp_forward_method(model, "decode")
    model.get_decoder = lambda: model.decode


def placed_like(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return a tensor on the device of a weight; of one that is sharded the rank's own part.

    Args:
        value: of the weight's shape, the same on every rank.
        weight: sharded or not.
    """
    if not isinstance(weight, DTensor):
        return value.to(weight.device)
    # Every rank reads the same file, so nobody needs to send anything; a copy of the part frees the whole.
    return distribute_tensor(value, weight.device_mesh, weight.placements, src_data_rank=None).clone()


def whole(value: torch.Tensor) -> torch.Tensor:
    """Return a tensor with the parts of all ranks; they have to call this together."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def clip_gradients(weights: Sequence[torch.Tensor], limit: float) -> torch.Tensor:
    """Scale the gradients, over all ranks, to a norm of at most `limit`; return the norm before."""
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    norm = whole(torch.nn.utils.get_total_norm(gradients))
    torch.nn.utils.clip_grads_with_norm_(weights, limit, norm)
    return norm


def from_all(items: Sequence[Item], rank: Rank, portable: Callable[[Item], Item]) -> list[Item]:
    """Return the items of all ranks, in the order of the ranks.

    Args:
        items: this rank's own.
        rank: this one.
        portable: makes an item one that other processes can read; not called by a rank that is alone.
    """
    if rank.count == 1:
        return list(items)
    found: list[list[Item]] = [[]] * rank.count
    dist.all_gather_object(found, [portable(item) for item in items])
    return [item for part in found for item in part]
