"""Stage `score`: the same action tokens under the student and under the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sdar.policy.model import Policy, save_weights
from sdar.policy.scoring import Row, forward_rows, log_distribution, normalised_entropy
from sdar.rl.checks import check_logprob_agreement, check_same_actions, check_teacher_effect
from sdar.rl.divergences import needs_vocabulary
from sdar.schemas.config import TeacherWeights
from sdar.schemas.lineage import Summary
from sdar.schemas.records import Episode, TeacherContext, TokenScores
from sdar.tasks.stage import Stage, StageInputs, StageOutput

TEACHER_STATES = "teacher_states.safetensors"
EMA = "ema"


@dataclass(frozen=True)
class RowScores:
    """Scores of one row's A action tokens: log-probs, normalised entropy, and states [A, H] if asked for."""

    logprobs: NDArray[np.float32]
    entropy: NDArray[np.float32]
    hidden: NDArray[np.float32] | None


def action_positions(episode: Episode) -> NDArray[np.int32]:
    """Return the places of the action tokens in the episode's row, [A]."""
    return np.flatnonzero(episode.action_mask).astype(np.int32)


def student_row(episode: Episode) -> Row:
    """Return the episode as it was sampled."""
    return Row(episode.token_ids, action_positions(episode))


def teacher_row(episode: Episode, context: TeacherContext) -> Row:
    """Return the episode with the teacher's prompt in place of the student's; all later ids are untouched."""
    body = episode.token_ids[episode.prompt_length :]
    shift = len(context.prompt_ids) - episode.prompt_length
    positions = (action_positions(episode) + shift).astype(np.int32)
    return Row(np.concatenate([context.prompt_ids, body]), positions)


def score_rows(
    policy: Policy, rows: Sequence[Row], temperature: float, *, keep_hidden: bool
) -> list[RowScores]:
    """Score rows without gradient and return them in the order given.

    Args:
        policy: the weights that score.
        rows: token ids and the positions to score.
        temperature: the sampling temperature; log-probs are of the tempered distribution.
        keep_hidden: keep the states from which each token is predicted.
    """
    scores: dict[int, RowScores] = {}
    with torch.inference_mode():
        for packed in forward_rows(policy.model, rows):
            logprobs = log_distribution(policy.model, packed.hidden, temperature)
            chosen = logprobs.gather(1, packed.targets[:, None])[:, 0].cpu().numpy()
            entropy = normalised_entropy(logprobs).cpu().numpy()
            hidden = packed.hidden.float().cpu().numpy() if keep_hidden else None
            owner = packed.owner.cpu().numpy()
            for place, index in enumerate(packed.rows):
                mine = owner == place
                scores[index] = RowScores(
                    chosen[mine], entropy[mine], hidden[mine] if hidden is not None else None
                )
    return [scores[index] for index in range(len(rows))]


def teacher_policy(inputs: StageInputs, teacher: TeacherWeights) -> Policy:
    """Return the weights that play the teacher: those that collected the round, policy 0, or their EMA."""
    if teacher == "frozen":
        return inputs.policy("policy_0")
    if teacher == "ema" and (inputs.folder("policy") / EMA).is_dir():
        return inputs.policy("policy", EMA)
    return inputs.policy()


def check_alignment(
    episodes: Sequence[Episode],
    student: Sequence[RowScores],
    temperature: float,
    tolerance: float,
    policy: Policy,
) -> float:
    """Check that the learner's log-probs at the weights that sampled are the sampler's; return the worst."""
    owners = [(e, place) for e in episodes for place in action_positions(e)]

    def describe(index: int) -> str:
        episode, place = owners[index]
        turn = next(turn.index for turn in episode.turns if turn.start <= place < turn.end)
        token = int(episode.token_ids[place])
        text = policy.dialogue.pieces()[token]
        return f"episode {episode.id}, turn {turn}, position {place}, token {token} {text!r}"

    sampled = np.concatenate([e.sampler_logprobs[e.action_mask] for e in episodes])
    scored = np.concatenate([score.logprobs for score in student])
    engine = f"{episodes[0].engine} at temperature {temperature:g}"
    return check_logprob_agreement(sampled, scored, tolerance, engine, describe).max


def token_scores(
    episodes: Sequence[Episode], student: Sequence[RowScores], teacher: Sequence[RowScores]
) -> list[TokenScores]:
    """Put the student's and the teacher's scores of each episode side by side, all in the same order."""
    return [
        TokenScores(
            episode_id=episode.id,
            positions=action_positions(episode),
            student=mine.logprobs,
            teacher=theirs.logprobs,
            entropy=mine.entropy,
        )
        for episode, mine, theirs in zip(episodes, student, teacher, strict=True)
    ]


def run(inputs: StageInputs) -> StageOutput:
    """Store token scores, and the teacher's states where the divergence needs its whole distribution."""
    config = inputs.config
    temperature = config.rollout.temperature
    episodes = inputs.store.episodes(inputs.artifacts["episodes"])
    contexts = {c.episode_id: c for c in inputs.store.contexts(inputs.artifacts["contexts"])}
    teacher_rows = [teacher_row(episode, contexts[episode.id]) for episode in episodes]
    for episode, row in zip(episodes, teacher_rows, strict=True):
        check_same_actions(episode.token_ids[episode.action_mask], row.token_ids[row.positions])
    keep = needs_vocabulary(config.sdar.divergence) and config.sdar.coefficient > 0
    student = score_rows(inputs.policy(), [student_row(e) for e in episodes], temperature, keep_hidden=False)
    worst = check_alignment(episodes, student, temperature, config.checks.logprob_tolerance, inputs.policy())
    teacher = score_rows(
        teacher_policy(inputs, config.sdar.teacher), teacher_rows, temperature, keep_hidden=keep
    )
    scores = token_scores(episodes, student, teacher)
    gap = np.concatenate([score.teacher - score.student for score in scores])
    told = [np.full(len(score.positions), bool(contexts[score.episode_id].skills)) for score in scores]
    check_teacher_effect(gap[np.concatenate(told)])
    if keep:
        states = [score.hidden for score in teacher if score.hidden is not None]
        save_weights(inputs.scratch / TEACHER_STATES, {"hidden": torch.from_numpy(np.concatenate(states))})
    summary: Summary = {
        "gap": float(gap.mean()),
        "gap_std": float(gap.std()),
        "entropy": float(np.concatenate([score.entropy for score in scores]).mean()),
        "logprob_difference": worst,
        "tokens": float(2 * sum(len(episode.token_ids) for episode in episodes)),
    }
    return StageOutput(
        kind="scores",
        rows={"token_score": scores},
        summary=summary,
        folder=inputs.scratch if keep else None,
    )


STAGE = Stage(
    "score",
    1,
    (
        "rollout.temperature",
        "sdar.teacher",
        "sdar.divergence",
        "sdar.coefficient",
        "checks.logprob_tolerance",
    ),
    run,
    seeded=False,
)
