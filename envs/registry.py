"""Finds environments by name: the built-in ones and those of other packages."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from sdar.envs.base import Environment
from sdar.envs.household.environment import Household
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import EnvironmentMissingError

EnvironmentFactory = Callable[[EnvironmentConfig], Environment]

GROUP = "sdar.environments"
BUILTIN: dict[str, EnvironmentFactory] = {"household": Household.from_config}


def environment_names() -> list[str]:
    """Return the names of all environments that are installed, sorted."""
    return sorted({*BUILTIN, *(point.name for point in entry_points(group=GROUP))})


def environment_factory(name: str) -> EnvironmentFactory:
    """Return the factory of an environment.

    Raises:
        EnvironmentMissingError: no installed package registers the name.
    """
    if name in BUILTIN:
        return BUILTIN[name]
    for point in entry_points(group=GROUP, name=name):
        factory: EnvironmentFactory = point.load()
        return factory
    raise EnvironmentMissingError(
        f"environment {name!r} is not installed; installed are: {', '.join(environment_names())}. "
        f"A package adds one through the entry-point group {GROUP!r}."
    )
