"""Demonstrated episodes: what the starter policy's warm start learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True)
class DemonstratedTurn:
    """An observation and the action that answered it; `learn` is False on detours."""

    observation: str
    action: str
    learn: bool


@dataclass(frozen=True)
class Demonstration:
    """One demonstrated episode; `block` is the skill text in its prompt, or empty."""

    block: str
    goal: str
    turns: tuple[DemonstratedTurn, ...]


@runtime_checkable
class Demonstrates(Protocol):
    """An environment from whose demonstrations a starter policy can be made."""

    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        """Return one demonstration, of a task that is in none of the splits.

        Args:
            index: number of the demonstration; with `seed` it determines everything.
            seed: the warm start's seed.
            skill_share: probability that the skills which the task needs are in the prompt; without them the
                expert has to find out.
        """
        ...


@dataclass(frozen=True)
class OtherWorld:
    """A world of the same environment with other conventions, in no warm start either.

    `settings` are the fields of its `EnvironmentConfig` that differ, `skills` its SKILL.md texts by name.
    """

    settings: Mapping[str, Any]
    skills: Mapping[str, str]


@runtime_checkable
class HasOthers(Protocol):
    """An environment that has more worlds, on which a starter policy is measured too."""

    def others(self) -> Sequence[OtherWorld]:
        """Return other worlds than the configured one, always the same ones."""
        ...


def told_facts(needed: Sequence[str], facts: Sequence[str], rng: np.random.Generator) -> list[str]:
    """Return up to four facts for a skill block: nearly always those that the task needs, and others.

    Args:
        needed: what the task needs, at most four.
        facts: all that the world has.
        rng: decides; draws once per needed fact, then an order of the others, then how many of them.
    """
    told = [fact for fact in needed if rng.random() < 0.95]
    others = [fact for fact in facts if fact not in needed]
    return told + [others[i] for i in rng.permutation(len(others))[: rng.integers(0, 4 - len(told) + 1)]]
