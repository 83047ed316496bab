"""What is known of the library before it is opened."""

from __future__ import annotations

from pathlib import Path

from sdar.envs.base import QUICK_WARM_START, EnvironmentFactory, EnvironmentKind
from sdar.envs.search_qa.names import NAMES
from sdar.envs.search_qa.options import DEFAULTS
from sdar.envs.search_qa.world import RELATIONS
from sdar.schemas.config import EnvironmentConfig


def _files(config: EnvironmentConfig) -> list[Path]:
    from sdar.envs.search_qa.files import CORPUS, QUESTIONS

    return [Path(config.data) / name for name in (CORPUS, QUESTIONS)] if config.data else []


def _load() -> EnvironmentFactory:
    from sdar.envs.search_qa.environment import SearchQa

    return SearchQa.from_config


KIND = EnvironmentKind(
    "search_qa",
    "Questions of one or two steps over a library that is searched; a generated world, or a corpus as JSONL.",
    _load,
    settings={
        **QUICK_WARM_START,
        "warmstart.steps": 1000,
        "env.max_steps": 4,
        "rollout.max_action_tokens": 24,
        "policy.path": "bootstrap",
        # All names of all worlds as one token each.
        "warmstart.vocabulary": 1536,
    },
    options=DEFAULTS,
    files=_files,
    names=rf"\b(?:{'|'.join((*NAMES, *RELATIONS))})\b",
)
