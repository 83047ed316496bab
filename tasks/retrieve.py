"""Stage `retrieve`: the teacher's privileged context of every episode, with its audit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sdar.policy.dialogue import Dialogue
from sdar.schemas.config import SkillsConfig
from sdar.schemas.errors import CheckFailedError
from sdar.schemas.lineage import Summary
from sdar.schemas.records import Episode, Skill, TaskSpec, TeacherContext
from sdar.schemas.seeds import derive_seed
from sdar.skills.context import SkillBlock, build_context
from sdar.skills.retrieval import Retriever
from sdar.tasks.stage import Stage, StageInputs, StageOutput


def skill_blocks(
    tasks: Sequence[TaskSpec], skills: Sequence[Skill], config: SkillsConfig, dialogue: Dialogue, seed: int
) -> dict[str, SkillBlock]:
    """Return the skill block of each task, by task id; the query is the goal alone."""
    retriever = Retriever.from_bank(skills, config)
    return {
        task.id: build_context(
            retriever.retrieve(task.goal, task.type, derive_seed(seed, task.id)),
            task.goal,
            config,
            dialogue.count,
        )
        for task in tasks
    }


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
    observation = episode.turns[0].observation if episode.turns else ""
    prompt = dialogue.prompt(task.goal, observation, block.text)
    length = len(prompt) + len(episode.token_ids) - episode.prompt_length
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
        prompt_ids=np.array(prompt, dtype=np.int32),
        budget=config.budget,
        tokens_used=block.tokens_used,
        tokens_cut=block.tokens_cut,
    )


def run(inputs: StageInputs) -> StageOutput:
    """Store one teacher context per episode."""
    config, store = inputs.config, inputs.store
    episodes = store.episodes(inputs.artifacts["episodes"])
    tasks: Mapping[str, TaskSpec] = {task.id: task for task in store.tasks(inputs.artifacts["episodes"])}
    skills = store.skills(inputs.artifacts["bank"])
    dialogue = inputs.policy().dialogue
    blocks = skill_blocks(list(tasks.values()), skills, config.skills, dialogue, inputs.seed)
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
    }
    return StageOutput(kind="contexts", rows={"teacher_context": contexts}, summary=summary)


STAGE = Stage("retrieve", 1, ("skills", "policy.max_tokens"), run)
