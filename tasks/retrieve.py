"""Stage `retrieve`: the teacher's privileged context of every episode, with its audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from sdar.policy.dialogue import Dialogue
from sdar.policy.rows import cuts, episode_rows
from sdar.schemas.config import RunConfig, SkillsConfig
from sdar.schemas.errors import CheckFailedError
from sdar.schemas.keys import content_hash
from sdar.schemas.lineage import Summary
from sdar.schemas.records import Episode, Record, Skill, SkillStat, TaskSpec, TeacherContext
from sdar.schemas.seeds import derive_seed
from sdar.skills.context import SkillBlock, build_context
from sdar.skills.retrieval import Retriever
from sdar.skills.similarity import Similarity
from sdar.skills.usefulness import count_uses
from sdar.tasks.bank import stage_similarity
from sdar.tasks.stage import Stage, StageInputs, StageOutput


def skill_blocks(
    tasks: Sequence[TaskSpec],
    skills: Sequence[Skill],
    config: SkillsConfig,
    dialogue: Dialogue,
    seed: int,
    statistics: Sequence[SkillStat] = (),
    similarity: Similarity | None = None,
) -> dict[str, SkillBlock]:
    """Return the skill block of each task, by task id; the query is the goal alone."""
    retriever = Retriever.from_bank(skills, config, statistics, similarity)
    return {
        task.id: build_context(
            retriever.retrieve(task.goal, task.type, derive_seed(seed, task.id)),
            task.goal,
            config,
            dialogue.count,
        )
        for task in tasks
    }


def block_texts(
    inputs: StageInputs, tasks: Sequence[TaskSpec], dialogue: Dialogue, seed: int
) -> dict[str, str]:
    """Return the text of each task's skill block, by task id, for a policy that acts with it."""
    skills = inputs.store.skills(inputs.artifacts["bank"])
    blocks = skill_blocks(
        tasks,
        skills,
        inputs.config.skills,
        dialogue,
        seed,
        similarity=stage_similarity(inputs, skills),
    )
    return {task_id: block.text for task_id, block in blocks.items()}


def skills_read(config: RunConfig) -> dict[str, str]:
    """Return what enters the key of a stage that retrieves skills under certain settings only."""
    return {"skills": content_hash(config.skills.model_dump(mode="json"))}


def teacher_prompt(episode: Episode, goal: str, block: str, dialogue: Dialogue) -> NDArray[np.int32]:
    """Return the ids of the student's own prompt with a skill block at its beginning."""
    observation = episode.turns[0].observation if episode.turns else ""
    return np.array(dialogue.prompt(goal, observation, block), dtype=np.int32)


def teacher_context(
    episode: Episode,
    task: TaskSpec,
    block: SkillBlock,
    config: SkillsConfig,
    dialogue: Dialogue,
    max_tokens: int,
) -> TeacherContext:
    """Return the context of one episode: the block in front of the student's own prompt.

    The block has its budget first; an episode never has to give way to it, because the configuration must
    leave room for both.

    Raises:
        CheckFailedError: block and episode together exceed the context window.
    """
    prompt = teacher_prompt(episode, task.goal, block.text, dialogue)
    rows = episode_rows(episode, prompt, cuts(episode, dialogue))
    length = max((len(row.token_ids) for row in rows), default=0)
    if length > max_tokens:
        raise CheckFailedError(
            f"the teacher's row of episode {episode.id} has {length} tokens, the context window "
            f"{max_tokens}; raise policy.max_tokens or lower skills.budget (now {config.budget})"
        )
    return TeacherContext(
        episode_id=episode.id,
        rule=config.strategy,
        query=task.goal,
        skills=block.used,
        block=block.text,
        prompt_ids=prompt,
        budget=config.budget,
        tokens_used=block.tokens_used,
        tokens_cut=block.tokens_cut,
    )


def skill_statistics(inputs: StageInputs) -> list[SkillStat]:
    """Return what the rounds before this one taught about the skills; nothing unless the strategy asks.

    The round before kept the counts of all rounds before itself, and only its own episodes are added. A
    branch that turns to `ucb` on the way begins with the round before.
    """
    if "previous" not in inputs.artifacts:
        return []
    store, artifacts = inputs.store, inputs.artifacts
    success = {episode.id: episode.success for episode in store.episodes(artifacts["previous_episodes"])}
    gaps = {
        score.episode_id: float(np.mean(score.teacher.astype(np.float64) - score.student))
        for score in store.scores(artifacts["previous_scores"])
        if len(score.positions)
    }
    before, contexts = store.skill_stats(artifacts["previous"]), store.contexts(artifacts["previous"])
    return count_uses(before, contexts, success, gaps)


def run(inputs: StageInputs) -> StageOutput:
    """Store one teacher context per episode, and the statistics of the skills where they decided."""
    config, store = inputs.config, inputs.store
    episodes = store.episodes(inputs.artifacts["episodes"])
    tasks: Mapping[str, TaskSpec] = {task.id: task for task in store.tasks(inputs.artifacts["episodes"])}
    skills = store.skills(inputs.artifacts["bank"])
    dialogue = inputs.policy().dialogue
    statistics = skill_statistics(inputs)
    blocks = skill_blocks(
        list(tasks.values()),
        skills,
        config.skills,
        dialogue,
        inputs.seed,
        statistics,
        stage_similarity(inputs, skills),
    )
    contexts = [
        teacher_context(
            episode,
            tasks[episode.task_id],
            blocks[episode.task_id],
            config.skills,
            dialogue,
            config.policy.max_tokens,
        )
        for episode in episodes
    ]
    used = [context.tokens_used for context in contexts]
    summary: Summary = {
        "skills": float(np.mean([len(context.skills) for context in contexts])),
        "tokens": float(np.mean(used)),
        "cut": float(sum(context.tokens_cut for context in contexts)),
        "empty": float(sum(not context.skills for context in contexts)),
        "generic": float(sum(blocks[episode.task_id].generic for episode in episodes)),
    }
    rows: dict[str, Sequence[Record]] = {"teacher_context": contexts}
    if statistics:
        rows["skill_stat"] = statistics
    return StageOutput(kind="contexts", rows=rows, summary=summary)


STAGE = Stage("retrieve", 2, ("skills", "policy.max_tokens"), run)
