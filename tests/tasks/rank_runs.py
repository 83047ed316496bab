"""Updates of a hand-size model in a folder, by one process or by ranks; also a program that does so."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from sdar.policy.memory import TokenBudget
from sdar.policy.model import new_model
from sdar.policy.scoring import Row
from sdar.rl.learner import LearnerRow, Objective, new_optimiser, optimise
from sdar.schemas.config import PolicyConfig, SdarConfig, UpdateConfig
from sdar.schemas.records import UpdateReport
from sdar.tasks.rank_files import Plan
from sdar.tasks.ranks import learn_in_ranks
from sdar.tasks.trained import OPTIMISER, load_optimiser, load_trained, save_optimiser

VOCABULARY, HIDDEN = 23, 6  # odd sizes: ranks get unequal parts
TOKENS = 40
UPDATE = UpdateConfig(learning_rate=1e-2, kl_coefficient=0.1, weight_decay=0.1, max_gradient_norm=0.5)
# Five rows in passes of two and three; one row, so that the other rank has none; an odd number of passes.
BATCHES = (np.arange(5), np.array([2]), np.array([0, 3, 4]), np.array([1, 4]), np.arange(5))


def save_hand_size(folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Write a model whose weights are large enough for its tokens to differ."""
    model = new_model(VOCABULARY, 0, HIDDEN, 2, 1, 64)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(15)
    model.to(dtype).save_pretrained(folder)
    return folder


def hand_rows() -> list[LearnerRow]:
    """Five rows of 4 to 20 tokens; the last one has no teacher."""
    rng = np.random.default_rng(4)
    made = []
    for index, length in enumerate((20, 4, 12, 9, 16)):
        positions = np.sort(1 + rng.permutation(length - 1)[: 2 + index]).astype(np.int32)
        size = len(positions)
        made.append(
            LearnerRow(
                row=Row(rng.integers(0, VOCABULARY, length).astype(np.int32), positions),
                advantages=rng.normal(size=size).astype(np.float32),
                logp_old=rng.uniform(-4, -2, size).astype(np.float32),
                logp_teacher=rng.uniform(-4, -2, size).astype(np.float32),
                logp_reference=rng.uniform(-4, -2, size).astype(np.float32),
                teacher_hidden=rng.normal(size=(size, HIDDEN)).astype(np.float32),
                taught=index < 4,
            )
        )
    return made


def hand_plan(
    folder: Path, devices: int = 2, base: Path | None = None, batches: Sequence[NDArray[np.int64]] = BATCHES
) -> Plan:
    """The default loss, a KL term, and several optimiser steps."""
    head = torch.from_numpy(np.random.default_rng(5).normal(size=(VOCABULARY, HIDDEN)).astype(np.float32))
    settings = PolicyConfig(devices=devices, threads=1, gradient_checkpointing=base is not None)
    objective = Objective(SdarConfig(), UPDATE, 0.7, head)
    return Plan(folder, base, settings, 2.0, hand_rows(), batches, objective)


def learnt(plan: Plan, folder: Path) -> tuple[PreTrainedModel, list[UpdateReport]]:
    """Carry out a plan, and write model and optimiser into a folder like the stage."""
    model, _ = load_trained(plan.folder, plan.base, "cpu")
    optimiser = new_optimiser(model, UPDATE, plan.rate_factor)
    if plan.settings.devices > 1:
        reports = learn_in_ranks(plan, model, optimiser, TokenBudget(TOKENS), folder / "logs")
    else:
        if (plan.folder / OPTIMISER).is_file():
            load_optimiser(optimiser, plan.folder / OPTIMISER)
        reports = optimise(model, optimiser, plan.rows, plan.batches, plan.objective, TokenBudget(TOKENS))
    if plan.base is None:
        model.save_pretrained(folder)
    save_optimiser(optimiser, folder / OPTIMISER, model)
    return model, reports


def main() -> None:
    """Learn in two ranks for as long as it takes to be ended: `rank_runs.py FOLDER`."""
    from sdar.flows.interrupts import interruptible

    folder = Path(sys.argv[1])
    plan = hand_plan(folder / "policy", batches=BATCHES * 100_000)
    with interruptible(lambda: None):
        learnt(plan, folder / "new")


if __name__ == "__main__":
    main()
