"""The real engine behind a few plain calls: TextWorld's PDDL games with ALFWorld's names."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sdar.envs.alfworld import parse_cache
from sdar.envs.alfworld.package import folder
from sdar.envs.alfworld.view import View

NOTHING = "Nothing happens."
STATES = {"isclean": "clean", "ishot": "heat", "iscool": "cool"}
_IDLE: list[Any] = []
"""Games of TextWorld's that no engine uses now."""
KEPT_GAMES = 4
"""Translated games kept per process: the episodes of a group play the same one."""


class Engine:
    """One instance of the engine, which plays one game at a time; it may play many one after the other."""

    def __init__(self) -> None:
        """Load the engine.

        Raises:
            EnvironmentMissingError: the optional packages are not installed.
        """
        folder()
        self._env: Any = _IDLE.pop() if _IDLE else _new()
        # Unloading the planner's library and loading it again crashes the process: it serves the next engine.
        weakref.finalize(self, _IDLE.append, self._env)
        self._state: Any = None
        self._loaded: Mapping[str, Any] = {}

    def start(self, data: Mapping[str, Any]) -> str:
        """Start a game and return its first text.

        Args:
            data: the content of a `game.tw-pddl` file.
        """
        with _arguments():
            if data != self._loaded:
                self._env.load(data)
                self._loaded = data
            self._state = self._env.reset()
        return str(self._state.feedback).strip()

    def step(self, command: str) -> str:
        """Carry out a command and return what the engine says."""
        self._state, _, _ = self._env.step(command)
        return str(self._state.feedback).strip()

    @property
    def commands(self) -> Sequence[str]:
        """The admissible commands."""
        return list(self._state["admissible_commands"])

    @property
    def won(self) -> bool:
        """Whether the goal is reached, as the engine says."""
        return bool(self._state["won"])

    def view(self) -> View:
        """Return the state of the game by names."""
        facts: dict[str, list[tuple[str, ...]]] = {}
        for fact in self._state["_facts"]:
            facts.setdefault(fact.name, []).append(tuple(self._name(x.name) for x in fact.arguments))
        where = {location for _, location in facts.get("atlocation", [])}
        places = facts.get("receptacleatlocation", [])
        contents: dict[str, list[str]] = {place: [] for place, _ in places}
        for thing, place in facts.get("inreceptacle", []):
            contents[place].append(thing)
        opened = {place for (place,) in facts.get("opened", [])}
        return View(
            here=frozenset(place for place, location in places if location in where),
            holding=next((thing for _, thing in facts.get("holds", [])), ""),
            contents={place: tuple(sorted(held)) for place, held in contents.items()},
            closed=frozenset(place for (place,) in facts.get("openable", []) if place not in opened),
            treated=frozenset(
                (action, x[0]) for state, action in STATES.items() for x in facts.get(state, [])
            ),
            commands=self.commands,
        )

    def _name(self, identifier: str) -> str:
        # An official game keeps some identifiers in facts only, under types that have no name.
        info = self._env._entity_infos.get(identifier)
        return str(info.name).strip() if info is not None else identifier


def _new() -> Any:
    from alfworld.agents.environment.alfred_tw_env import AlfredDemangler
    from textworld import EnvInfos
    from textworld.envs import PddlEnv

    parse_cache.install()
    _keep_translations()
    return AlfredDemangler(PddlEnv(EnvInfos(admissible_commands=True, won=True)), shuffle=False)


@contextmanager
def _arguments() -> Iterator[None]:
    """Keep `sys.argv`, which the planner's translator overwrites."""
    kept = sys.argv
    try:
        yield
    finally:
        sys.argv = kept


def _keep_translations() -> None:
    """Let the engine translate a game once, not twice for each load and twice for each reset."""
    import fast_downward

    if not hasattr(fast_downward.pddl2sas, "cache_clear"):
        fast_downward.pddl2sas = lru_cache(maxsize=2 * KEPT_GAMES)(fast_downward.pddl2sas)
