"""Tool calls as JSON objects: writing them, and reading them with every fault named at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from sdar.envs.trip.vocabulary import CITIES, DISTRICTS

TOOLS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "calendar.list": {},
    "profile.read": {},
    "flights.search": {"city": CITIES},
    "hotels.search": {"district": DISTRICTS},
    "restaurants.search": {"district": DISTRICTS},
    "book": {"name": ()},
    "trip.finish": {},
}
"""The tools: allowed values by argument, none where any text will do. All arguments are required texts."""
ECHO = 24
"""Most characters of a faulty text that an answer repeats."""
_KINDS = {bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}


@dataclass(frozen=True)
class Call:
    """A tool call that keeps the schema."""

    tool: str
    arguments: Mapping[str, str]


@dataclass(frozen=True)
class BadCall:
    """A text that is no tool call, and everything that is wrong with it."""

    faults: tuple[str, ...]


def call_text(tool: str, **arguments: str) -> str:
    """Return a tool call as it is written: one JSON object without spaces."""
    return json.dumps({"tool": tool, **arguments}, separators=(",", ":"))


def read_call(text: str) -> Call | BadCall:
    """Return the call in a text, or all of its faults.

    Args:
        text: anything; spaces around and inside the JSON object do not matter.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # a deep nest of brackets exhausts the stack
        return BadCall(("not a JSON object",))
    if not isinstance(value, dict):
        return BadCall(("not a JSON object",))
    tool = value.pop("tool", None)
    if not isinstance(tool, str):
        return BadCall((f'"tool" must be text, not {_kind(tool)}' if tool is not None else 'no "tool"',))
    if tool not in TOOLS:
        return BadCall((_unknown_tool(tool),))
    faults = tuple(_argument_faults(TOOLS[tool], value))
    return BadCall(faults) if faults else Call(tool, value)


def _unknown_tool(tool: str) -> str:
    near = get_close_matches(tool[: 2 * ECHO], TOOLS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"tools are {', '.join(TOOLS)}"
    return f"unknown tool {_echo(tool)}, {hint}"


def _argument_faults(allowed: Mapping[str, tuple[str, ...]], given: Mapping[str, object]) -> list[str]:
    faults = [f"missing argument {name}" for name in allowed if name not in given]
    for name, value in given.items():
        if name not in allowed:
            faults.append(f"unknown argument {_echo(name)}")
        elif not isinstance(value, str):
            faults.append(f"{name} must be text, not {_kind(value)}")
        elif allowed[name] and value not in allowed[name]:
            faults.append(f"{name} {_echo(value)} must be one of {', '.join(allowed[name])}")
    return faults


def _kind(value: object) -> str:
    return _KINDS.get(type(value), "null")


def _echo(text: str) -> str:
    return json.dumps(text if len(text) <= ECHO else text[:ECHO] + "...")
