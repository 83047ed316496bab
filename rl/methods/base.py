"""What a method is, and the settings that several of them share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Setting = str | float | bool


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        name: as given to `--set method=NAME`.
        summary: one sentence.
        source: the paper.
        settings: value by dotted configuration path, over the defaults of `RunConfig`.
    """

    name: str
    summary: str
    source: str
    settings: Mapping[str, Setting]


POLICY_GRADIENT: Mapping[str, Setting] = {
    "rollout.tasks": 16,
    "rollout.group_size": 8,
    "update.learning_rate": 1e-4,
}
"""Rewards alone need larger groups, and at the rate of the default the policy collapses."""

REWARD_ONLY: Mapping[str, Setting] = {**POLICY_GRADIENT, "sdar.coefficient": 0.0}
"""The policy gradient without the self-distillation term."""

PUBLISHED_TERM: Mapping[str, Setting] = {
    **POLICY_GRADIENT,
    "sdar.divergence": "sampled",
    "sdar.coefficient": 0.1,
    "sdar.teacher": "live",
}
"""The term of SDAR, arXiv 2605.15155, with the lambda that is the default of its public code."""

PUBLISHED_BETA: Mapping[str, Setting] = {"sdar.beta": 5.0}
"""Sharpness of the published gates."""

UNTRAINED: Mapping[str, Setting] = {"stop.rounds": 0, "evaluation.with_skills": False}
"""Policy 0 on the panel, once, and nothing else."""
