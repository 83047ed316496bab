"""Stage `judge`: the policy's own verdicts on its episodes, each under another set of skills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sdar.policy.dialogue import Dialogue
from sdar.policy.memory import token_budget
from sdar.rl.checks import check_teacher_effect
from sdar.rl.judging import auroc, consistencies, echo_warning
from sdar.schemas.config import SkillsConfig
from sdar.schemas.lineage import Summary
from sdar.schemas.records import Episode, SelfJudgement, Skill, TaskSpec, TeacherContext
from sdar.schemas.seeds import derive_seed, generator
from sdar.skills.context import SkillBlock, build_context
from sdar.skills.retrieval import Retriever
from sdar.skills.similarity import Similarity
from sdar.tasks.bank import stage_similarity
from sdar.tasks.retrieve import teacher_context
from sdar.tasks.score import score_episodes, student_rows, teacher_policy, teacher_rows
from sdar.tasks.stage import Stage, StageInputs, StageOutput

WIDER = 2
"""Subsets are drawn from this many times `skills.top_k` skills, so that two of them can differ."""


@dataclass(frozen=True)
class Opinions:
    """What the teacher thinks of N episodes under K sets of skills, means over action tokens in nats.

    `gap` and `teacher` are [N, K]: the mean gap, and the mean log-prob of the teacher.
    """

    gap: NDArray[np.float32]
    teacher: NDArray[np.float32]

    def verdicts(self, kind: Literal["gap", "teacher"]) -> NDArray[np.float32]:
        """Return what `reward.verdict` asks for, [N, K]."""
        return self.gap if kind == "gap" else self.teacher


def draw_subsets(count: int, contexts: int, seed: int) -> list[tuple[int, ...]]:
    """Return one subset of the hits for each context, of half of them rounded up.

    No subset comes a second time before all of that size had their turn.

    Args:
        count: number of hits; 0 gives empty subsets.
        contexts: number of subsets.
        seed: decides them; context k draws from a generator of its own.

    Returns:
        Places of the hits in rising order, so that the best skill of a subset stays first.
    """
    size = (count + 1) // 2
    possible = comb(count, size)
    drawn: list[tuple[int, ...]] = []
    for k in range(contexts):
        taken, random = drawn[k - k % possible :], generator(seed, "subset", k)
        while (subset := tuple(sorted(random.permutation(count)[:size].tolist()))) in taken:
            pass
        drawn.append(subset)
    return drawn


def judging_blocks(
    tasks: Sequence[TaskSpec],
    skills: Sequence[Skill],
    config: SkillsConfig,
    contexts: int,
    dialogue: Dialogue,
    seed: int,
    similarity: Similarity | None = None,
) -> dict[str, list[SkillBlock]]:
    """Return the skill blocks of each task, by task id, one for each context.

    The strategy is asked for twice `top_k` skills, and each block gets some of these within the same budget
    as a teacher's; one of general skills only is another opinion, not an error. `ucb` ranks by similarity
    here: what it learned is about single sets of skills.

    Raises:
        CheckFailedError: a block is empty and the configuration does not allow it.
    """
    wider = config.model_copy(update={"top_k": WIDER * config.top_k})
    retriever = Retriever.from_bank(skills, wider, similarity=similarity)
    lenient = config.model_copy(update={"allow_generic": True})
    blocks = {}
    for task in tasks:
        own = derive_seed(seed, task.id)
        hits = retriever.retrieve(task.goal, task.type, own)
        blocks[task.id] = [
            build_context([hits[place] for place in subset], task.goal, lenient, dialogue.count)
            for subset in draw_subsets(len(hits), contexts, own)
        ]
    return blocks


def judging_contexts(inputs: StageInputs, episodes: Sequence[Episode]) -> list[list[TeacherContext]]:
    """Return the K contexts of each episode; episodes of one task share them."""
    config, dialogue = inputs.config, inputs.policy().dialogue
    tasks = {task.id: task for task in inputs.store.tasks(inputs.artifacts["episodes"])}
    skills = inputs.store.skills(inputs.artifacts["bank"])
    blocks = judging_blocks(
        list(tasks.values()),
        skills,
        config.skills,
        config.reward.contexts,
        dialogue,
        inputs.seed,
        stage_similarity(inputs, skills),
    )
    return [
        [
            teacher_context(
                episode, tasks[episode.task_id], block, config.skills, dialogue, config.policy.max_tokens
            )
            for block in blocks[episode.task_id]
        ]
        for episode in episodes
    ]


def opinions(
    inputs: StageInputs, episodes: Sequence[Episode], contexts: Sequence[Sequence[TeacherContext]]
) -> Opinions:
    """Score the episodes as they were sampled, and under each of their contexts.

    An episode without action tokens gets 0 everywhere: there is nothing to judge.

    Raises:
        CheckFailedError: no skill of any context changed a log-prob, or one is not finite.
    """
    temperature, dialogue = inputs.config.rollout.temperature, inputs.policy().dialogue
    teacher = teacher_policy(inputs, inputs.config.sdar.teacher)
    budget = token_budget(inputs.config.policy)
    mine = [student_rows(episode, dialogue) for episode in episodes]
    student = score_episodes(inputs.policy(), mine, temperature, keep_hidden=False, budget=budget)
    verdicts, logprobs, told = [], [], list[NDArray[np.float32]]()
    for given in zip(*contexts, strict=True):
        rows = [teacher_rows(e, context, dialogue) for e, context in zip(episodes, given, strict=True)]
        theirs = score_episodes(teacher, rows, temperature, keep_hidden=False, budget=budget)
        gaps = [t.logprobs - s.logprobs for t, s in zip(theirs, student, strict=True)]
        told += [gap for gap, context in zip(gaps, given, strict=True) if context.skills]
        verdicts.append([_mean(gap) for gap in gaps])
        logprobs.append([_mean(score.logprobs) for score in theirs])
    check_teacher_effect(np.concatenate([*told, np.zeros(0, np.float32)]))
    return Opinions(np.array(verdicts, np.float32).T, np.array(logprobs, np.float32).T)


def _mean(values: NDArray[np.float32]) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else 0.0


def judgements(episodes: Sequence[Episode], verdicts: NDArray[np.float32]) -> list[SelfJudgement]:
    """Return the judgement on each episode.

    Args:
        episodes: N episodes.
        verdicts: [N, K] mean gaps or mean log-probs, in nats.
    """
    shares = consistencies(verdicts, [episode.group for episode in episodes])
    return [
        SelfJudgement(episode_id=episode.id, verdicts=own, score=_mean(own), consistency=share)
        for episode, own, share in zip(episodes, verdicts, shares, strict=True)
    ]


def figures(episodes: Sequence[Episode], judged: Sequence[SelfJudgement], opinion: Opinions) -> Summary:
    """Return the figures of a round; AUROC only where some episodes succeeded and others did not.

    `auroc` is that of the score with its 95 % interval; `auroc_gap` and `auroc_teacher` are those of the two
    kinds of verdict, one of which made the score.
    """
    scores, success = [each.score for each in judged], [episode.success for episode in episodes]
    area = auroc(scores, success)
    gap, teacher = (auroc(each.mean(axis=1), success) for each in (opinion.gap, opinion.teacher))
    summary: Summary = {
        "score": float(np.mean(scores)),
        "consistency": float(np.mean([each.consistency for each in judged])),
    }
    if area is not None and gap is not None and teacher is not None:
        summary |= {"auroc": area.value, "auroc_low": area.low, "auroc_high": area.high}
        summary |= {"auroc_gap": gap.value, "auroc_teacher": teacher.value}
    return {**summary, "warnings": echo_warning(area)}


def run(inputs: StageInputs) -> StageOutput:
    """Store one judgement per episode."""
    episodes = inputs.store.episodes(inputs.artifacts["episodes"])
    opinion = opinions(inputs, episodes, judging_contexts(inputs, episodes))
    judged = judgements(episodes, opinion.verdicts(inputs.config.reward.verdict))
    return StageOutput(
        kind="judgements", rows={"self_judgement": judged}, summary=figures(episodes, judged, opinion)
    )


STAGE = Stage(
    "judge",
    2,
    (
        "reward.contexts",
        "reward.verdict",
        "skills",
        "sdar.teacher",
        "rollout.temperature",
        "policy.max_tokens",
    ),
    run,
)
