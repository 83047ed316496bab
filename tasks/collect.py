"""Stage `collect`: a group of episodes for each of the round's tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from sdar.envs.registry import environment_factory
from sdar.policy.sampler import TransformersSampler
from sdar.schemas.config import RunConfig
from sdar.schemas.lineage import Summary
from sdar.schemas.records import Episode, TaskSpec
from sdar.schemas.seeds import derive_seed, generator
from sdar.tasks.rollout import Assignment, RolloutLimits, roll_out
from sdar.tasks.stage import Stage, StageInputs, StageOutput


def round_tasks(tasks: Sequence[TaskSpec], round_number: int, count: int, seed: int) -> list[TaskSpec]:
    """Return the tasks of a round: rounds walk through shuffled passes over the split.

    A task can occur twice in the round where two passes meet.

    Args:
        tasks: all tasks of the split.
        round_number: 1 for the first round.
        count: tasks per round.
        seed: the run's seed.
    """
    first = (round_number - 1) * count
    chosen = []
    for place in range(first, first + count):
        epoch, index = divmod(place, len(tasks))
        order = generator(seed, "task order", epoch).permutation(len(tasks))
        chosen.append(tasks[order[index]])
    return chosen


def collect(inputs: StageInputs, tasks: Sequence[TaskSpec]) -> list[Episode]:
    """Play `rollout.group_size` episodes of each task with the policy, without skills."""
    config, policy = inputs.config, inputs.policy()
    rollout = config.rollout
    return roll_out(
        environment_factory(config.env.name),
        config.env,
        policy.dialogue,
        TransformersSampler(policy, rollout.max_action_tokens),
        assign(tasks, rollout.group_size, inputs.seed),
        limits(config, rollout.temperature),
    )


def assign(tasks: Sequence[TaskSpec], group_size: int, seed: int) -> list[Assignment]:
    """Return a group of episodes for each task, each with a seed of its own.

    A seed follows from the task and the number of its episodes so far, so that no two episodes of a task that
    occurs twice are the same.
    """
    played: Counter[str] = Counter()
    assignments = []
    for group, task in enumerate(tasks):
        for sample in range(group_size):
            assignments.append(Assignment(task, group, sample, derive_seed(seed, task.id, played[task.id])))
            played[task.id] += 1
    return assignments


def limits(config: RunConfig, temperature: float) -> RolloutLimits:
    """Return the limits of the run's episodes at a temperature."""
    return RolloutLimits(
        temperature=temperature,
        max_steps=config.env.max_steps,
        max_tokens=config.policy.max_tokens,
        max_action_tokens=config.rollout.max_action_tokens,
    )


def run(inputs: StageInputs) -> StageOutput:
    """Store the round's tasks and episodes."""
    config = inputs.config
    split = environment_factory(config.env.name)(config.env).tasks(config.env.train_split)
    tasks = round_tasks(split, inputs.round, config.rollout.tasks, config.seed)
    episodes = collect(inputs, tasks)
    turns = [turn for episode in episodes for turn in episode.turns]
    summary: Summary = {
        "success": float(np.mean([episode.success for episode in episodes])),
        "episode_return": float(np.mean([episode.episode_return for episode in episodes])),
        "turns": len(turns) / len(episodes),
        "invalid": float(np.mean([not turn.valid for turn in turns])) if turns else 0.0,
        "tokens": float(sum(len(episode.token_ids) for episode in episodes)),
        "action_tokens": float(sum(int(episode.action_mask.sum()) for episode in episodes)),
        "errors": float(sum(episode.error is not None for episode in episodes)),
    }
    unique = list({task.id: task for task in tasks}.values())
    return StageOutput(kind="episodes", rows={"task": unique, "episode": episodes}, summary=summary)


STAGE = Stage("collect", 1, ("env", "rollout", "policy.max_tokens", "seed"), run)
