"""What is known of the environments of other packages before one of them is made; imports nothing heavy."""

from __future__ import annotations

from sdar.envs.base import EnvironmentFactory, EnvironmentKind


def _load_gymnasium() -> EnvironmentFactory:
    from sdar.envs.gymnasium_adapter import GymnasiumEnvironment, gymnasium_package

    gymnasium_package()
    return GymnasiumEnvironment.from_config


def _load_verifiers() -> EnvironmentFactory:
    from sdar.envs.verifiers_adapter import VerifiersEnvironment, verifiers_package

    verifiers_package()
    return VerifiersEnvironment.from_config


GYMNASIUM = EnvironmentKind(
    "gymnasium",
    "Any text environment with the Gymnasium API, by its id; Taxi-v4 where none is given.",
    _load_gymnasium,
    settings={"env.max_steps": 30, "skills.path": "empty"},
    options={
        "id": "Taxi-v4",
        "arguments": "",
        "actions": "south,north,east,west,pickup,dropoff",
        "goal": "Win game {seed}.",
        "success_reward": 20.0,
        "train": "0-255",
        "unseen": "10000-10255",
    },
    extra="gymnasium",
)
"""Games by their id. A task is a seed, and no seed is in two splits."""

VERIFIERS = EnvironmentKind(
    "verifiers",
    "Any multi-turn environment of the package verifiers, by its id.",
    _load_verifiers,
    settings={"env.max_steps": 16, "skills.path": "empty"},
    options={"id": "", "arguments": "", "success_reward": 1.0},
    extra="verifiers",
    workers=True,
)
"""Installed environments by their id; in worker processes, because many are slow or wait for services."""
