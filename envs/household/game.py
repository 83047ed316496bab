"""The rules of the household: a text game with ALFWorld's command grammar and style of observation."""

from __future__ import annotations

from dataclasses import dataclass, field

from sdar.envs.base import StepResult
from sdar.envs.household.house import House, house
from sdar.envs.household.vocabulary import (
    APPLIANCES,
    CATEGORIES,
    CLOSED_TYPES,
    FUNCTION_OF,
    FUNCTION_OF_FAMILY,
    LAMPS,
    RECEPTACLES,
    kind,
    preposition,
)
from sdar.schemas.records import TaskSpec
from sdar.schemas.seeds import generator

HABIT = 0.97
"""Probability that a thing lies where its category is kept; otherwise it is anywhere."""
BYSTANDERS = 6
"""Categories besides the goal's of which one thing is in the house."""
NOTHING = "Nothing happens."
PLACES = (*RECEPTACLES, *FUNCTION_OF)
WELCOME = (
    "You are in a house with four cabinets, three drawers, three shelves, two countertops, one desk, "
    "one dresser, one sofa and one bed. Microwave, stove, toaster, fridge, freezer, icebox, sink, dishwasher "
    "and bathtub are numbered 1."
)


@dataclass
class Game:
    """The state of one episode.

    `contents` maps each receptacle to the things in it; `treated` holds (thing, function) pairs; `failed`
    the appliances and lamps that were tried and did not work.
    """

    task: TaskSpec
    house: House
    contents: dict[str, list[str]]
    place: str | None = None
    holding: str | None = None
    opened: set[str] = field(default_factory=set)
    treated: set[tuple[str, str]] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    lit: bool = False


def new_game(task: TaskSpec, seed: int) -> Game:
    """Place the things of a task; `seed` decides which bystanders there are and where strays lie."""
    rng = generator(seed, "household", "scene", task.id)
    home = house(task.payload["house"])
    contents: dict[str, list[str]] = {place: [] for place in RECEPTACLES}
    for lamp, place in home.lamp_places.items():
        contents[place].append(lamp)
    thing, target = task.payload["thing"], task.payload["target"]
    wanted = [f"{thing} {n}" for n in range(1, 3 if task.type == "pick_two" else 2)]
    goal_category = next(category for category, things in CATEGORIES.items() if thing in things)
    others = [category for category in CATEGORIES if category != goal_category]
    chosen = rng.permutation(len(others))[:BYSTANDERS]
    bystanders = [f"{CATEGORIES[others[i]][rng.integers(3)]} 1" for i in chosen]
    for name, category in [(name, goal_category) for name in wanted] + [
        (name, others[i]) for name, i in zip(bystanders, chosen, strict=True)
    ]:
        place = home.homes[category]
        if rng.random() >= HABIT:
            allowed = [other for other in RECEPTACLES if kind(other) != target]
            place = allowed[rng.integers(len(allowed))]
        contents[place].append(name)
    for names in contents.values():
        names.sort()
    return Game(task=task, house=home, contents=contents)


def solved(game: Game) -> bool:
    """Say whether the task's goal holds in the present state."""
    task, thing = game.task, game.task.payload["thing"]
    if task.type == "look_in_light":
        return game.lit
    function = FUNCTION_OF_FAMILY.get(task.type)
    placed = [
        name
        for receptacle, names in game.contents.items()
        if kind(receptacle) == task.payload["target"]
        for name in names
        if kind(name) == thing and (function is None or (name, function) in game.treated)
    ]
    return len(placed) >= (2 if task.type == "pick_two" else 1)


def visible(game: Game, receptacle: str) -> bool:
    """Say whether the contents of a receptacle can be seen and reached."""
    return kind(receptacle) not in CLOSED_TYPES or receptacle in game.opened


def _listing(game: Game, receptacle: str) -> str:
    names = game.contents[receptacle]
    seen = ", ".join(f"a {name}" for name in names) if names else "nothing"
    return f"{preposition(kind(receptacle)).capitalize()} it you see {seen}."


def _go(game: Game, place: str) -> str:
    if place not in PLACES or place == game.place:
        return NOTHING
    game.place = place
    if place in FUNCTION_OF:
        return f"You arrive at {place}."
    if not visible(game, place):
        return f"You arrive at {place}. It is closed."
    return f"You arrive at {place}. {_listing(game, place)}"


def _open(game: Game, receptacle: str) -> str:
    closed = game.place == receptacle and kind(receptacle) in CLOSED_TYPES and receptacle not in game.opened
    if not closed:
        return NOTHING
    game.opened.add(receptacle)
    return f"You open {receptacle}. {_listing(game, receptacle)}"


def _close(game: Game, receptacle: str) -> str:
    if game.place != receptacle or receptacle not in game.opened:
        return NOTHING
    game.opened.remove(receptacle)
    return f"You close {receptacle}."


def _take(game: Game, name: str, receptacle: str) -> str:
    reachable = receptacle in game.contents and game.place == receptacle and visible(game, receptacle)
    if not reachable or game.holding or name in LAMPS or name not in game.contents[receptacle]:
        return NOTHING
    game.contents[receptacle].remove(name)
    game.holding = name
    return f"You pick up {name} from {receptacle}."


def _move(game: Game, name: str, receptacle: str) -> str:
    reachable = receptacle in game.contents and game.place == receptacle and visible(game, receptacle)
    if not reachable or game.holding != name:
        return NOTHING
    game.contents[receptacle].append(name)
    game.holding = None
    return f"You move {name} to {receptacle}."


def _treat(game: Game, function: str, name: str, appliance: str) -> str:
    if game.place != appliance or FUNCTION_OF.get(appliance) != function or game.holding != name:
        return NOTHING
    if game.house.appliances[function] != appliance:
        game.failed.add(appliance)
        return f"You try {appliance}, but it does not work."
    # Cooling undoes heating and the other way round; cleanliness stays.
    if function in ("heat", "cool"):
        game.treated -= {(name, "heat"), (name, "cool")}
    game.treated.add((name, function))
    return f"You {function} {name} using {appliance}."


def _use(game: Game, lamp: str) -> str:
    if lamp not in LAMPS or game.place is None or lamp not in game.contents.get(game.place, ()):
        return NOTHING
    if lamp != game.house.lamp:
        game.failed.add(lamp)
        return f"You try {lamp}, but it does not work."
    game.lit = bool(game.holding) and kind(str(game.holding)) == game.task.payload["thing"]
    return f"You turn on {lamp}."


def _examine(game: Game, name: str) -> str:
    if name == game.place and name in game.contents:
        return _listing(game, name) if visible(game, name) else f"{name} is closed."
    if name == game.holding:
        return f"You look closely at {name}."
    return NOTHING


def _look(game: Game) -> str:
    return f"You are at {game.place}." if game.place else WELCOME


def _inventory(game: Game) -> str:
    return f"You carry {game.holding}." if game.holding else "You carry nothing."


def _two(rest: str, word: str) -> tuple[str, str] | None:
    left, found, right = rest.partition(f" {word} ")
    return (left, right) if found else None


def perform(game: Game, action: str) -> str:
    """Carry out one action in words and return the observation; what makes no sense changes nothing."""
    verb, _, rest = action.strip().partition(" ")
    if action == "look":
        return _look(game)
    if action == "inventory":
        return _inventory(game)
    if verb == "go" and rest.startswith("to "):
        return _go(game, rest[3:])
    if verb == "take" and (pair := _two(rest, "from")):
        return _take(game, *pair)
    if verb == "move" and (pair := _two(rest, "to")):
        return _move(game, *pair)
    if verb in APPLIANCES and (pair := _two(rest, "with")):
        return _treat(game, verb, *pair)
    simple = {"open": _open, "close": _close, "use": _use, "examine": _examine}
    return simple[verb](game, rest) if verb in simple else NOTHING


def step(game: Game, action: str) -> StepResult:
    """Take one action; reward 1 when it reaches the goal, else 0."""
    observation = perform(game, action)
    success = solved(game)
    return StepResult(observation, float(success), success, success, observation != NOTHING)


def admissible(game: Game) -> list[str]:
    """Return every action that does something in the present state, sorted by kind."""
    actions = [f"go to {place}" for place in PLACES if place != game.place]
    here = game.place
    if here in game.contents:
        if kind(here) in CLOSED_TYPES:
            actions.append(f"close {here}" if here in game.opened else f"open {here}")
        if visible(game, here):
            names = game.contents[here]
            if game.holding:
                actions.append(f"move {game.holding} to {here}")
            else:
                actions += [f"take {name} from {here}" for name in names if name not in LAMPS]
            actions += [f"use {name}" for name in names if name in LAMPS]
        actions.append(f"examine {here}")
    elif here in FUNCTION_OF and game.holding:
        actions.append(f"{FUNCTION_OF[here]} {game.holding} with {here}")
    if game.holding:
        actions.append(f"examine {game.holding}")
    return [*actions, "look", "inventory"]
