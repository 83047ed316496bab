"""The training loss: the policy loss plus the gated self-distillation term.

Packed layout: N is the number of action tokens of a micro-batch, tokens of prompts, observations and
padding are left out beforehand, and `row[i]` says which row token i came from. All parts of the loss are
additive over the micro-batches of one mini-batch; a row may be split between them when its length is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from sdar.rl.divergences import divergence, k3_estimate
from sdar.rl.gates import gate
from sdar.schemas.config import SdarConfig, UpdateConfig

Aggregation = Literal["token_mean", "sequence_mean", "sequence_sum"]


@dataclass(frozen=True)
class AggregationWeights:
    """Size of the whole mini-batch: `tokens` action tokens in `rows` rows."""

    tokens: int
    rows: int


@dataclass(frozen=True)
class LossInputs:
    """What the loss reads: one micro-batch of N action tokens in `rows` rows; log-probs in nats.

    Attributes:
        logp: [N], live student log-prob of the sampled token, with gradient.
        logp_old: [N], the sampler's log-prob of the same token at the sampling temperature.
        logp_teacher: [N], the teacher's log-prob of the same token.
        logp_reference: [N], the reference policy's log-prob; None without a KL term.
        student_logprobs: [N, V] with gradient; None unless divergence or gate need the vocabulary.
        teacher_logprobs: [N, V]; likewise.
        entropy: [N] in [0, 1], student entropy over log(V); with gradient for an entropy bonus.
        advantages: [N], advantage of each action token; not read by the policy loss `likelihood`.
        row: [N] int in [0, rows), the row of each token.
        rows: number of rows; one without action tokens counts and contributes 0.
        taught: [N], 1 where the teacher had skills to read, 0 where the self-distillation term is left out;
            None when it had some everywhere.
        lengths: [rows], action tokens of each row where only a part of them is here; None when all are.
    """

    logp: Tensor
    logp_old: Tensor
    logp_teacher: Tensor
    logp_reference: Tensor | None
    student_logprobs: Tensor | None
    teacher_logprobs: Tensor | None
    entropy: Tensor
    advantages: Tensor
    row: Tensor
    rows: int
    taught: Tensor | None = None
    lengths: Tensor | None = None

    def __post_init__(self) -> None:
        """Refuse tensors whose lengths disagree: broadcasting would hide the fault."""
        vectors = (self.logp, self.logp_old, self.logp_teacher, self.logp_reference, self.entropy)
        others = (self.advantages, self.row, self.taught)
        shapes = {tuple(t.shape) for t in (*vectors, *others) if t is not None}
        if shapes != {(self.logp.numel(),)}:
            raise ValueError(f"loss inputs must all be [N], found shapes {sorted(shapes)}")
        tables = {tuple(t.shape) for t in (self.student_logprobs, self.teacher_logprobs) if t is not None}
        if len(tables) > 1 or any(shape[0] != self.logp.numel() for shape in tables):
            raise ValueError(f"student and teacher log-probs must both be [N, V], found {sorted(tables)}")


@dataclass(frozen=True)
class LossOutputs:
    """The loss and what it was made of; every scalar sums over micro-batches to the mini-batch's value.

    Attributes:
        loss: scalar with gradient.
        policy_loss: scalar, as it entered the loss, coefficient included; detached like all that follow.
        distillation: scalar, as it entered the loss, lambda included.
        kl: scalar, as it entered the loss, coefficient included.
        drift: mean over tokens of the `k3` estimate of the KL from the policy that sampled, in nats.
        entropy: mean normalised entropy of the action tokens, in [0, 1], whatever its coefficient.
        clip_share: share of tokens whose ratio the clip replaced, and so gets no policy gradient.
        ratio_mean: mean of `exp(logp - logp_old)`.
        gate: [N], weight of the self-distillation term; 0 for a `centred_gap` that lambda 0 turns off,
            and where there is no teacher.
        gap: [N], teacher minus student log-prob of the sampled token.
    """

    loss: Tensor
    policy_loss: Tensor
    distillation: Tensor
    kl: Tensor
    drift: Tensor
    entropy: Tensor
    clip_share: Tensor
    ratio_mean: Tensor
    gate: Tensor
    gap: Tensor


def aggregate(
    values: Tensor,
    row: Tensor,
    rows: int,
    how: Aggregation,
    total_tokens: int,
    total_rows: int,
    lengths: Tensor | None = None,
) -> Tensor:
    """Return the share of a micro-batch in the mini-batch's aggregated value.

    Args:
        values: [N], one value for each action token of the micro-batch.
        row: [N] int in [0, rows), the row of each token.
        rows: rows of the micro-batch.
        how: `token_mean` weighs tokens equally; `sequence_mean` is the mean over rows of the row's mean;
            `sequence_sum` the mean over rows of the row's sum.
        total_tokens: action tokens of the whole mini-batch.
        total_rows: rows of the whole mini-batch.
        lengths: [rows], action tokens of each row; by default as many as there are values of it.

    Returns:
        A scalar; 0 with a valid (zero) gradient when N = 0.
    """
    if how == "token_mean":
        return values.sum() / max(total_tokens, 1)
    if how == "sequence_mean":
        lengths = torch.bincount(row, minlength=rows) if lengths is None else lengths
        return (values / lengths.to(values.dtype)[row]).sum() / max(total_rows, 1)
    return values.sum() / max(total_rows, 1)


def clipped_policy_term(
    ratio: Tensor, advantages: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """Return the per-token policy loss and where the clip took effect.

    Args:
        ratio: [N], `exp(logp - logp_old)` with gradient.
        advantages: [N].
        clip_low: the ratio is clipped below at 1 minus this.
        clip_high: the ratio is clipped above at 1 plus this.

    Returns:
        [N] `-min(r A, clip(r) A)`, and [N] bool, True where the clipped branch is the smaller one.

    Source:
        PPO, arXiv 1707.06347, equation 7.
    """
    plain = ratio * advantages
    clipped = ratio.clamp(1 - clip_low, 1 + clip_high) * advantages
    return -torch.minimum(plain, clipped), (clipped < plain).detach()


def policy_terms(inputs: LossInputs, ratio: Tensor, update: UpdateConfig) -> tuple[Tensor, Tensor]:
    """Return the per-token policy loss of the configured kind, and where a clip took effect.

    Args:
        inputs: one micro-batch.
        ratio: [N], `exp(logp - logp_old)` with gradient.
        update: `likelihood` takes `-logp` on every token and reads no advantage; the rows were selected.

    Returns:
        [N] with gradient, and [N] bool, False throughout for `likelihood`.

    Source:
        `likelihood`: rejection-sampling fine-tuning, arXiv 2308.01825.
    """
    if update.policy_loss == "likelihood":
        return -inputs.logp, torch.zeros_like(inputs.logp, dtype=torch.bool)
    return clipped_policy_term(ratio, inputs.advantages, update.clip_low, update.clip_high)


def sdar_loss(
    inputs: LossInputs, sdar: SdarConfig, update: UpdateConfig, weights: AggregationWeights | None = None
) -> LossOutputs:
    """Return the loss `c_pg L_policy + lambda agg(gate * term) + c_kl agg(k3) - c_h agg(entropy)`.

    A part with coefficient 0 is not computed, so its inputs may be missing.

    Args:
        inputs: one micro-batch.
        sdar: gate, divergence, and as `coefficient` the lambda in force this round.
        update: the other coefficients, the policy loss and the aggregation.
        weights: size of the mini-batch that the micro-batch belongs to; None when it is all of it.

    Raises:
        ValueError: a part with a coefficient above 0 lacks its inputs.

    Source:
        SDAR, arXiv 2605.15155; the policy and KL parts are GRPO, arXiv 2402.03300.
    """
    total = weights or AggregationWeights(inputs.logp.numel(), inputs.rows)

    def reduce(values: Tensor, how: Aggregation = update.aggregation) -> Tensor:
        return aggregate(values, inputs.row, inputs.rows, how, total.tokens, total.rows, inputs.lengths)

    gap = inputs.logp_teacher.detach() - inputs.logp.detach()
    weight = _weight(inputs, sdar, gap)
    ratio = (inputs.logp - inputs.logp_old.detach()).exp()
    terms, clipped = policy_terms(inputs, ratio, update)

    # An empty sum over logp keeps the graph alive when every coefficient is 0.
    zero = inputs.logp[:0].sum()
    policy = update.policy_coefficient * reduce(terms) if update.policy_coefficient else zero
    distillation = (
        sdar.coefficient * reduce(_distillation(inputs, sdar, weight)) if sdar.coefficient else zero
    )
    kl = update.kl_coefficient * reduce(_reference_kl(inputs)) if update.kl_coefficient else zero
    bonus = update.entropy_coefficient * reduce(inputs.entropy) if update.entropy_coefficient else zero
    return LossOutputs(
        loss=policy + distillation + kl - bonus,
        policy_loss=policy.detach(),
        distillation=distillation.detach(),
        kl=kl.detach(),
        # The tokens were drawn from the old policy, so the new one is the reference of the estimate.
        drift=reduce(k3_estimate(inputs.logp_old, inputs.logp.detach()), "token_mean"),
        entropy=reduce(inputs.entropy.detach(), "token_mean"),
        clip_share=reduce(clipped.to(ratio.dtype), "token_mean"),
        ratio_mean=reduce(ratio.detach(), "token_mean"),
        gate=weight,
        gap=gap,
    )


def _weight(inputs: LossInputs, sdar: SdarConfig, gap: Tensor) -> Tensor:
    # Every other gate is reported also where lambda is 0; this one has no tables to be computed from.
    if sdar.gate == "centred_gap" and not sdar.coefficient:
        return torch.zeros_like(gap)
    tables = (inputs.student_logprobs, inputs.teacher_logprobs)
    weight = gate(sdar.gate, gap, inputs.entropy, sdar.beta, *tables)
    return weight if inputs.taught is None else weight * inputs.taught


def _distillation(inputs: LossInputs, sdar: SdarConfig, weight: Tensor) -> Tensor:
    term = divergence(
        sdar,
        inputs.logp,
        inputs.logp_old,
        inputs.logp_teacher,
        inputs.student_logprobs,
        inputs.teacher_logprobs,
    )
    return weight * term


def _reference_kl(inputs: LossInputs) -> Tensor:
    if inputs.logp_reference is None:
        raise ValueError("update.kl_coefficient is above 0 but logp_reference is None")
    return k3_estimate(inputs.logp, inputs.logp_reference)
