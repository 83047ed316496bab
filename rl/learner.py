"""The optimiser steps of one round: mini-batches of rows, micro-batches by token budget.

The logits of a micro-batch never exist at once: its tokens go through the output embedding, the loss and back
part by part, and the gradients of the hidden states then go back through the layers together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from sdar.policy.memory import TOKEN_BUDGETS, TokenBudget, logit_chunks
from sdar.policy.model import output_head
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
from sdar.rl.masters import Masters, master_copies, trained_weights
from sdar.rl.sharding import ALONE, Rank, clip_gradients, deal, from_all
from sdar.schemas.config import SdarConfig, UpdateConfig
from sdar.schemas.counting import count
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
    """Return AdamW over the trained weights, or their float32 copies, see `sdar.rl.masters`.

    Args:
        model: its weights with a gradient are trained.
        update: learning rate and decay.
        rate_factor: multiplies the rate.
    """
    return torch.optim.AdamW(
        master_copies(trained_weights(model)),
        lr=update.learning_rate * rate_factor,
        betas=(0.9, 0.999),
        weight_decay=update.weight_decay,
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
    budget: TokenBudget | None = None,
    rank: Rank = ALONE,
) -> list[UpdateReport]:
    """Take one optimiser step per mini-batch, changing the model in place.

    A step whose gradient is not finite is skipped and reported as such. When memory runs out the gradients of
    the mini-batch are computed anew in smaller passes; not so on one of several ranks, whose passes would no
    longer be as many as those of the others.

    Args:
        model: the live policy.
        optimiser: over the model's trained weights, from `new_optimiser`.
        rows: all rows of the round.
        batches: row indices of each mini-batch.
        objective: loss switches.
        budget: padded tokens of a pass; that of the device by default.
        rank: which of several processes this is, with a model from `sdar.rl.sharding.shard`.

    Returns:
        One report per mini-batch, over all its micro-batches, the same on every rank.

    Raises:
        MemoryExceededError: one row alone does not fit into memory.
        torch.OutOfMemoryError: a pass of one of several ranks does not.
    """
    budget = budget or TokenBudget(TOKEN_BUDGETS[model.device.type])
    weights = Masters(trained_weights(model), optimiser.param_groups[0]["params"])
    _begin(model)
    reports = []
    for step, batch in enumerate(batches):
        chosen = [rows[i] for i in batch]
        outputs = _gradients(model, weights, chosen, objective, budget, rank)
        norm = clip_gradients(weights.masters, objective.update.max_gradient_norm)
        finite = bool(torch.isfinite(norm))
        if finite:
            optimiser.step()
            weights.round_back()
        weights.clear()
        reports.append(_report(step, outputs, objective, float(norm) if finite else 0.0, skipped=not finite))
        count(step + 1, len(batches), "steps")
    model.train(mode=False)
    return reports


def _begin(model: PreTrainedModel) -> None:
    """Leave dropout off, for what is learnt has to be what was sampled.

    Layers that compute twice do so in training mode alone; some, such as OPT's, have rates of their own that
    then apply.
    """
    for part in model.modules():
        part.training = getattr(part, "gradient_checkpointing", False)
        for name, rate in list(vars(part).items()) if part.training else ():
            if "drop" in name and isinstance(rate, float):
                setattr(part, name, 0.0)


def _gradients(
    model: PreTrainedModel,
    weights: Masters,
    rows: Sequence[LearnerRow],
    objective: Objective,
    budget: TokenBudget,
    rank: Rank,
) -> list[LossOutputs]:
    """Compute the gradients of a mini-batch, and again in smaller passes when memory runs out."""

    def attempt(tokens: int) -> list[LossOutputs]:
        weights.clear()  # of a pass that failed half-way
        return _accumulate(model, weights, rows, objective, tokens, rank)

    if rank.count > 1:
        return attempt(budget.tokens)
    return budget.fit(attempt, [len(row.row.token_ids) for row in rows])


def _accumulate(
    model: PreTrainedModel,
    weights: Masters,
    rows: Sequence[LearnerRow],
    objective: Objective,
    tokens: int,
    rank: Rank,
) -> list[LossOutputs]:
    """Add up the gradients of a mini-batch over its micro-batches."""
    total = AggregationWeights(tokens=sum(len(row.row.positions) for row in rows), rows=len(rows))
    outputs: list[LossOutputs] = []
    for passed in deal([len(row.row.token_ids) for row in rows], tokens, rank):
        mine = [rows[i] for i in passed] or [_nothing(rows[0])]
        for packed in forward_rows(model, [row.row for row in mine], tokens):
            inputs = _flat_inputs(packed, [mine[i] for i in packed.rows])
            outputs += _backward(model, weights, inputs, objective, total)
    return from_all(outputs, rank, _on_cpu)


def _nothing(row: LearnerRow) -> LearnerRow:
    """Return the first token of a row, which is not scored: a pass over it adds nothing to any sum."""
    none = slice(0)
    return replace(
        row,
        row=Row(row.row.token_ids[:1], row.row.positions[none]),
        advantages=row.advantages[none],
        logp_old=row.logp_old[none],
        logp_teacher=row.logp_teacher[none],
        logp_reference=None if row.logp_reference is None else row.logp_reference[none],
        teacher_hidden=None if row.teacher_hidden is None else row.teacher_hidden[none],
    )


def _on_cpu(output: LossOutputs) -> LossOutputs:
    return LossOutputs(**{name: value.cpu() for name, value in vars(output).items()})


@dataclass(frozen=True)
class _MicroBatch:
    """What the loss reads about the N tokens of a micro-batch before their logits are known.

    `states` [N, H] are the teacher's as they are stored, the other tensors lie on the model's device.
    """

    packed: Packed
    fixed: dict[str, torch.Tensor]
    lengths: torch.Tensor
    states: NDArray[np.float32] | None


def _flat_inputs(packed: Packed, rows: Sequence[LearnerRow]) -> _MicroBatch:
    parts: dict[str, list[NDArray[np.float32]]] = {
        "logp_old": [row.logp_old for row in rows],
        "logp_teacher": [row.logp_teacher for row in rows],
        "logp_reference": [row.logp_reference for row in rows if row.logp_reference is not None],
        "advantages": [row.advantages for row in rows],
    }
    if not all(row.taught for row in rows):
        parts["taught"] = [np.full(len(row.logp_old), row.taught, np.float32) for row in rows]
    device = packed.hidden.device
    states = [row.teacher_hidden for row in rows if row.teacher_hidden is not None]
    return _MicroBatch(
        packed=packed,
        fixed={name: torch.from_numpy(np.concatenate(p)).to(device) for name, p in parts.items() if p},
        lengths=torch.bincount(packed.owner, minlength=len(rows)),
        states=np.concatenate(states) if len(states) == len(rows) else None,
    )


def _backward(
    model: PreTrainedModel,
    weights: Masters,
    batch: _MicroBatch,
    objective: Objective,
    total: AggregationWeights,
) -> list[LossOutputs]:
    """Add the gradients of one micro-batch to those of the weights; return the parts of its loss."""
    outputs, gradients, packed = [], [], batch.packed
    for part in logit_chunks(len(packed.targets), len(output_head(model)), packed.hidden.device):
        hidden = packed.hidden[part].detach().requires_grad_(packed.hidden.requires_grad)
        inputs = _loss_inputs(model, batch, part, hidden, objective)
        output = sdar_loss(inputs, objective.sdar, objective.update, total)
        if output.loss.requires_grad:
            output.loss.backward()  # type: ignore[no-untyped-call]
        weights.collect()
        gradients.append(torch.zeros_like(hidden) if hidden.grad is None else hidden.grad)
        outputs.append(replace(output, loss=output.loss.detach()))
    if packed.hidden.requires_grad:
        packed.hidden.backward(torch.cat(gradients))  # type: ignore[no-untyped-call]
        weights.collect()
    return outputs


def _loss_inputs(
    model: PreTrainedModel, batch: _MicroBatch, part: slice, hidden: torch.Tensor, objective: Objective
) -> LossInputs:
    """Return what the loss reads about a part of a micro-batch, with the part's log-probs."""
    logprobs = log_distribution(model, hidden, objective.temperature)
    teacher = None
    if needs_vocabulary(objective.sdar):
        teacher = _teacher_distribution(batch, part, objective)
    bonus = objective.update.entropy_coefficient > 0
    with torch.set_grad_enabled(bonus):
        entropy = normalised_entropy(logprobs if bonus else logprobs.detach())
    fixed = {name: values[part] for name, values in batch.fixed.items()}
    return LossInputs(
        logp=logprobs.gather(1, batch.packed.targets[part][:, None])[:, 0],
        logp_old=fixed["logp_old"],
        logp_teacher=fixed["logp_teacher"],
        logp_reference=fixed.get("logp_reference"),
        student_logprobs=logprobs if teacher is not None else None,
        teacher_logprobs=teacher,
        entropy=entropy,
        advantages=fixed["advantages"],
        row=batch.packed.owner[part],
        rows=len(batch.packed.rows),
        taught=fixed.get("taught"),
        lengths=batch.lengths,
    )


def _teacher_distribution(batch: _MicroBatch, part: slice, objective: Objective) -> torch.Tensor:
    if objective.teacher_head is None or batch.states is None:
        term = f"divergence {objective.sdar.divergence} with gate {objective.sdar.gate}"
        raise ValueError(f"{term} needs the teacher's states and output head")
    states = torch.from_numpy(batch.states[part]).to(batch.packed.hidden.device)
    with torch.no_grad():
        return head_log_distribution(objective.teacher_head, states, objective.temperature)


def _report(
    step: int, outputs: Sequence[LossOutputs], objective: Objective, norm: float, *, skipped: bool
) -> UpdateReport:
    tokens = sum(output.gap.numel() for output in outputs)
    # Rows of episodes that broke before their first action have no tokens: their means are 0, not NaN.
    gate, gap = (
        torch.cat([getattr(output, name) for output in outputs]) if tokens else torch.zeros(1)
        for name in ("gate", "gap")
    )

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
        tokens=tokens,
    )
