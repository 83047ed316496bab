"""Stage `update`: GRPO plus the gated self-distillation term, one pass over the round's rows."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sdar.policy.model import Policy, load_weights, output_head, policy_id, save_policy, save_weights
from sdar.rl.advantages import GroupAdvantages, group_advantages, penalized_returns
from sdar.rl.checks import warnings_for
from sdar.rl.learner import LearnerRow, Objective, minibatches, new_optimiser, optimise
from sdar.schemas.config import AdvantageConfig
from sdar.schemas.records import Episode, PolicyRecord, TokenScores, UpdateReport
from sdar.schemas.seeds import generator
from sdar.tasks.score import EMA, TEACHER_STATES, score_rows, student_row, teacher_policy
from sdar.tasks.stage import Stage, StageInputs, StageOutput

OPTIMISER = "optimiser.safetensors"


def episode_advantages(episodes: Sequence[Episode], config: AdvantageConfig) -> GroupAdvantages:
    """Return the group-relative advantage of each episode, after the penalty for invalid turns."""
    returns = torch.tensor([episode.episode_return for episode in episodes])
    invalid = torch.tensor(
        [
            float(np.mean([not turn.valid for turn in episode.turns])) if episode.turns else 0.0
            for episode in episodes
        ]
    )
    penalised = penalized_returns(returns, invalid, config.invalid_penalty)
    groups = torch.tensor([episode.group for episode in episodes])
    return group_advantages(penalised, groups, normalize_std=config.normalize_std)


def learner_rows(
    episodes: Sequence[Episode],
    scores: Sequence[TokenScores],
    advantages: torch.Tensor,
    references: Sequence[NDArray[np.float32]] | None,
    states: NDArray[np.float32] | None,
) -> list[LearnerRow]:
    """Put together what the loss reads, one row per episode.

    Args:
        episodes: N episodes.
        scores: their token scores, in the same order.
        advantages: [N].
        references: reference log-probs [A] per episode, None without a KL term.
        states: teacher states of all action tokens [sum of A, H] in episode order, or None.
    """
    ends = np.cumsum([len(score.positions) for score in scores])
    rows = []
    for i, (episode, score) in enumerate(zip(episodes, scores, strict=True)):
        rows.append(
            LearnerRow(
                row=student_row(episode),
                advantage=float(advantages[i]),
                logp_old=episode.sampler_logprobs[episode.action_mask],
                logp_teacher=score.teacher,
                logp_reference=references[i] if references is not None else None,
                teacher_hidden=states[ends[i] - len(score.positions) : ends[i]]
                if states is not None
                else None,
            )
        )
    return rows


def load_optimiser(optimiser: torch.optim.Optimizer, path: Path) -> None:
    """Restore AdamW's moments and step counts from safetensors; their order is that of the parameters.

    Parameters without stored state, because no step was taken so far, begin afresh.
    """
    tensors = load_weights(path)
    parameters = optimiser.param_groups[0]["params"]
    for index, parameter in enumerate(parameters):
        if f"{index}.step" in tensors:
            # AdamW counts steps on the CPU and keeps its moments beside the weights.
            moments = {
                name: tensors[f"{index}.{name}"].to(parameter.device) for name in ("exp_avg", "exp_avg_sq")
            }
            optimiser.state[parameter] = {"step": tensors[f"{index}.step"], **moments}


def save_optimiser(optimiser: torch.optim.Optimizer, path: Path) -> None:
    """Write AdamW's moments and step counts as safetensors."""
    parameters = optimiser.param_groups[0]["params"]
    tensors = {
        f"{index}.{name}": value
        for index, parameter in enumerate(parameters)
        for name, value in optimiser.state[parameter].items()
    }
    save_weights(path, tensors)


def save_average(folder: Path, old: Policy, model: torch.nn.Module, rate: float) -> None:
    """Write the EMA teacher: `rate` times the old average plus the rest of the new weights."""
    average = copy.deepcopy(old.model)
    with torch.no_grad():
        for kept, new in zip(average.parameters(), model.parameters(), strict=True):
            kept.mul_(rate).add_(new, alpha=1 - rate)
    save_policy(folder, average, old.dialogue.tokenizer)


def run(inputs: StageInputs) -> StageOutput:
    """Store the next policy with its optimiser state, and one report per optimiser step."""
    config, policy = inputs.config, inputs.policy()
    episodes = inputs.store.episodes(inputs.artifacts["episodes"])
    scores = inputs.store.scores(inputs.artifacts["scores"])
    advantages = episode_advantages(episodes, config.advantage)
    rows = learner_rows(
        episodes, scores, advantages.advantages, _references(inputs, episodes), _teacher_states(inputs)
    )
    model = copy.deepcopy(policy.model)
    optimiser = new_optimiser(model, config.update)
    if (inputs.folder("policy") / OPTIMISER).is_file():
        load_optimiser(optimiser, inputs.folder("policy") / OPTIMISER)
    batches = minibatches(
        len(rows), config.update.minibatch, config.update.epochs, generator(inputs.seed, "minibatches")
    )
    reports = optimise(model, optimiser, rows, batches, _objective(inputs))
    save_policy(inputs.scratch, model, policy.dialogue.tokenizer)
    save_optimiser(optimiser, inputs.scratch / OPTIMISER)
    if config.sdar.teacher == "ema":
        save_average(inputs.scratch / EMA, teacher_policy(inputs, "ema"), model, config.sdar.ema_rate)
    return _output(inputs, reports, advantages)


def _references(inputs: StageInputs, episodes: Sequence[Episode]) -> list[NDArray[np.float32]] | None:
    """Score the rows under policy 0 when the KL term asks for it."""
    if not inputs.config.update.kl_coefficient:
        return None
    rows = [student_row(episode) for episode in episodes]
    temperature = inputs.config.rollout.temperature
    scored = score_rows(inputs.policy("policy_0"), rows, temperature, keep_hidden=False)
    return [score.logprobs for score in scored]


def _teacher_states(inputs: StageInputs) -> NDArray[np.float32] | None:
    if "scores" not in inputs.blobs:
        return None
    states: NDArray[np.float32] = load_weights(inputs.folder("scores") / TEACHER_STATES)["hidden"].numpy()
    return states


def _objective(inputs: StageInputs) -> Objective:
    config = inputs.config
    head = None
    if "scores" in inputs.blobs:
        teacher = teacher_policy(inputs, config.sdar.teacher)
        head = output_head(teacher.model).detach()
    return Objective(config.sdar, config.update, config.rollout.temperature, head)


def _output(inputs: StageInputs, reports: Sequence[UpdateReport], advantages: GroupAdvantages) -> StageOutput:
    config, old = inputs.config, inputs.store.policy(inputs.artifacts["policy"])
    record = PolicyRecord(
        id=policy_id(inputs.scratch),
        parent=old.id,
        method=config.method,
        round=inputs.round,
        tokenizer_hash=old.tokenizer_hash,
        parameters=old.parameters,
    )
    zero_spread = advantages.zero_spread_groups / max(advantages.groups, 1)
    warnings = warnings_for(reports, zero_spread, config.sdar, config.update.max_gradient_norm)
    names = (
        "loss", "kl", "drift", "entropy", "clip_share", "gate_mean", "gate_share", "gap_mean", "gradient_norm"
    )  # fmt: skip
    means = {name: float(np.mean([getattr(report, name) for report in reports])) for name in names}
    return StageOutput(
        kind="policy",
        rows={"policy": [record], "update_step": list(reports)},
        summary={
            **means,
            "zero_spread_share": zero_spread,
            "skipped": float(sum(report.skipped for report in reports)),
            "policy": record.id,
            "warnings": " ".join(warnings),
        },
        folder=inputs.scratch,
    )


STAGE = Stage("update", 1, ("method", "advantage", "sdar", "update", "rollout.temperature"), run)
