"""Stage `score`: the same action tokens under the student and under the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from sdar.policy.dialogue import Dialogue
from sdar.policy.memory import TOKEN_BUDGETS, TokenBudget, token_budget
from sdar.policy.model import Policy, save_weights
from sdar.policy.rows import cuts, episode_rows
from sdar.policy.scoring import Packed, Row, forward_rows, pack, token_logprobs
from sdar.rl.checks import (
    check_logprob_agreement,
    check_mean_agreement,
    check_same_actions,
    check_skills_arrive,
    check_teacher_effect,
)
from sdar.rl.divergences import needs_vocabulary
from sdar.schemas.config import RunConfig, TeacherWeights
from sdar.schemas.counting import count
from sdar.schemas.lineage import Summary
from sdar.schemas.records import Episode, TeacherContext, TokenScores
from sdar.tasks.engine import VLLM
from sdar.tasks.shards import PolicyFiles, Tables
from sdar.tasks.stage import Stage, StageInputs, StageOutput

TEACHER_STATES = "teacher_states.safetensors"
EMA = "ema"


@dataclass(frozen=True)
class RowScores:
    """Scores of A action tokens: log-probs, normalised entropy, and states [A, H] if asked for.

    The entropy is NaN where the engine that scored tells none.
    """

    logprobs: NDArray[np.float32]
    entropy: NDArray[np.float32]
    hidden: NDArray[np.float32] | None


def action_positions(episode: Episode) -> NDArray[np.int32]:
    """Return the places of the action tokens in the episode's row, [A]."""
    return np.flatnonzero(episode.action_mask).astype(np.int32)


def student_rows(episode: Episode, dialogue: Dialogue) -> list[Row]:
    """Return the episode as it was sampled: its rows, whose scored tokens are its action tokens in order."""
    prompt = episode.token_ids[: episode.prompt_length]
    return episode_rows(episode, prompt, cuts(episode, dialogue))


def teacher_rows(episode: Episode, context: TeacherContext, dialogue: Dialogue) -> list[Row]:
    """Return the episode with the teacher's prompt in place of the student's; all later ids are untouched."""
    return episode_rows(episode, context.prompt_ids, cuts(episode, dialogue))


def score_rows(
    policy: Policy,
    rows: Sequence[Row],
    temperature: float,
    *,
    keep_hidden: bool,
    budget: TokenBudget | None = None,
) -> list[RowScores]:
    """Score rows without gradient and return them in the order given.

    Args:
        policy: the weights that score.
        rows: token ids and the positions to score.
        temperature: the sampling temperature; log-probs are of the tempered distribution.
        keep_hidden: keep the states from which each token is predicted.
        budget: padded tokens of a pass; that of the device by default. What was scored before memory ran
            out is kept.
    """
    scores: dict[int, RowScores] = {}
    budget = budget or TokenBudget(TOKEN_BUDGETS[policy.model.device.type])

    def score_rest(tokens: int) -> None:
        rest = [index for index in range(len(rows)) if index not in scores]
        for packed in forward_rows(policy.model, [rows[index] for index in rest], tokens):
            found = _packed_scores(policy, packed, temperature, keep_hidden=keep_hidden)
            scores.update((rest[place], score) for place, score in zip(packed.rows, found, strict=True))
            count(len(scores), len(rows), "rows")

    with torch.inference_mode():
        budget.fit(score_rest, [len(row.token_ids) for row in rows])
    return [scores[index] for index in range(len(rows))]


def _packed_scores(
    policy: Policy, packed: Packed, temperature: float, *, keep_hidden: bool
) -> list[RowScores]:
    chosen, entropy = (each.cpu().numpy() for each in token_logprobs(policy.model, packed, temperature))
    hidden = packed.hidden.float().cpu().numpy() if keep_hidden else None
    owner = packed.owner.cpu().numpy()
    places = [owner == place for place in range(len(packed.rows))]
    return [
        RowScores(chosen[mine], entropy[mine], hidden[mine] if hidden is not None else None)
        for mine in places
    ]


def score_episodes(
    policy: Policy,
    episodes: Sequence[Sequence[Row]],
    temperature: float,
    *,
    keep_hidden: bool,
    budget: TokenBudget | None = None,
) -> list[RowScores]:
    """Score the rows of each episode, see `score_rows`, and put them together again in order."""
    rows = list(chain(*episodes))
    return _by_episode(
        episodes, score_rows(policy, rows, temperature, keep_hidden=keep_hidden, budget=budget)
    )


def _by_episode(episodes: Sequence[Sequence[Row]], scores: Sequence[RowScores]) -> list[RowScores]:
    scored = iter(scores)
    return [_joined(list(islice(scored, len(rows)))) for rows in episodes]


def _teacher_scores(
    inputs: StageInputs, episodes: Sequence[Sequence[Row]], *, keep_hidden: bool, budget: TokenBudget
) -> list[RowScores]:
    config = inputs.config
    role = teacher_role(inputs, config.sdar.teacher)
    if config.policy.scorer == VLLM:
        return _scored_by_vllm(config, inputs.policy(*role), episodes)
    temperature = config.rollout.temperature
    return score_in_batches(inputs, role, episodes, temperature, budget, keep_hidden=keep_hidden)


def _scored_by_vllm(config: RunConfig, policy: Policy, episodes: Sequence[Sequence[Row]]) -> list[RowScores]:
    from sdar.policy import vllm_engine

    rows, settings = list(chain(*episodes)), config.policy
    found = iter(vllm_engine.score_rows(policy, rows, settings.max_tokens, settings.engine_memory))
    told = [np.concatenate([*islice(found, len(each)), np.zeros(0, np.float32)]) for each in episodes]
    return [RowScores(logprobs, np.full_like(logprobs, np.nan), None) for logprobs in told]


def _joined(parts: Sequence[RowScores]) -> RowScores:
    if not parts:  # an episode that broke before its first turn has no window
        return RowScores(np.zeros(0, np.float32), np.zeros(0, np.float32), None)
    states = [part.hidden for part in parts if part.hidden is not None]
    return RowScores(
        np.concatenate([part.logprobs for part in parts]),
        np.concatenate([part.entropy for part in parts]),
        np.concatenate(states) if states else None,
    )


@dataclass(frozen=True)
class ScoreJob:
    """Scores batches of rows, see `score_rows`; `budget` is halved for good where memory runs out."""

    policy: PolicyFiles
    temperature: float
    keep_hidden: bool
    budget: TokenBudget

    def run(self, policy: Policy, batch: Sequence[Row]) -> Scored:
        """Score the rows of a batch."""
        before = self.budget.halvings
        scores = score_rows(policy, batch, self.temperature, keep_hidden=self.keep_hidden, budget=self.budget)
        return Scored(scores, self.budget.tokens, self.budget.halvings - before)

    def write_batch(self, batch: Sequence[Row]) -> Tables:
        """Return two lists per row: its ids and its positions."""
        fields = ("token_ids", "positions")
        return {"row": pa.table({name: [getattr(row, name) for row in batch] for name in fields}, _ROW)}

    def read_batch(self, tables: Tables) -> list[Row]:
        """Return the rows."""
        ids, positions = (column.combine_chunks() for column in tables["row"].columns)
        return [Row(*(each.values.to_numpy() for each in row)) for row in zip(ids, positions, strict=True)]

    def write_result(self, result: Scored) -> Tables:
        """Return one row per scored token, and how many tokens each of the batch's rows has."""
        parts = [score.hidden for score in result.scores if score.hidden is not None]
        columns = {
            name: np.concatenate([getattr(score, name) for score in result.scores])
            for name in ("logprobs", "entropy")
        }
        if parts:
            hidden = np.concatenate(parts)
            columns["hidden"] = pa.FixedSizeListArray.from_arrays(hidden.reshape(-1), hidden.shape[1])
        counts = [len(score.logprobs) for score in result.scores]
        budget = {"tokens": [result.tokens], "halvings": [result.halvings]}
        return {"token": pa.table(columns), "count": pa.table({"count": counts}), "budget": pa.table(budget)}

    def read_result(self, tables: Tables) -> Scored:
        """Return the scores, bit for bit."""
        token, (budget,) = tables["token"], tables["budget"].to_pylist()
        ends = np.cumsum(tables["count"]["count"].to_numpy())[:-1]
        logprobs, entropy = (np.split(token[name].to_numpy(), ends) for name in ("logprobs", "entropy"))
        hidden: list[NDArray[np.float32] | None] = [None] * len(logprobs)
        if "hidden" in token.column_names:
            column = token["hidden"].combine_chunks()
            hidden = [*np.split(column.values.to_numpy().reshape(-1, column.type.list_size), ends)]
        return Scored([RowScores(*each) for each in zip(logprobs, entropy, hidden, strict=True)], **budget)


@dataclass(frozen=True)
class Scored:
    """Scores of a batch of rows, the budget in the end, and how often it was halved for this batch."""

    scores: list[RowScores]
    tokens: int
    halvings: int


_ROW = pa.schema([("token_ids", pa.list_(pa.int32())), ("positions", pa.list_(pa.int32()))])
_BATCHES = 64
"""Most batches of rows, each of which is two folders where batches travel as files."""


def scoring_batches(lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """Cut rows into batches of whole passes, so that a row shares its pass with the same rows as if uncut.

    Args:
        lengths: of the rows in tokens.
        tokens: the budget of a pass.

    Returns:
        The indices of the rows of each batch, longest first: packed by themselves, they give their passes.
    """
    passes = pack(lengths, tokens)
    size = -(-len(passes) // _BATCHES) or 1
    return [list(chain(*passes[start : start + size])) for start in range(0, len(passes), size)]


def score_in_batches(
    inputs: StageInputs,
    role: tuple[str, str],
    episodes: Sequence[Sequence[Row]],
    temperature: float,
    budget: TokenBudget,
    *,
    keep_hidden: bool,
) -> list[RowScores]:
    """Score the rows of each episode wherever the run has its batches done; see `score_episodes`.

    Args:
        inputs: of the stage.
        role: role and part of the policy that scores.
        episodes: the rows of each.
        temperature: see `score_rows`.
        budget: padded tokens of a pass; counts what it was halved anywhere.
        keep_hidden: see `score_rows`.
    """
    rows, before = list(chain(*episodes)), budget.halvings
    batches = scoring_batches([len(row.token_ids) for row in rows], budget.tokens)
    job = ScoreJob(inputs.policy_files(*role), temperature, keep_hidden, budget)
    done = inputs.map(job, inputs.policy(*role), [[rows[index] for index in batch] for batch in batches])
    budget.tokens = min([budget.tokens, *(part.tokens for part in done)])
    budget.halvings = before + sum(part.halvings for part in done)
    scores = dict(zip(chain(*batches), chain(*(part.scores for part in done)), strict=True))
    return _by_episode(episodes, [scores[index] for index in range(len(rows))])


def teacher_role(inputs: StageInputs, teacher: TeacherWeights) -> tuple[str, str]:
    """Return role and part of the weights that play the teacher.

    They are those that collected the round, an earlier policy, or an EMA. The role `teacher` names the
    earlier policy, if any: policy 0 when frozen, the last copy when periodic.
    """
    if teacher in ("frozen", "periodic"):
        return "teacher", ""
    if teacher == "ema" and (inputs.folder("policy") / EMA).is_dir():
        return "policy", EMA
    return "policy", ""


def teacher_policy(inputs: StageInputs, teacher: TeacherWeights) -> Policy:
    """Return the weights that play the teacher, see `teacher_role`."""
    return inputs.policy(*teacher_role(inputs, teacher))


def check_alignment(
    episodes: Sequence[Episode],
    student: Sequence[RowScores],
    temperature: float,
    tolerance: float,
    policy: Policy,
) -> float:
    """Check that the learner's log-probs at the weights that sampled are the sampler's; return the worst.

    In float32 no token may differ by more than the tolerance, in bfloat16 the mean is limited.
    """
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
    check = check_mean_agreement if policy.model.dtype == torch.bfloat16 else check_logprob_agreement
    return check(sampled, scored, tolerance, engine, describe).max


def token_scores(
    episodes: Sequence[Episode],
    student: Sequence[RowScores],
    teacher: Sequence[RowScores],
    told: Sequence[bool],
) -> list[TokenScores]:
    """Put the student's and the teacher's scores of each episode side by side, all in the same order.

    An episode whose context has no skill (`told` False) has no teacher: its gaps are 0.
    """
    return [
        TokenScores(
            episode_id=episode.id,
            positions=action_positions(episode),
            student=mine.logprobs,
            teacher=theirs.logprobs if knows else mine.logprobs,
            entropy=mine.entropy,
        )
        for episode, mine, theirs, knows in zip(episodes, student, teacher, told, strict=True)
    ]


def run(inputs: StageInputs) -> StageOutput:
    """Store token scores, and the teacher's states where the divergence needs its whole distribution."""
    config = inputs.config
    temperature, dialogue = config.rollout.temperature, inputs.policy().dialogue
    episodes = inputs.store.episodes(inputs.artifacts["episodes"])
    contexts = {c.episode_id: c for c in inputs.store.contexts(inputs.artifacts["contexts"])}
    mine = [student_rows(episode, dialogue) for episode in episodes]
    theirs = [teacher_rows(episode, contexts[episode.id], dialogue) for episode in episodes]
    told = [bool(contexts[episode.id].skills) for episode in episodes]
    alone = not config.rollout.with_skills  # else the student reads the same skills
    for episode, own, rows, knows in zip(episodes, mine, theirs, told, strict=True):
        found = [row.token_ids[row.positions] for row in rows] or [episode.token_ids[:0]]
        check_same_actions(episode.token_ids[episode.action_mask], np.concatenate(found))
        if alone and knows and rows:
            check_skills_arrive(own[0].token_ids, rows[0].token_ids, episode.id)
    keep, budget = needs_vocabulary(config.sdar), token_budget(config.policy)
    student = score_in_batches(inputs, ("policy", ""), mine, temperature, budget, keep_hidden=False)
    worst = check_alignment(episodes, student, temperature, config.checks.logprob_tolerance, inputs.policy())
    teacher = _teacher_scores(inputs, theirs, keep_hidden=keep, budget=budget)
    scores = token_scores(episodes, student, teacher, told)
    gaps = [score.teacher - score.student for score in scores]
    gap = np.concatenate(gaps)
    if alone:
        taught = [each for each, knows in zip(gaps, told, strict=True) if knows]
        check_teacher_effect(np.concatenate([*taught, gap[:0]]))
    if keep:
        states = [score.hidden for score in teacher if score.hidden is not None]
        save_weights(inputs.scratch / TEACHER_STATES, {"hidden": torch.from_numpy(np.concatenate(states))})
    summary: Summary = {
        "gap": float(gap.mean()),
        "gap_std": float(gap.std()),
        "entropy": float(np.concatenate([score.entropy for score in scores]).mean()),
        "logprob_difference": worst,
        "tokens": float(sum(len(row.token_ids) for rows in (*mine, *theirs) for row in rows)),
        **({"warnings": budget.warning} if budget.halvings else {}),
    }
    return StageOutput(
        kind="scores",
        rows={"token_score": scores},
        summary=summary,
        folder=inputs.scratch if keep else None,
    )


def _states_read(config: RunConfig) -> dict[str, str]:
    # Only whether states are kept depends on gate, divergence and lambda: scores outlive a change of these.
    return {"teacher_states": "kept" if needs_vocabulary(config.sdar) else "not needed"}


STAGE = Stage(
    "score",
    2,
    (
        "rollout.temperature",
        "rollout.with_skills",
        "sdar.teacher",
        "checks.logprob_tolerance",
    ),
    run,
    seeded=False,
    fingerprint=_states_read,
)
