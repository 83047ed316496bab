"""What the configuration must know of an environment, and the settings of its own, `env.options.NAME`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import yaml
from pydantic import TypeAdapter

OPTIONS = "env.options"
SCALAR: Any = str | int | float | bool
"""What an option can be."""


class World(Protocol):
    """What an environment says of itself; see `sdar.envs.base.EnvironmentKind`."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Values by dotted path, over the defaults."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """What it reads from `env.options`: default by name."""
        ...

    @property
    def starter(self) -> bool:
        """Whether the shipped starter was made for it."""
        ...


Worlds = Mapping[str, World]


class RawOption(str):
    """An option as given on the command line: the type of its default decides what it means."""


def option_value(value: Any, default: Any) -> Any:
    """Return the value of an option in the type of its default.

    Args:
        value: from a file, or a `RawOption`.
        default: the environment's; None allows any type.

    Raises:
        ValueError: it is of another type.
    """
    if isinstance(value, RawOption):
        value = str(value) if isinstance(default, str) else _yaml(value)
    if default is None:
        return TypeAdapter(SCALAR).validate_python(value)
    if isinstance(value, bool) != isinstance(default, bool):
        raise ValueError("true and false are no numbers, and nothing else stands for them")
    return TypeAdapter(type(default)).validate_python(value)


def _yaml(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def spread(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted path with options that were given together apart."""
    apart: dict[str, Any] = {}
    for path, value in values.items():
        if path == OPTIONS and isinstance(value, Mapping):
            apart |= {f"{OPTIONS}.{name}": option for name, option in value.items()}
        else:
            apart[path] = value
    return apart


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted path as sections, and the options as one value."""
    sections: dict[str, Any] = {}
    for path, value in values.items():
        option = path.startswith(f"{OPTIONS}.")  # the name of an option may have dots of its own
        name = path.removeprefix(f"{OPTIONS}.") if option else path.rpartition(".")[2]
        inner = sections
        for section in (OPTIONS if option else path.rpartition(".")[0]).split("."):
            inner = inner.setdefault(section, {}) if section else inner
        inner[name] = value
    return sections
