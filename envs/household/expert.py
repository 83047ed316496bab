"""The demonstrator: knows some facts, searches for the rest, and recovers from detours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sdar.envs.household.game import Game, visible
from sdar.envs.household.goals import skill_names_needed
from sdar.envs.household.vocabulary import (
    APPLIANCES,
    CLOSED_TYPES,
    FUNCTION_OF_FAMILY,
    LAMPS,
    RECEPTACLE_COUNTS,
    RECEPTACLES,
    kind,
)


@dataclass
class Expert:
    """Plays a game as someone who knows the facts in `knows` and remembers what was seen.

    Facts are category names (their home), `heat`, `cool`, `clean` (the appliance that works) and `light`
    (the lamp that works and its place). Whatever is not known is searched in an order drawn from `rng`.
    """

    game: Game
    rng: np.random.Generator
    knows: frozenset[str]
    seen: set[str] = field(default_factory=set)
    lamps_at: dict[str, str] = field(default_factory=dict)

    def observe(self) -> None:
        """Take note of what the present state shows."""
        here = self.game.place
        if here in self.game.contents and visible(self.game, here):
            self.seen.add(here)
            self.lamps_at |= {name: here for name in self.game.contents[here] if name in LAMPS}

    def next_action(self) -> str:
        """Return the next action of a sensible plan from the present state; call it once per step."""
        self.observe()
        game, task = self.game, self.game.task
        thing, target = task.payload["thing"], task.payload["target"]
        if game.holding and kind(game.holding) != thing:
            return self._put_down()
        if not game.holding:
            return self._fetch(thing, target)
        if task.type == "look_in_light":
            return self._use_lamp()
        function = FUNCTION_OF_FAMILY.get(task.type)
        if function and (game.holding, function) not in game.treated:
            return self._treat(function)
        return self._deliver(target)

    def _go_or(self, place: str, action: str) -> str:
        return action if self.game.place == place else f"go to {place}"

    def _reach(self, receptacle: str, action: str) -> str:
        """Go there, open it if it is closed, then act."""
        if self.game.place != receptacle:
            return f"go to {receptacle}"
        return action if visible(self.game, receptacle) else f"open {receptacle}"

    def _put_down(self) -> str:
        here = self.game.place
        place = here if here in self.game.contents else self._pick(RECEPTACLES)
        return self._reach(place, f"move {self.game.holding} to {place}")

    def _fetch(self, thing: str, target: str) -> str:
        function = FUNCTION_OF_FAMILY.get(self.game.task.type)
        for place in RECEPTACLES:
            known = place in self.seen
            for name in self.game.contents[place]:
                done = kind(place) == target and (function is None or (name, function) in self.game.treated)
                if known and kind(name) == thing and not done:
                    return self._reach(place, f"take {name} from {place}")
        return self._search()

    def _search(self) -> str:
        here = self.game.place
        if here in self.game.contents and not visible(self.game, here):
            return f"open {here}"
        home = self.game.house.homes[skill_names_needed(self.game.task)[0]]
        if skill_names_needed(self.game.task)[0] in self.knows and home not in self.seen:
            return f"go to {home}"
        unseen = [place for place in RECEPTACLES if place not in self.seen and place != here]
        return f"go to {self._pick(unseen or RECEPTACLES)}"

    def _treat(self, function: str) -> str:
        works = self.game.house.appliances[function]
        options = [works] if function in self.knows else list(APPLIANCES[function])
        options = [option for option in options if option not in self.game.failed]
        choice = self.game.place if self.game.place in options else self._pick(options)
        return self._go_or(str(choice), f"{function} {self.game.holding} with {choice}")

    def _use_lamp(self) -> str:
        if "light" in self.knows:
            lamp = self.game.house.lamp
            return self._reach(self.game.house.lamp_places[lamp], f"use {lamp}")
        known = [lamp for lamp in self.lamps_at if lamp not in self.game.failed]
        if not known:
            return self._search()
        here = [lamp for lamp in known if self.lamps_at[lamp] == self.game.place]
        lamp = here[0] if here else self._pick(known)
        return self._reach(self.lamps_at[lamp], f"use {lamp}")

    def _deliver(self, target: str) -> str:
        game = self.game
        options = [f"{target} {n}" for n in range(1, RECEPTACLE_COUNTS[target] + 1)]
        if game.place in options:
            return self._reach(str(game.place), f"move {game.holding} to {game.place}")
        opened = [place for place in options if target in CLOSED_TYPES and place in game.opened]
        return f"go to {self._pick(opened or options)}"

    def _pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]
