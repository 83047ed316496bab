"""Stage `update`: the policy loss plus the gated self-distillation term, over the round's rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sdar.policy.memory import TokenBudget, token_budget
from sdar.policy.model import load_weights, output_head
from sdar.policy.scoring import Row
from sdar.rl.advantages import GroupAdvantages, group_advantages, penalized_episodes
from sdar.rl.checks import warnings_for
from sdar.rl.credit import CreditInputs, token_advantages
from sdar.rl.divergences import needs_vocabulary
from sdar.rl.judging import episode_returns
from sdar.rl.learner import LearnerRow, Objective, minibatches, new_optimiser, optimise
from sdar.rl.schedules import scheduled
from sdar.rl.trust import lead_share
from sdar.schemas.config import AdvantageConfig
from sdar.schemas.records import Episode, PolicyRecord, TokenScores, UpdateReport
from sdar.schemas.seeds import generator
from sdar.tasks.rank_files import Plan
from sdar.tasks.ranks import learn_in_ranks
from sdar.tasks.score import TEACHER_STATES, score_episodes, student_rows, teacher_policy
from sdar.tasks.select import kept_indices
from sdar.tasks.stage import Stage, StageInputs, StageOutput
from sdar.tasks.trained import (
    OPTIMISER,
    load_optimiser,
    save_average,
    save_optimiser,
    save_trained,
    trained_id,
    trained_policy,
)


@dataclass(frozen=True)
class Lesson:
    """One episode that the update learns from: its A action tokens, in `rows` whose tokens they are in order.

    `reference` [A] is None without a KL term, `teacher_hidden` [A, H] when the loss needs no vocabulary.
    `taught` says whether the teacher had a skill to read.
    """

    episode: Episode
    score: TokenScores
    rows: list[Row]
    reference: NDArray[np.float32] | None = None
    teacher_hidden: NDArray[np.float32] | None = None
    taught: bool = True


def episode_advantages(
    episodes: Sequence[Episode], returns: Sequence[float], rows: Sequence[int], config: AdvantageConfig
) -> GroupAdvantages:
    """Return the group-relative advantage of each episode, after the penalty for invalid turns.

    Args:
        episodes: N episodes.
        returns: [N], what each is worth.
        rows: [N], how many rows each has; read with `advantage.statistics: row` only.
        config: the settings.
    """
    penalized = penalized_episodes(episodes, returns, config.invalid_penalty)
    groups = torch.tensor([episode.group for episode in episodes])
    weights = torch.tensor(rows) if config.statistics == "row" else None
    return group_advantages(penalized, groups, normalize_std=config.normalize_std, weights=weights)


def credit_inputs(lessons: Sequence[Lesson], advantages: torch.Tensor) -> list[CreditInputs]:
    """Return what the rules of `advantage.credit` read, one for each lesson."""
    wins: dict[int, list[bool]] = defaultdict(list)
    for lesson in lessons:
        wins[lesson.episode.group].append(lesson.episode.success)
    return [
        CreditInputs(
            advantage=float(advantage),
            group=lesson.episode.group,
            success_rate=float(np.mean(wins[lesson.episode.group])),
            observations=tuple(turn.observation for turn in lesson.episode.turns),
            rewards=np.array([turn.reward for turn in lesson.episode.turns], dtype=np.float64),
            turn=np.repeat(
                np.arange(len(lesson.episode.turns), dtype=np.int32),
                [turn.end - turn.start for turn in lesson.episode.turns],
            ),
            gap=lesson.score.teacher - lesson.score.student,
        )
        for lesson, advantage in zip(lessons, advantages.tolist(), strict=True)
    ]


def learner_rows(lessons: Sequence[Lesson], advantages: Sequence[NDArray[np.float32]]) -> list[LearnerRow]:
    """Put together what the loss reads, row by row; `advantages` are [A] for each lesson."""
    rows = []
    for lesson, advantage in zip(lessons, advantages, strict=True):
        sampled = lesson.episode.sampler_logprobs[lesson.episode.action_mask]
        end = 0
        for row in lesson.rows:
            mine = slice(end, end := end + len(row.positions))
            rows.append(
                LearnerRow(
                    row=row,
                    advantages=advantage[mine],
                    logp_old=sampled[mine],
                    logp_teacher=lesson.score.teacher[mine],
                    logp_reference=None if lesson.reference is None else lesson.reference[mine],
                    teacher_hidden=None if lesson.teacher_hidden is None else lesson.teacher_hidden[mine],
                    taught=lesson.taught,
                )
            )
    return rows


def run(inputs: StageInputs) -> StageOutput:
    """Store the next policy with its optimiser state, and one report per optimiser step."""
    config = inputs.config
    episodes = inputs.store.episodes(inputs.artifacts["episodes"])
    lessons, returns = _lessons(inputs, episodes)
    advantages = episode_advantages(
        [lesson.episode for lesson in lessons],
        returns,
        [len(lesson.rows) for lesson in lessons],
        config.advantage,
    )
    credits = credit_inputs(lessons, advantages.advantages)
    rows = learner_rows(lessons, token_advantages(credits, config.advantage, inputs.round))
    trusted = trust(inputs, episodes)
    objective = _objective(inputs, trusted)
    trained, budget = trained_policy(inputs), token_budget(config.policy)
    rate_factor = 1 + (config.sdar.lead_rate - 1) * trusted
    optimiser = new_optimiser(trained.model, config.update, rate_factor)
    batches = minibatches(
        len(rows), config.update.minibatch, config.update.epochs, generator(inputs.seed, "minibatches")
    )
    if config.policy.devices > 1:
        base = inputs.store.blob(trained.base) if trained.base else None
        plan = Plan(inputs.folder("policy"), base, config.policy, rate_factor, rows, batches, objective)
        reports = learn_in_ranks(plan, trained.model, optimiser, budget, inputs.store.path / "logs")
    else:
        if (inputs.folder("policy") / OPTIMISER).is_file():
            load_optimiser(optimiser, inputs.folder("policy") / OPTIMISER)
        reports = optimise(trained.model, optimiser, rows, batches, objective, budget)
    save_trained(inputs.scratch, trained)
    save_optimiser(optimiser, inputs.scratch / OPTIMISER, trained.model)
    if config.sdar.teacher == "ema":
        save_average(inputs, trained, optimiser)
    return _output(inputs, reports, advantages, trusted, budget)


def _lessons(inputs: StageInputs, episodes: Sequence[Episode]) -> tuple[list[Lesson], list[float]]:
    """Return the episodes that were selected, and what each is worth."""
    store, dialogue = inputs.store, inputs.policy().dialogue
    scores = store.scores(inputs.artifacts["scores"])
    rows = [student_rows(episode, dialogue) for episode in episodes]
    references, states = _references(inputs, rows), _teacher_states(inputs, scores)
    parts = zip(episodes, scores, rows, references, states, _taught(inputs, episodes), strict=True)
    lessons = [Lesson(*each) for each in parts]
    returns = _returns(inputs, episodes)
    kept = list(range(len(episodes)))
    if "selection" in inputs.artifacts:
        kept = kept_indices(store.selections(inputs.artifacts["selection"]), episodes)
    return [lessons[index] for index in kept], [returns[index] for index in kept]


def _taught(inputs: StageInputs, episodes: Sequence[Episode]) -> list[bool]:
    """Return which episodes have a teacher; contexts are read only where one may be empty."""
    if "contexts" not in inputs.artifacts:
        return [True] * len(episodes)
    contexts = {c.episode_id: c for c in inputs.store.contexts(inputs.artifacts["contexts"])}
    return [bool(contexts[episode.id].skills) for episode in episodes]


def _returns(inputs: StageInputs, episodes: Sequence[Episode]) -> list[float]:
    judged = None
    if "judgements" in inputs.artifacts:
        found = {j.episode_id: j.score for j in inputs.store.judgements(inputs.artifacts["judgements"])}
        judged = [found[episode.id] for episode in episodes]
    return episode_returns([episode.episode_return for episode in episodes], judged, inputs.config.reward)


def _references(inputs: StageInputs, rows: Sequence[list[Row]]) -> Sequence[NDArray[np.float32] | None]:
    """Score the rows under policy 0 when the KL term asks for it."""
    if not inputs.config.update.kl_coefficient:
        return [None] * len(rows)
    temperature = inputs.config.rollout.temperature
    budget = token_budget(inputs.config.policy)
    scored = score_episodes(inputs.policy("policy_0"), rows, temperature, keep_hidden=False, budget=budget)
    return [score.logprobs for score in scored]


def _teacher_states(
    inputs: StageInputs, scores: Sequence[TokenScores]
) -> Sequence[NDArray[np.float32] | None]:
    if not needs_vocabulary(inputs.config.sdar):
        return [None] * len(scores)
    states: NDArray[np.float32] = load_weights(inputs.folder("scores") / TEACHER_STATES)["hidden"].numpy()
    return np.split(states, np.cumsum([len(score.positions) for score in scores])[:-1])


def trust(inputs: StageInputs, episodes: Sequence[Episode]) -> float:
    """Return how far lambda is applied, in [0, 1]: the teacher's lead over the student's episodes, or 1."""
    if "trial" not in inputs.artifacts:
        return 1.0
    trial = inputs.store.episodes(inputs.artifacts["trial"])
    return lead_share(
        sum(episode.success for episode in trial),
        len(trial),
        sum(episode.success for episode in episodes),
        len(episodes),
    )


def _objective(inputs: StageInputs, trusted: float) -> Objective:
    """Return the loss's switches with lambda as it is in this round."""
    config = inputs.config
    head = None
    if needs_vocabulary(config.sdar):
        teacher = teacher_policy(inputs, config.sdar.teacher)
        head = output_head(teacher.model).detach()
    share = scheduled(config.sdar.schedule, config.sdar.schedule_rounds, inputs.round) * trusted
    in_force = config.sdar.model_copy(update={"coefficient": config.sdar.coefficient * share})
    return Objective(in_force, config.update, config.rollout.temperature, head)


def _output(
    inputs: StageInputs,
    reports: Sequence[UpdateReport],
    advantages: GroupAdvantages,
    trusted: float,
    budget: TokenBudget,
) -> StageOutput:
    config, old = inputs.config, inputs.store.policy(inputs.artifacts["policy"])
    record = PolicyRecord(
        id=trained_id(inputs),
        parent=old.id,
        method=config.method,
        round=inputs.round,
        tokenizer_hash=old.tokenizer_hash,
        parameters=old.parameters,
    )
    zero_spread = advantages.zero_spread_groups / max(advantages.groups, 1)
    invalid = float(inputs.store.artifact(inputs.artifacts["episodes"]).summary.get("invalid", 0.0))
    rewarded = config.update.policy_loss == "clipped" and config.update.policy_coefficient > 0
    spreadless = zero_spread if rewarded else 0.0  # without advantages nothing is lost where they are all 0
    warnings = warnings_for(reports, spreadless, config.sdar, config.update.max_gradient_norm, invalid)
    warnings += [budget.warning] if budget.halvings else []
    names = (
        "loss", "kl", "drift", "entropy", "clip_share", "gate_mean", "gate_share", "coefficient", "gap_mean",
        "gradient_norm",
    )  # fmt: skip
    # A skipped step has no figures: its loss may be infinite. Where none was taken there is nothing to tell.
    taken = [report for report in reports if not report.skipped]
    means = {name: float(np.mean([getattr(report, name) for report in taken])) for name in names if taken}
    return StageOutput(
        kind="policy",
        rows={"policy": [record], "update_step": list(reports)},
        summary={
            **means,
            "zero_spread_share": zero_spread,
            "trust": trusted,
            "skipped": float(sum(report.skipped for report in reports)),
            "policy": record.id,
            "warnings": " ".join(warnings),
        },
        folder=inputs.scratch,
    )


STAGE = Stage("update", 2, ("method", "advantage", "reward", "sdar", "update", "rollout.temperature"), run)
