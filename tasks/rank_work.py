"""What one rank of an update does: its part of the model, of the optimiser's state and of each mini-batch."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh

from sdar.policy.memory import TokenBudget
from sdar.rl.learner import new_optimiser, optimise
from sdar.rl.masters import trained_weights
from sdar.rl.sharding import Rank, shard
from sdar.schemas.config import PolicyConfig
from sdar.schemas.machine import cores
from sdar.tasks.rank_files import WEIGHT, Plan, write_part, write_reports
from sdar.tasks.trained import OPTIMISER, compute_twice, load_optimiser, load_trained, optimiser_tensors


def learn(plan: Plan, rank: Rank, tokens: int, result: Path) -> None:
    """Learn together with the other ranks, and write this rank's part of what one process would have.

    Args:
        plan: the same for all ranks.
        rank: which one this is.
        tokens: padded tokens of a pass.
        result: folder in which the ranks meet, and for their parts and the reports.

    Raises:
        torch.OutOfMemoryError: a pass does not fit into the memory of the device.
    """
    mesh = _join(plan.settings, rank, result / "meeting")
    _learn(plan, rank, mesh, tokens, result)
    dist.barrier()  # nobody leaves while another still reads what it sent
    dist.destroy_process_group()


def _join(settings: PolicyConfig, rank: Rank, meeting: Path) -> DeviceMesh:
    """Meet the other ranks; they find each other through a file, and talk over the loopback on a CPU."""
    torch.set_num_threads(max((settings.threads or cores()) // rank.count, 1))
    device = None
    if settings.device == "cuda":
        device = torch.device("cuda", rank.number)
        torch.cuda.set_device(device)
    else:
        loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
        os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback)
    dist.init_process_group(
        "nccl" if device else "gloo",
        store=dist.FileStore(str(meeting), rank.count),  # type: ignore[attr-defined]
        rank=rank.number,
        world_size=rank.count,
        device_id=device,
    )
    return init_device_mesh(settings.device, (rank.count,))


def _learn(plan: Plan, rank: Rank, mesh: DeviceMesh, tokens: int, result: Path) -> None:
    model, _ = load_trained(plan.folder, plan.base, "cpu")
    if plan.settings.gradient_checkpointing:
        compute_twice(model)
    shard(model, mesh)
    objective = plan.objective
    optimiser = new_optimiser(model, objective.update, plan.rate_factor)
    if (plan.folder / OPTIMISER).is_file():
        load_optimiser(optimiser, plan.folder / OPTIMISER)
    if objective.teacher_head is not None:
        objective = replace(objective, teacher_head=objective.teacher_head.to(model.device))
    reports = optimise(model, optimiser, plan.rows, plan.batches, objective, TokenBudget(tokens), rank)
    weights = {f"{WEIGHT}.{index}": weight for index, weight in enumerate(trained_weights(model))}
    write_part(result, rank.number, {**weights, **dict(optimiser_tensors(optimiser, model))})
    if rank.number == 0:
        write_reports(result, reports)
