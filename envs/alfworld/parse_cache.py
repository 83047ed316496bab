"""A cache over the engine's two text parsers: it parses the same few templates anew at every step.

The text stays the same because what is handed out is a copy: the engine writes into what it gets.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from types import ModuleType
from typing import Any

PARSERS = ("textworld.envs.pddl.textgen", "textworld.logic")
SIZE = 4096
"""Different templates kept per parser; a game has a few hundred."""


def install() -> None:
    """Put the cache in front of the engine's parsers, once per process."""
    for module in _modules():
        if not hasattr(module._parse_and_convert, "uncached"):
            setattr(module, "_parse_and_convert", _cached(module._parse_and_convert))  # noqa: B010


@contextmanager
def without_cache() -> Iterator[None]:
    """Take the cache away for a while, to compare texts and times."""
    install()
    cached = [(module, module._parse_and_convert) for module in _modules()]
    for module, parse in cached:
        setattr(module, "_parse_and_convert", parse.uncached)  # noqa: B010
    try:
        yield
    finally:
        for module, parse in cached:
            setattr(module, "_parse_and_convert", parse)  # noqa: B010


def _cached(parse: Callable[..., Any]) -> Callable[..., Any]:
    @lru_cache(maxsize=SIZE)
    def once(text: str, rule_name: str) -> Any:
        return parse(text, rule_name=rule_name)

    def copied(text: str, rule_name: str, **options: Any) -> Any:
        if any(options.values()):  # a trace that somebody asked for must be printed each time
            return parse(text, rule_name=rule_name, **options)
        return copy.deepcopy(once(text, rule_name))

    copied.uncached = parse  # type: ignore[attr-defined]
    return copied


def _modules() -> list[ModuleType]:
    from importlib import import_module

    return [import_module(name) for name in PARSERS]
