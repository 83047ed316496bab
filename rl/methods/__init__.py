"""The method registry: a method is a named set of configuration values and nothing else.

Everything that a method does not set is the same for all of them, so two methods differ in the listed
switches only. All of them play the same number of episodes a round. How these are grouped and the learning
rate belong to the method: each has those with which it did best on training houses, see docs/results.md.

A method is a module of this folder with a constant `METHOD`, and a line below. Nothing here needs torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from importlib import import_module

from sdar.rl.methods.base import Method, Setting
from sdar.schemas.errors import ConfigError

__all__ = ["METHODS", "Method", "Setting", "method"]

_NAMES = (
    "sdar",
    "sdar_trust",
    "sdar_paper",
    "sdar_paper_entropy",
    "sdar_paper_soft_or",
    "sdar_centred",
    "vanilla",
    "skill_prompt",
    "grpo",
    "dr_grpo",
    "dapo",
    "gigpo",
    "skill_grpo",
    "opsd",
    "grpo_opsd",
    "skill_sd",
    "rlsd",
    "agent_opsd",
    "rft",
)


def _load(name: str) -> Method:
    loaded: Method = import_module(f"{__name__}.{name}").METHOD
    return loaded


METHODS: Mapping[str, Method] = {name: _load(name) for name in _NAMES}


def method(name: str) -> Method:
    """Return the method of that name.

    Raises:
        ConfigError: there is none; the message lists all and proposes the nearest.
    """
    if name in METHODS:
        return METHODS[name]
    near = get_close_matches(name, METHODS, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(
        f"unknown method {name!r}.{hint} Allowed: {', '.join(METHODS)}. See what each sets: sdar methods"
    )
