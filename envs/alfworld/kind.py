"""What is known of ALFWorld before its engine is loaded."""

from __future__ import annotations

from pathlib import Path

from sdar.envs.alfworld.places import usual_places
from sdar.envs.base import QUICK_WARM_START, EnvironmentFactory, EnvironmentKind
from sdar.schemas.config import EnvironmentConfig


def _files(config: EnvironmentConfig) -> list[Path]:
    from sdar.envs.alfworld.files import data_files

    return data_files(config.data)


def _load() -> EnvironmentFactory:
    from sdar.envs.alfworld.environment import Alfworld

    return Alfworld.from_config


def _types() -> list[str]:
    """Return the types of things and receptacles: a skill names the type, a command adds a number."""
    shares = usual_places()
    return sorted({*shares, *(place for places in shares.values() for place in places)})


KIND = EnvironmentKind(
    "alfworld",
    "ALFWorld's own engine: household tasks of six families, on official or on generated game files.",
    _load,
    settings={
        **QUICK_WARM_START,
        "warmstart.steps": 3000,
        "env.max_steps": 14,
        "env.panel_split": "unseen",
        "policy.path": "bootstrap",
        "policy.max_tokens": 2048,
        "rollout.max_action_tokens": 16,
        "skills.budget": 160,
        "warmstart.vocabulary": 1536,
        "warmstart.batch": 16,
        "update.epochs": 3,
    },
    files=_files,
    names=rf"\b(?:{'|'.join(_types())})\b| \d+\b",
    extra="alfworld",
    workers=True,
)
