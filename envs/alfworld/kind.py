"""What is known of ALFWorld before its engine is loaded."""

from __future__ import annotations

from sdar.envs.base import EnvironmentFactory, EnvironmentKind


def _load() -> EnvironmentFactory:
    from sdar.envs.alfworld.environment import Alfworld

    return Alfworld.from_config


KIND = EnvironmentKind(
    "alfworld",
    "ALFWorld's own engine: household tasks of six families, on official or on generated game files.",
    _load,
    settings={
        "env.max_steps": 50,
        "env.panel_split": "unseen",
        "policy.path": "bootstrap",
        "policy.max_tokens": 2048,
        "rollout.max_action_tokens": 16,
        "skills.budget": 160,
        "warmstart.vocabulary": 1536,
        "warmstart.batch": 16,
    },
    names=r"\b[a-z]+ \d+\b",
    extra="alfworld",
    workers=True,
)
