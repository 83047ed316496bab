"""Stage `trial`: the teacher acts by itself, with its skills in the prompt, to see how good it is."""

from __future__ import annotations

import numpy as np

from sdar.envs.registry import environment_factory
from sdar.schemas.lineage import Summary
from sdar.schemas.seeds import generator
from sdar.tasks.collect import assign, faults, play
from sdar.tasks.retrieve import block_texts
from sdar.tasks.score import teacher_policy
from sdar.tasks.stage import Stage, StageInputs, StageOutput


def run(inputs: StageInputs) -> StageOutput:
    """Store one episode of the teacher for each of `sdar.trial_tasks` training tasks."""
    config = inputs.config
    split = environment_factory(config.env.name)(config.env).tasks(config.env.train_split)
    order = generator(inputs.seed, "trial tasks").permutation(len(split))[: config.sdar.trial_tasks]
    tasks = [split[index] for index in order]
    policy = teacher_policy(inputs, config.sdar.teacher)
    blocks = block_texts(inputs, tasks, policy.dialogue, inputs.seed)
    episodes = play(config, policy, assign(tasks, 1, inputs.seed, blocks=blocks), config.rollout.temperature)
    summary: Summary = {
        "success": float(np.mean([episode.success for episode in episodes])),
        "episodes": float(len(episodes)),
        "tokens": float(sum(len(episode.token_ids) for episode in episodes)),
        **faults(episodes, config),
    }
    return StageOutput(kind="trial", rows={"task": tasks, "episode": episodes}, summary=summary)


STAGE = Stage(
    "trial",
    1,
    ("env", "rollout", "policy.max_tokens", "skills", "sdar.teacher", "sdar.trial_tasks"),
    run,
)
