"""The demonstrator: searches in an order that says what it knows, and recovers from detours."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sdar.envs.alfworld.game import TREATMENTS, Wanted, kind_of
from sdar.envs.alfworld.places import usual_places
from sdar.envs.alfworld.view import View


@dataclass
class Expert:
    """Plays a game from what it has seen so far; what it knows is in the orders in which it tries.

    Attributes:
        look: returns the present state; of the contents only what lies open to sight is used.
        wanted: what is to be done.
        search: receptacles in the order of looking for the thing.
        lamp_search: receptacles in the order of looking for the lamp.
        appliances: receptacles in the order of trying the treatment.
    """

    look: Callable[[], View]
    wanted: Wanted
    search: Sequence[str]
    lamp_search: Sequence[str]
    appliances: Sequence[str]
    seen: dict[str, tuple[str, ...]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def next_action(self) -> str:
        """Return the next action of a sensible plan from the present state; call it once per step."""
        view = self.look()
        self.seen |= {place: view.contents[place] for place in view.here if place not in view.closed}
        if view.holding and kind_of(view.holding) != self.wanted.thing:
            return self._put_down(view)
        treatment = TREATMENTS.get(self.wanted.family)
        if not view.holding:
            return self._fetch(view, treatment[0] if treatment else "")
        if self.wanted.family == "look_at_obj_in_light":
            return self._light(view)
        if treatment and (treatment[0], view.holding) not in view.treated:
            return self._treat(view, treatment[0])
        return self._deliver(view)

    def _fetch(self, view: View, action: str) -> str:
        """Take the wanted thing, or go where one was seen, or search on."""
        for place in (*view.here, *self.seen):
            for thing in self.seen.get(place, ()):
                if kind_of(thing) == self.wanted.thing and not self._is_in_place(view, place, thing, action):
                    return _reach(view, place, f"take {thing} from {place}")
        return self._search(view, self.search)

    def _is_in_place(self, view: View, place: str, thing: str, action: str) -> bool:
        """Return whether a thing is where it belongs, so that it is to be left there."""
        if kind_of(place) != self.wanted.target or (action and (action, thing) not in view.treated):
            return False
        # Of two things both must be in the same receptacle: the one that got the first.
        return self.wanted.family != "pick_two_obj_and_place" or place == self._target(view)

    def _light(self, view: View) -> str:
        for place, things in self.seen.items():
            for thing in things:
                if kind_of(thing) == self.wanted.lamp:
                    return f"use {thing}" if place in view.here else f"go to {place}"
        return self._search(view, self.lamp_search)

    def _treat(self, view: View, action: str) -> str:
        for place in self.appliances:
            if place in self.failed:
                continue
            if place not in view.here:
                return f"go to {place}"
            command = f"{action} {view.holding} with {place}"
            if command not in view.commands:
                self.failed.add(place)  # it is tried once, and the next one after that
            return command
        return "look"

    def _deliver(self, view: View) -> str:
        target = self._target(view)
        return _reach(view, target, f"move {view.holding} to {target}")

    def _target(self, view: View) -> str:
        """Return where to bring things: the receptacle that has most of them, or else the one at hand."""
        places = sorted(place for place in view.contents if kind_of(place) == self.wanted.target)
        many = {
            place: sum(kind_of(x) == self.wanted.thing for x in self.seen.get(place, ())) for place in places
        }
        # Once there is one of two, the choice must not depend on where the agent stands.
        return max(places, key=lambda place: (many[place], not any(many.values()) and place in view.here))

    def _search(self, view: View, order: Sequence[str]) -> str:
        for place in order:
            if place not in self.seen:
                return _reach(view, place, f"examine {place}")
        # Everything has been looked at once; what is wanted was moved since, so look again.
        self.seen.clear()
        return "look"

    def _put_down(self, view: View) -> str:
        for command in view.commands:
            if command.startswith("move "):
                return command
        for place in sorted(view.here):
            if place in view.closed:
                return f"open {place}"
        usual = list(usual_places().get(kind_of(view.holding), {}))
        fitting = [place for kind in usual for place in sorted(view.contents) if kind_of(place) == kind]
        return f"go to {next(place for place in (*fitting, *view.contents) if place not in view.here)}"


def _reach(view: View, place: str, action: str) -> str:
    """Go to a receptacle, open it if it is closed, then act."""
    if place not in view.here:
        return f"go to {place}"
    return f"open {place}" if place in view.closed else action


def knowing_expert(look: Callable[[], View], wanted: Wanted) -> Expert:
    """Return the expert that knows where everything is and what works."""
    view = look()
    return Expert(
        look,
        wanted,
        search=_with_first(view, wanted.thing),
        lamp_search=_with_first(view, wanted.lamp),
        appliances=_appliances(view, wanted.family),
    )


def learning_expert(
    look: Callable[[], View],
    wanted: Wanted,
    places: Mapping[str, Sequence[str]],
    works: Container[str],
    rng: np.random.Generator,
) -> Expert:
    """Return an expert that looks where it was told first, and elsewhere in an order by chance.

    Args:
        look: returns the present state.
        wanted: what is to be done.
        places: types of receptacle by type of thing or lamp, the first to look at first.
        works: `clean`, `heat`, `cool` where it knows what does it.
        rng: decides the order of what it does not know.
    """
    view = look()
    shuffled = [list(view.contents)[i] for i in rng.permutation(len(view.contents))]
    action, appliance = TREATMENTS.get(wanted.family, ("", ""))
    tried = [place for place in shuffled if kind_of(place) in TRIED]
    if action in works:
        tried = sorted(tried, key=lambda place: kind_of(place) != appliance)
    return Expert(
        look,
        wanted,
        search=_told_first(shuffled, places.get(wanted.thing, ())),
        lamp_search=_told_first(shuffled, places.get(wanted.lamp, ())),
        appliances=tried,
    )


TRIED = ("sinkbasin", "microwave", "fridge", "stoveburner", "coffeemachine")
"""Types of receptacle that one may try to clean, heat or cool with."""


def _told_first(places: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """Sort receptacles by the order of their types; the others come last, in the order that they have."""
    ranks = {kind: rank for rank, kind in enumerate(kinds)}
    return sorted(places, key=lambda place: ranks.get(kind_of(place), len(ranks)))


def _with_first(view: View, kind: str) -> list[str]:
    return sorted(view.contents, key=lambda place: all(kind_of(x) != kind for x in view.contents[place]))


def _appliances(view: View, family: str) -> list[str]:
    _, kind = TREATMENTS.get(family, ("", ""))
    return [place for place in view.contents if kind_of(place) == kind]
