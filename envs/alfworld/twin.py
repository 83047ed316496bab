"""The same game without the engine: for demonstrations, of which a warm start needs tens of thousands.

Texts and rules are those of the engine, to the letter: tests compare them over random walks. Collected
episodes and panels never use this.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sdar.envs.alfworld.engine import NOTHING
from sdar.envs.alfworld.game import ABLE, TREATMENTS, Game, identifiers, kind_of
from sdar.envs.alfworld.package import rules
from sdar.envs.alfworld.places import LAMPS
from sdar.envs.alfworld.view import View

BANNER = "-= Welcome to TextWorld, ALFRED! =-"
MIDDLE = "You are in the middle of a room. Looking quickly around you, you see "
APPLIANCES = {action: appliance for action, appliance in TREATMENTS.values()}
PARTICIPLES = {"clean": "clean", "heat": "hot", "cool": "cool"}


class Twin:
    """One episode of a game."""

    def __init__(self, game: Game) -> None:
        """Put everything where the game says."""
        self.game = game
        self._contents = {place: list(held) for place, held in game.contents.items()}
        self._ids = identifiers(game)
        self._here, self._holding = "", ""
        self._open: set[str] = set()
        self._treated: set[tuple[str, str]] = set()
        self._used: set[str] = set()
        self._sliced: set[str] = set()

    def start(self) -> str:
        """Return the first text."""
        return f"{BANNER}\n\n{MIDDLE}{self._list(self._contents)}.\n\nYour task is to: {self.game.goal}"

    def step(self, command: str) -> str:
        """Carry out a command and return what the game says."""
        if command not in self.commands():
            return NOTHING
        verb, _, rest = command.partition(" ")
        if verb == "look":
            return self._look()
        if verb == "inventory":
            return (
                f"You are carrying: a {self._holding}." if self._holding else "You are not carrying anything."
            )
        if verb == "go":
            self._here = rest.removeprefix("to ")
            return f"You arrive at {self._here}. {self._describe(self._here)}"
        if verb in ("open", "close"):
            return self._swing(verb, rest)
        if verb == "examine":
            return self._describe(rest) if rest in self._contents else self._examine(rest)
        if verb in ("take", "move"):
            return self._carry(verb, *rest.split(" from " if verb == "take" else " to "))
        return self._act(verb, rest)

    def view(self) -> View:
        """Return the state."""
        return View(
            here=frozenset((self._here,) if self._here else ()),
            holding=self._holding,
            contents={place: tuple(sorted(held)) for place, held in self._contents.items()},
            closed=frozenset(place for place in self._contents if self._is_closed(place)),
            treated=frozenset(self._treated),
            commands=self.commands(),
        )

    def commands(self) -> Sequence[str]:
        """Return the admissible commands."""
        return sorted({"look", "inventory", "help", *self._moves(), *self._handling()})

    @property
    def won(self) -> bool:
        """Whether the goal is reached."""
        wanted = self.game.wanted
        if wanted.family == "look_at_obj_in_light":
            lit = any(kind_of(x) == wanted.lamp for x in self._used & set(self._contents.get(self._here, ())))
            return lit and kind_of(self._holding) == wanted.thing
        action = TREATMENTS.get(wanted.family, ("", ""))[0]
        least = 2 if wanted.family == "pick_two_obj_and_place" else 1
        return any(
            sum(kind_of(x) == wanted.thing and (not action or (action, x) in self._treated) for x in held)
            >= least
            for place, held in self._contents.items()
            if kind_of(place) == wanted.target
        )

    def _moves(self) -> Iterator[str]:
        yield from (f"go to {place}" for place in self._contents if place != self._here)
        if self._here:
            yield f"examine {self._here}"
            if kind_of(self._here) in rules().openable:
                yield f"{'open' if self._is_closed(self._here) else 'close'} {self._here}"

    def _handling(self) -> Iterator[str]:
        law, held, here = rules(), self._holding, self._here
        within = [] if not here or self._is_closed(here) else self._contents[here]
        if held:
            yield f"examine {held}"
        for thing in within:
            if not held and kind_of(thing) not in LAMPS:
                yield f"take {thing} from {here}"
        for thing in self._contents.get(here, ()):
            if kind_of(thing) in LAMPS:
                yield f"use {thing}"
            if kind_of(held) in ("knife", "butterknife") and kind_of(thing) in law.affords["sliceable"]:
                yield f"slice {thing} with {held}"
        if held and here and not self._is_closed(here) and kind_of(held) in law.accepts[kind_of(here)]:
            yield f"move {held} to {here}"
        for action, appliance in APPLIANCES.items():
            if held and kind_of(here) == appliance and kind_of(held) in law.affords[ABLE[action]]:
                yield f"{action} {held} with {here}"

    def _swing(self, verb: str, place: str) -> str:
        if verb == "close":
            self._open.discard(place)
            return f"You close the {place}."
        self._open.add(place)
        return f"You open the {place}. {self._describe(place)}"

    def _carry(self, verb: str, thing: str, place: str) -> str:
        if verb == "take":
            self._contents[place].remove(thing)
            self._holding = thing
            return f"You pick up the {thing} from the {place}."
        self._contents[place].append(thing)
        self._holding = ""
        return f"You move the {thing} to the {place}."

    def _act(self, verb: str, rest: str) -> str:
        thing, _, tool = rest.partition(" with ")
        if verb == "use":
            self._used.add(thing)
            return f"You turn on the {thing}."
        if verb == "slice":
            self._sliced.add(thing)
            return f"You sliced the {thing} with the {tool}."
        if verb == "help":
            return HELP
        self._treated.add((verb, thing))
        self._treated.discard(({"heat": "cool", "cool": "heat"}.get(verb, ""), thing))
        return f"You {verb} the {thing} using the {tool}."

    def _look(self) -> str:
        if self._here:
            return f"You are facing the {self._here}. Next to it, you see nothing."
        return f"{MIDDLE}nothing."  # the engine lists the receptacles in the first text only

    def _describe(self, place: str) -> str:
        if self._is_closed(place):
            return f"The {place} is closed."
        held = self._list(self._contents[place])
        if kind_of(place) in rules().openable:
            return f"The {place} is open. In it, you see {held}."
        return f"On the {place}, you see {held}."

    def _examine(self, thing: str) -> str:
        if kind_of(thing) in rules().carriers:
            return f"This is a normal {thing}. In it, you see nothing."
        if thing in self._used:
            return f"This {thing} is on."
        states = [action for action in ("heat", "cool", "clean") if (action, thing) in self._treated]
        words = [PARTICIPLES[action] for action in states]
        if thing in self._sliced:
            return f"This is a {' and '.join(words)} sliced {thing}.".replace("a  sliced", "a sliced")
        if words == ["cool"]:
            return f"This is a cold {thing}."
        return (
            f"This is a {' and '.join(words)} {thing}."
            if words
            else f"There's nothing special about {thing}."
        )

    def _is_closed(self, place: str) -> bool:
        return kind_of(place) in rules().openable and place not in self._open

    def _list(self, names: Iterable[str]) -> str:
        """Return names as the engine lists them: in the order of its identifiers."""
        articled = [f"a {name}" for name in sorted(names, key=self._ids.__getitem__)]
        if len(articled) < 2:
            return articled[0] if articled else "nothing"
        return f"{', '.join(articled[:-1])}, and {articled[-1]}"


HELP = """
Available commands:
  look:                             look around your current location
  inventory:                        check your current inventory
  go to (receptacle):               move to a receptacle
  open (receptacle):                open a receptacle
  close (receptacle):               close a receptacle
  take (object) from (receptacle):  take an object from a receptacle
  move (object) to (receptacle):  place an object in or on a receptacle
  examine (something):              examine a receptacle or an object
  use (object):                     use an object
  heat (object) with (receptacle):  heat an object using a receptacle
  clean (object) with (receptacle): clean an object using a receptacle
  cool (object) with (receptacle):  cool an object using a receptacle
  slice (object) with (object):     slice an object using a sharp object
""".strip()
