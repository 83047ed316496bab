"""The optimiser steps of one round: mini-batches of rows, micro-batches by token budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from sdar.policy.scoring import (
    Packed,
    Row,
    forward_rows,
    head_log_distribution,
    log_distribution,
    normalised_entropy,
)
from sdar.rl.divergences import needs_vocabulary
from sdar.rl.losses import AggregationWeights, LossInputs, LossOutputs, sdar_loss
from sdar.schemas.config import SdarConfig, UpdateConfig
from sdar.schemas.records import UpdateReport


@dataclass(frozen=True)
class LearnerRow:
    """One row with everything that the loss reads about its A action tokens.

    `advantages` [A] are those of the tokens. Log-probs [A] are in nats at the sampling temperature;
    `teacher_hidden` [A, H] are the teacher's states from which it predicts the tokens, None unless
    `needs_vocabulary`. `taught` is False where the teacher had no skill to read: nothing is learnt then.
    """

    row: Row
    advantages: NDArray[np.float32]
    logp_old: NDArray[np.float32]
    logp_teacher: NDArray[np.float32]
    logp_reference: NDArray[np.float32] | None = None
    teacher_hidden: NDArray[np.float32] | None = None
    taught: bool = True


@dataclass(frozen=True)
class Objective:
    """What is optimised: the loss's switches, the temperature, and the teacher's output embedding [V, H]."""

    sdar: SdarConfig
    update: UpdateConfig
    temperature: float
    teacher_head: torch.Tensor | None = None


def new_optimiser(
    model: PreTrainedModel, update: UpdateConfig, rate_factor: float = 1.0
) -> torch.optim.AdamW:
    """Return AdamW over all weights with the configured decay and `rate_factor` times the configured rate."""
    rate = update.learning_rate * rate_factor
    return torch.optim.AdamW(
        model.parameters(), lr=rate, betas=(0.9, 0.999), weight_decay=update.weight_decay
    )


def minibatches(count: int, size: int, epochs: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return row indices per optimiser step: a fresh permutation per epoch, cut into near-equal pieces."""
    pieces = max(1, round(count / size))
    return [piece for _ in range(epochs) for piece in np.array_split(rng.permutation(count), pieces)]


def optimise(
    model: PreTrainedModel,
    optimiser: torch.optim.Optimizer,
    rows: Sequence[LearnerRow],
    batches: Sequence[NDArray[np.int64]],
    objective: Objective,
) -> list[UpdateReport]:
    """Take one optimiser step per mini-batch, changing the model in place.

    A step whose gradient is not finite is skipped and reported as such.

    Args:
        model: the live policy.
        optimiser: over the model's weights.
        rows: all rows of the round.
        batches: row indices of each mini-batch.
        objective: loss switches.

    Returns:
        One report per mini-batch, over all its micro-batches.
    """
    model.train()
    reports = []
    for step, batch in enumerate(batches):
        chosen = [rows[i] for i in batch]
        outputs = _accumulate(model, chosen, objective)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), objective.update.max_gradient_norm)
        finite = bool(torch.isfinite(norm))
        if finite:
            optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        reports.append(_report(step, outputs, objective, float(norm) if finite else 0.0, skipped=not finite))
    model.train(mode=False)
    return reports


def _accumulate(
    model: PreTrainedModel, rows: Sequence[LearnerRow], objective: Objective
) -> list[LossOutputs]:
    """Add up the gradients of a mini-batch over its micro-batches."""
    weights = AggregationWeights(tokens=sum(len(row.row.positions) for row in rows), rows=len(rows))
    outputs = []
    for packed in forward_rows(model, [row.row for row in rows]):
        inputs = _loss_inputs(model, packed, [rows[i] for i in packed.rows], objective)
        output = sdar_loss(inputs, objective.sdar, objective.update, weights)
        if output.loss.requires_grad:
            output.loss.backward()  # type: ignore[no-untyped-call]
        outputs.append(output)
    return outputs


def _loss_inputs(
    model: PreTrainedModel, packed: Packed, rows: Sequence[LearnerRow], objective: Objective
) -> LossInputs:
    device = packed.hidden.device
    logprobs = log_distribution(model, packed.hidden, objective.temperature)
    teacher = None
    if needs_vocabulary(objective.sdar):
        teacher = _teacher_distribution(rows, objective, device)
    bonus = objective.update.entropy_coefficient > 0
    with torch.set_grad_enabled(bonus):
        entropy = normalised_entropy(logprobs if bonus else logprobs.detach())
    taught = None
    if not all(row.taught for row in rows):
        shares = [np.full(len(row.logp_old), row.taught, np.float32) for row in rows]
        taught = _flat(shares, device)
    references = [row.logp_reference for row in rows if row.logp_reference is not None]
    return LossInputs(
        logp=logprobs.gather(1, packed.targets[:, None])[:, 0],
        logp_old=_flat([row.logp_old for row in rows], device),
        logp_teacher=_flat([row.logp_teacher for row in rows], device),
        logp_reference=_flat(references, device) if references else None,
        student_logprobs=logprobs if teacher is not None else None,
        teacher_logprobs=teacher,
        entropy=entropy,
        advantages=_flat([row.advantages for row in rows], device),
        row=packed.owner,
        rows=len(rows),
        taught=taught,
    )


def _teacher_distribution(
    rows: Sequence[LearnerRow], objective: Objective, device: torch.device
) -> torch.Tensor:
    hidden = [row.teacher_hidden for row in rows if row.teacher_hidden is not None]
    if objective.teacher_head is None or len(hidden) != len(rows):
        term = f"divergence {objective.sdar.divergence} with gate {objective.sdar.gate}"
        raise ValueError(f"{term} needs the teacher's states and output head")
    states = torch.from_numpy(np.concatenate(hidden)).to(device)
    with torch.no_grad():
        return head_log_distribution(objective.teacher_head, states, objective.temperature)


def _flat(vectors: Sequence[NDArray[np.float32]], device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.concatenate(vectors)).to(device)


def _report(
    step: int, outputs: Sequence[LossOutputs], objective: Objective, norm: float, *, skipped: bool
) -> UpdateReport:
    gate = torch.cat([output.gate for output in outputs])
    gap = torch.cat([output.gap for output in outputs])

    def total(name: str) -> float:
        return float(sum(getattr(output, name).detach() for output in outputs))

    return UpdateReport(
        step=step,
        loss=total("loss"),
        policy_loss=total("policy_loss"),
        distillation=total("distillation"),
        kl=total("kl"),
        drift=total("drift"),
        entropy=total("entropy"),
        clip_share=total("clip_share"),
        ratio_mean=total("ratio_mean"),
        gate_mean=float(gate.mean()),
        gate_share=float((gate > 0.5).float().mean()),
        coefficient=objective.sdar.coefficient,
        gap_mean=float(gap.mean()),
        gap_std=float(gap.std(correction=0)),
        gradient_norm=norm,
        skipped=skipped,
        tokens=gap.numel(),
    )
