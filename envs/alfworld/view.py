"""What an expert may look at, whichever engine plays the game."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class View:
    """The state of a game by the names that its texts use.

    Attributes:
        here: the receptacles that the agent stands at.
        holding: the thing in its hand, or empty.
        contents: things by receptacle, also where the agent cannot see.
        closed: receptacles that are closed now.
        treated: `(clean | heat | cool, thing)` for what has been cleaned, is hot or is cold.
        commands: the admissible commands.
    """

    here: frozenset[str]
    holding: str
    contents: Mapping[str, tuple[str, ...]]
    closed: frozenset[str]
    treated: frozenset[tuple[str, str]]
    commands: Sequence[str]
