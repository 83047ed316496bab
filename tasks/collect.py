"""Stage `collect`: a group of episodes for each of the round's tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import pyarrow as pa

from sdar.envs.registry import environment_factory
from sdar.policy.model import Policy
from sdar.rl.advantages import FLAT, penalized_episodes
from sdar.rl.rewards import reward_read, rewarded
from sdar.rl.trust import FOLLOWED, needs_trial
from sdar.schemas.config import RolloutConfig, RunConfig
from sdar.schemas.errors import EnvironmentFailedError
from sdar.schemas.lineage import Summary
from sdar.schemas.records import Episode, TaskSpec
from sdar.schemas.seeds import derive_seed, generator
from sdar.storage import arrow_tables, records_of
from sdar.tasks.engine import open_sampler
from sdar.tasks.retrieve import block_texts, skills_read
from sdar.tasks.rollout import Assignment, RolloutLimits, roll_out
from sdar.tasks.shards import PolicyFiles, Tables
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


@dataclass(frozen=True)
class Collected:
    """The groups that a round keeps, and what dynamic sampling played besides.

    `groups` [G] are lists of episodes, in the order of their group numbers; `dropped` groups had equal
    returns and gave way to others.
    """

    tasks: list[TaskSpec]
    groups: list[list[Episode]]
    dropped: int

    @property
    def episodes(self) -> list[Episode]:
        """All episodes that are kept."""
        return [episode for group in self.groups for episode in group]


def play(
    config: RunConfig, policy: Policy, assignments: Sequence[Assignment], temperature: float
) -> list[Episode]:
    """Play episodes with a policy under the run's limits."""
    return roll_out(
        environment_factory(config.env.name),
        config.env,
        policy.dialogue,
        open_sampler(config, policy),
        assignments,
        limits(config, temperature),
    )


@dataclass(frozen=True)
class PlayJob:
    """Plays batches of assignments with a policy."""

    policy: PolicyFiles
    config: RunConfig

    def run(self, policy: Policy, batch: Sequence[Assignment]) -> list[Episode]:
        """Play a batch in lock-step."""
        return play(self.config, policy, batch, self.config.rollout.temperature)

    def write_batch(self, batch: Sequence[Assignment]) -> Tables:
        """Return a row per assignment: its task, and its other fields under their own names."""
        ((_, tasks),) = arrow_tables("", "task", [each.task for each in batch])
        for name in _ASSIGNED:
            tasks = tasks.append_column(f"assigned_{name}", pa.array([getattr(each, name) for each in batch]))
        return {"task": tasks}

    def read_batch(self, tables: Tables) -> list[Assignment]:
        """Return the assignments."""
        table = tables["task"]
        own = [f"assigned_{name}" for name in _ASSIGNED]
        tasks = records_of("task", {"task": table.drop_columns(own)})
        values = zip(*(table[name].to_pylist() for name in own), strict=True)
        return [Assignment(task, *each) for task, each in zip(tasks, values, strict=True)]

    def write_result(self, result: list[Episode]) -> Tables:
        """Return episodes and turns as the store would keep them."""
        return dict(arrow_tables("", "episode", result))

    def read_result(self, tables: Tables) -> list[Episode]:
        """Return the episodes, bit for bit."""
        return records_of("episode", tables)


_ASSIGNED = ("group", "sample", "seed", "block")
"""The fields of an assignment after its task, in order."""


def collect(inputs: StageInputs, split: Sequence[TaskSpec]) -> Collected:
    """Play `rollout.group_size` episodes of each task of the round.

    With `rollout.resample`, groups with equal returns are replaced by groups of other tasks, again and again
    up to that many times. Where too few groups with unlike returns are found, others stay to fill the round.
    The penalty for invalid turns counts, as it does in the update; the policy's own judgement, which comes
    later, does not.

    Source:
        Dynamic sampling, DAPO, arXiv 2503.14476.
    """
    rollout = grouping(inputs)
    tasks = round_tasks(split, inputs.round, rollout.tasks, inputs.config.seed)
    played: Counter[str] = Counter()
    groups = _play_groups(inputs, tasks, rollout.group_size, 0, played)

    def unlike(group: Sequence[Episode]) -> bool:
        returns = [episode.episode_return for episode in group]
        worth = penalized_episodes(group, returns, inputs.config.advantage.invalid_penalty)
        return float(worth.max() - worth.min()) > FLAT

    for number in range(rollout.resample):
        missing = rollout.tasks - sum(map(unlike, groups))
        others = [task for task in split if task.id not in played]
        if not missing or not others:
            break
        chosen = generator(inputs.seed, "resample", number).permutation(len(others))[:missing]
        tasks = tasks + [others[index] for index in chosen]
        more = tasks[len(groups) :]
        groups = groups + _play_groups(inputs, more, rollout.group_size, len(groups), played)
    # A stable sort: groups that teach come first, each kind in the order in which it was played.
    kept = sorted(sorted(range(len(groups)), key=lambda i: not unlike(groups[i]))[: rollout.tasks])
    return Collected([tasks[i] for i in kept], [groups[i] for i in kept], len(groups) - len(kept))


def grouping(inputs: StageInputs) -> RolloutConfig:
    """Return the rollout settings with the tasks and the group size of this round.

    After a round whose teacher was tried and followed, groups have `rollout.trusted_group_size` episodes, of
    as many tasks as make the same number of episodes.
    """
    rollout = inputs.config.rollout
    if not rollout.trusted_group_size or not needs_trial(inputs.config.sdar):
        return rollout
    trusted = inputs.store.artifact(inputs.artifacts["policy"]).summary.get("trust", 0.0)
    if float(trusted) < FOLLOWED:
        return rollout
    size = rollout.trusted_group_size
    tasks = max(1, rollout.tasks * rollout.group_size // size)
    return rollout.model_copy(update={"group_size": size, "tasks": tasks})


def _play_groups(
    inputs: StageInputs, tasks: Sequence[TaskSpec], size: int, first: int, played: Counter[str]
) -> list[list[Episode]]:
    assignments = assign(tasks, size, inputs.seed, first, played, _blocks(inputs, tasks))
    length = inputs.config.rollout.batch or len(assignments)
    batches = [assignments[start : start + length] for start in range(0, len(assignments), length)]
    job = PlayJob(inputs.policy_files(), inputs.config)
    played_now = list(chain(*inputs.map(job, inputs.policy(), batches)))
    episodes = rewarded(inputs.config.reward.function, played_now, {task.id: task for task in tasks})
    return [episodes[start : start + size] for start in range(0, len(episodes), size)]


def _blocks(inputs: StageInputs, tasks: Sequence[TaskSpec]) -> dict[str, str]:
    if not inputs.config.rollout.with_skills:
        return {}
    return block_texts(inputs, tasks, inputs.policy().dialogue, inputs.seed)


def assign(
    tasks: Sequence[TaskSpec],
    group_size: int,
    seed: int,
    first: int = 0,
    played: Counter[str] | None = None,
    blocks: Mapping[str, str] | None = None,
) -> list[Assignment]:
    """Return a group of episodes for each task, each with a seed of its own.

    A seed follows from the task and the number of its episodes so far, so that no two episodes of a task that
    occurs twice are the same.

    Args:
        tasks: one for each group.
        group_size: episodes of a group.
        seed: what the seeds of the episodes are derived from.
        first: number of the first group.
        played: episodes so far by task id; counted on.
        blocks: skill text for the prompt by task id.
    """
    played = Counter() if played is None else played
    assignments = []
    for group, task in enumerate(tasks, first):
        for sample in range(group_size):
            own = derive_seed(seed, task.id, played[task.id])
            assignments.append(Assignment(task, group, sample, own, (blocks or {}).get(task.id, "")))
            played[task.id] += 1
    return assignments


def limits(config: RunConfig, temperature: float) -> RolloutLimits:
    """Return the limits of the run's episodes at a temperature."""
    return RolloutLimits(
        temperature=temperature,
        max_steps=config.env.max_steps,
        max_tokens=config.policy.max_tokens,
        max_action_tokens=config.rollout.max_action_tokens,
        history=config.rollout.history_length if config.rollout.context == "window" else None,
    )


def faults(episodes: Sequence[Episode], config: RunConfig) -> Summary:
    """Return a warning when errors of the environment ended episodes, which then count as failures.

    Raises:
        EnvironmentFailedError: they ended all of them: nothing can be learnt, and nothing was measured.
    """
    errors = [episode.error for episode in episodes if episode.error is not None]
    if not errors:
        return {}
    if len(errors) == len(episodes):
        raise EnvironmentFailedError(
            f"an error of the environment ended each of the {len(episodes)} episodes, the first one: "
            f"{errors[0]}. Allowed: some, which count as failures. Next: sdar envs check {config.env.name}, "
            "and when it is mended sdar run --resume"
        )
    share = len(errors) / len(episodes)
    told = f"The share of episodes that an error of the environment ended is {share:.3g}, above 0"
    return {"warnings": f"{told}: they count as failures."}


def run(inputs: StageInputs) -> StageOutput:
    """Store the round's tasks and episodes."""
    config = inputs.config
    split = environment_factory(config.env.name)(config.env).tasks(config.env.train_split)
    collected = collect(inputs, split)
    episodes = collected.episodes
    turns = [turn for episode in episodes for turn in episode.turns]
    summary: Summary = {
        "success": float(np.mean([episode.success for episode in episodes])),
        "episode_return": float(np.mean([episode.episode_return for episode in episodes])),
        "episodes": float(len(episodes)),
        "turns": len(turns) / len(episodes),
        "invalid": float(np.mean([not turn.valid for turn in turns])) if turns else 0.0,
        "tokens": float(sum(len(episode.token_ids) for episode in episodes)),
        "action_tokens": float(sum(int(episode.action_mask.sum()) for episode in episodes)),
        "errors": float(sum(episode.error is not None for episode in episodes)),
        "spread": float(np.mean([np.std([e.episode_return for e in group]) for group in collected.groups])),
        "dropped_groups": float(collected.dropped),
        **faults(episodes, config),
    }
    unique = list({task.id: task for task in collected.tasks}.values())
    return StageOutput(kind="episodes", rows={"task": unique, "episode": episodes}, summary=summary)


def _read_besides(config: RunConfig) -> dict[str, str]:
    penalty = config.advantage.invalid_penalty
    untried = config.rollout.trusted_group_size and not needs_trial(config.sdar)
    return {
        **(skills_read(config) if config.rollout.with_skills else {}),
        **reward_read(config),
        **({"advantage.invalid_penalty": str(penalty)} if config.rollout.resample and penalty else {}),
        **({"sdar.trust": "no trial"} if untried else {}),
    }


STAGE = Stage("collect", 2, ("env", "rollout", "policy.max_tokens", "seed"), run, fingerprint=_read_besides)
