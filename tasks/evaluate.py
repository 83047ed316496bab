"""Stages `evaluate` and `evaluate_with_skills`: one policy on the frozen panel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from sdar.envs.registry import environment_factory
from sdar.policy.model import Policy
from sdar.policy.sampler import TransformersSampler
from sdar.rl.statistics import wilson_interval
from sdar.schemas.config import RunConfig
from sdar.schemas.records import Episode, PanelResult, TaskSpec
from sdar.schemas.seeds import derive_seed
from sdar.tasks.collect import limits
from sdar.tasks.retrieve import skill_blocks
from sdar.tasks.rollout import Assignment, roll_out
from sdar.tasks.stage import Stage, StageInputs, StageOutput

PANEL_SEED = 20_260_515
"""Root of the panel's random numbers: the same for all policies, rounds and runs, so that pairs are fair."""


def play_panel(
    config: RunConfig, policy: Policy, panel: Sequence[TaskSpec], blocks: dict[str, str]
) -> list[Episode]:
    """Play one episode per task of the panel, in panel order; `blocks` is skill text by task id."""
    assignments = [
        Assignment(task, index, 0, derive_seed(PANEL_SEED, task.id), blocks.get(task.id, ""))
        for index, task in enumerate(panel)
    ]
    return roll_out(
        environment_factory(config.env.name),
        config.env,
        policy.dialogue,
        TransformersSampler(policy, config.rollout.max_action_tokens),
        assignments,
        limits(config, config.evaluation.temperature),
    )


def panel_result(
    episodes: Sequence[Episode], panel_id: str, policy_id: str, *, with_skills: bool
) -> PanelResult:
    """Sum up the episodes of a panel with the 95 % Wilson interval of the success."""
    wins = sum(episode.success for episode in episodes)
    interval = wilson_interval(wins, len(episodes))
    totals = Counter(episode.task_type for episode in episodes)
    successes = Counter(episode.task_type for episode in episodes if episode.success)
    return PanelResult(
        panel_id=panel_id,
        policy_id=policy_id,
        with_skills=with_skills,
        episodes=len(episodes),
        successes=wins,
        success=wins / len(episodes),
        low=interval.low,
        high=interval.high,
        mean_return=float(np.mean([episode.episode_return for episode in episodes])),
        mean_turns=float(np.mean([len(episode.turns) for episode in episodes])),
        by_type={name: (successes[name], totals[name]) for name in sorted(totals)},
    )


def _evaluate(inputs: StageInputs, blocks: dict[str, str], *, with_skills: bool) -> StageOutput:
    panel = inputs.store.tasks(inputs.artifacts["panel"])
    episodes = play_panel(inputs.config, inputs.policy(), panel, blocks)
    record = inputs.store.policy(inputs.artifacts["policy"])
    result = panel_result(episodes, inputs.artifacts["panel"], record.id, with_skills=with_skills)
    return StageOutput(
        kind="evaluation",
        rows={"evaluation": [result], "episode": episodes},
        summary={
            "success": result.success,
            "low": result.low,
            "high": result.high,
            "episodes": float(result.episodes),
            "turns": result.mean_turns,
        },
    )


def run(inputs: StageInputs) -> StageOutput:
    """Store the result of deployment: no skills in the prompt."""
    return _evaluate(inputs, {}, with_skills=False)


def run_with_skills(inputs: StageInputs) -> StageOutput:
    """Store the result with retrieved skills in the prompt: what the teacher can do."""
    store, config = inputs.store, inputs.config
    panel = store.tasks(inputs.artifacts["panel"])
    skills = store.skills(inputs.artifacts["bank"])
    blocks = skill_blocks(panel, skills, config.skills, inputs.policy().dialogue, PANEL_SEED)
    texts = {task_id: block.text for task_id, block in blocks.items()}
    return _evaluate(inputs, texts, with_skills=True)


READS = ("env", "evaluation.temperature", "rollout.max_action_tokens", "policy.max_tokens")
STAGE = Stage("evaluate", 1, READS, run, seeded=False)
WITH_SKILLS = Stage("evaluate_with_skills", 1, (*READS, "skills"), run_with_skills, seeded=False)
