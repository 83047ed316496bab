"""Finds environments by name: the built-in ones and those of other packages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

from sdar.envs.adapter_kinds import GYMNASIUM, VERIFIERS
from sdar.envs.alfworld import kind as alfworld
from sdar.envs.base import EnvironmentFactory, EnvironmentKind
from sdar.envs.household import kind as household
from sdar.envs.search_qa import kind as search_qa
from sdar.envs.trip import kind as trip
from sdar.envs.webshop import kind as webshop
from sdar.schemas.config import EnvironmentConfig, RunConfig
from sdar.schemas.errors import ConfigError, EnvironmentMissingError
from sdar.schemas.near import did_you_mean
from sdar.schemas.resolve import resolve

__all__ = [
    "BUILTIN",
    "GROUP",
    "KINDS",
    "EnvironmentFactory",
    "environment_config",
    "environment_factory",
    "environment_kind",
    "environment_names",
    "missing_extra",
    "register_environment",
]

GROUP = "sdar.environments"
BUILTIN: dict[str, EnvironmentKind] = {
    "household": household.KIND,
    "trip": trip.KIND,
    "webshop": webshop.KIND,
    "search_qa": search_qa.KIND,
    "alfworld": alfworld.KIND,
    "gymnasium": GYMNASIUM,
    "verifiers": VERIFIERS,
}
"""The environments of this package; each `kind.py` imports nothing heavy."""
_REGISTERED: dict[str, EnvironmentKind] = {}


def register_environment(kind: EnvironmentKind) -> None:
    """Make an environment known under its name for the life of this process, for scripts and notebooks.

    A run that was begun with it can be gone on with only where it is registered again, or installed. What was
    registered under that name before is replaced.

    Args:
        kind: says what is known of it; `load` returns what makes it.

    Raises:
        ConfigError: the name belongs to this package, or it asks for worker processes.
    """
    if kind.name in BUILTIN:
        taken = ", ".join(BUILTIN)
        raise ConfigError(
            f"environment name {kind.name!r} is taken. Allowed: any but {taken}. Next: rename it"
        )
    if kind.workers:
        raise ConfigError(
            f"environment {kind.name!r} is registered by a program and asks for worker processes, which "
            f"would not find it. Allowed: workers=False, or a package with the entry-point group {GROUP!r}. "
            "Next: see docs/environments.md"
        )
    _REGISTERED[kind.name] = kind


def environment_names() -> list[str]:
    """Return the names of all registered environments, sorted; nothing of them is imported."""
    return sorted({*BUILTIN, *_REGISTERED, *(point.name for point in entry_points(group=GROUP))})


def environment_kind(name: str) -> EnvironmentKind:
    """Return what is known of an environment; a built-in one goes before another of that name.

    Raises:
        EnvironmentMissingError: no installed package registers the name, or its package cannot be imported.
    """
    known = {**_REGISTERED, **BUILTIN}
    if name in known:
        return known[name]
    for point in entry_points(group=GROUP, name=name):
        return _registered(point)
    raise EnvironmentMissingError(
        f"environment {name!r} is not installed; installed are: {', '.join(environment_names())}."
        f"{did_you_mean(name, environment_names())} "
        f"A package adds one through the entry-point group {GROUP!r}. See: sdar envs list"
    )


def environment_factory(name: str) -> EnvironmentFactory:
    """Return the factory of an environment: in this process, which imports it, or in worker processes.

    Raises:
        EnvironmentMissingError: see `environment_kind`; or an optional extra is not installed.
    """
    kind = environment_kind(name)
    remedy = missing_extra(kind)
    if remedy:
        raise EnvironmentMissingError(f"environment {name!r} needs an optional extra. Next: {remedy}")
    if kind.workers:
        return _in_workers(name)
    try:
        return kind.load()
    except ImportError as error:
        remedy = f"pip install 'sdar[{kind.extra}]'" if kind.extra else "repair the package that registers it"
        raise EnvironmentMissingError(
            f"environment {name!r} cannot be imported ({error}). Next: {remedy}"
        ) from error


@cache
def _in_workers(name: str) -> EnvironmentFactory:
    from sdar.envs.workers import Registered, in_workers

    return in_workers(Registered(name))


def missing_extra(kind: EnvironmentKind) -> str:
    """Return the command that installs the extra of an environment, or nothing where none is missing."""
    if not kind.extra or find_spec(kind.extra) is not None:
        return ""
    return f"pip install 'sdar[{kind.extra}]'"


def environment_config(name: str) -> EnvironmentConfig:
    """Return the configuration of an environment with the settings that suit it and nothing else changed."""
    method = RunConfig().method
    return resolve({method: {}}, overrides=[f"env.name={name}"], environments=KINDS).config.env


class _Kinds(Mapping[str, EnvironmentKind]):
    """The registered environments; the package of another one is imported when it is asked for."""

    def __getitem__(self, name: str) -> EnvironmentKind:
        if name not in BUILTIN and name not in environment_names():
            raise KeyError(name)
        return environment_kind(name)

    def __iter__(self) -> Iterator[str]:
        return iter(environment_names())

    def __len__(self) -> int:
        return len(environment_names())


KINDS: Mapping[str, EnvironmentKind] = _Kinds()
"""All registered environments by name."""


def _registered(point: EntryPoint) -> EnvironmentKind:
    """Return the kind that an entry point names, or make one for a bare factory."""
    try:
        found = point.load()
    except Exception as error:  # whatever a foreign package raises, the others must stay usable
        raise EnvironmentMissingError(
            f"environment {point.name!r}: importing {point.value!r} raised {type(error).__name__}: {error}. "
            "Next: repair or remove the package that registers it"
        ) from error
    if isinstance(found, EnvironmentKind):
        return replace(found, name=point.name)
    if not callable(found):
        raise EnvironmentMissingError(
            f"environment {point.name!r}: {point.value!r} is a {type(found).__name__}; "
            "allowed: an EnvironmentKind, or a function that makes the environment from its configuration"
        )
    factory: EnvironmentFactory = found
    return EnvironmentKind(point.name, f"Registered by {_package(point)}.", lambda: factory)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.module
