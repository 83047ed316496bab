"""What is known of the household before it is made."""

from __future__ import annotations

from sdar.envs.base import EnvironmentFactory, EnvironmentKind


def _load() -> EnvironmentFactory:
    from sdar.envs.household.environment import Household

    return Household.from_config


KIND = EnvironmentKind(
    "household",
    "Six families of tasks in a house whose conventions (where things are kept, what works) are hidden.",
    _load,
    # What took twenty rounds with one pass takes ten: docs/results.md.
    settings={"update.epochs": 3},
    starter=True,
)
