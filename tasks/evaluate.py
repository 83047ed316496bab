"""Stages `evaluate` and `evaluate_with_skills`: one policy on the frozen panel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from sdar.policy.model import Policy
from sdar.rl.rewards import reward_read, rewarded
from sdar.rl.statistics import wilson_interval
from sdar.schemas.config import RunConfig
from sdar.schemas.records import Episode, PanelResult, TaskSpec
from sdar.schemas.seeds import PANEL_SEED, derive_seed
from sdar.tasks.collect import faults, play
from sdar.tasks.retrieve import block_texts, skills_read
from sdar.tasks.rollout import Assignment
from sdar.tasks.stage import Stage, StageInputs, StageOutput


def play_panel(
    config: RunConfig, policy: Policy, panel: Sequence[TaskSpec], blocks: dict[str, str]
) -> list[Episode]:
    """Play one episode per task of the panel, in panel order; `blocks` is skill text by task id."""
    assignments = [
        Assignment(task, index, 0, derive_seed(PANEL_SEED, task.id), blocks.get(task.id, ""))
        for index, task in enumerate(panel)
    ]
    return play(config, policy, assignments, config.evaluation.temperature)


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
    played = play_panel(inputs.config, inputs.policy(), panel, blocks)
    episodes = rewarded(inputs.config.reward.function, played, {task.id: task for task in panel})
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
            **faults(episodes, inputs.config),
        },
    )


def run(inputs: StageInputs) -> StageOutput:
    """Store the result of deployment: without skills in the prompt, unless the configuration says so."""
    if inputs.config.evaluation.prompt == "skills":
        return run_with_skills(inputs)
    return _evaluate(inputs, {}, with_skills=False)


def run_with_skills(inputs: StageInputs) -> StageOutput:
    """Store the result with retrieved skills in the prompt: what the teacher can do."""
    panel = inputs.store.tasks(inputs.artifacts["panel"])
    blocks = block_texts(inputs, panel, inputs.policy().dialogue, PANEL_SEED)
    return _evaluate(inputs, blocks, with_skills=True)


def _read_besides(config: RunConfig) -> dict[str, str]:
    return {**(skills_read(config) if config.evaluation.prompt == "skills" else {}), **reward_read(config)}


READS = (
    "env",
    "evaluation.temperature",
    "rollout.engine",
    "rollout.max_action_tokens",
    "rollout.context",
    "rollout.history_length",
    "policy.max_tokens",
)
STAGE = Stage("evaluate", 2, (*READS, "evaluation.prompt"), run, seeded=False, fingerprint=_read_besides)
WITH_SKILLS = Stage(
    "evaluate_with_skills", 2, (*READS, "skills"), run_with_skills, seeded=False, fingerprint=reward_read
)
