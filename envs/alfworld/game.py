"""One game: a room, where everything is at the start, and the goal; and its PDDL for the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sdar.envs.alfworld.package import rules
from sdar.envs.alfworld.places import LAMPS

FAMILIES = (
    "pick_and_place_simple",
    "look_at_obj_in_light",
    "pick_clean_then_place_in_recep",
    "pick_heat_then_place_in_recep",
    "pick_cool_then_place_in_recep",
    "pick_two_obj_and_place",
)
TREATMENTS = {
    "pick_clean_then_place_in_recep": ("clean", "sinkbasin"),
    "pick_heat_then_place_in_recep": ("heat", "microwave"),
    "pick_cool_then_place_in_recep": ("cool", "fridge"),
}
"""By family: what is done to the thing, and the type of receptacle that does it."""
ABLE = {"clean": "cleanable", "heat": "heatable", "cool": "coolable"}
_ALWAYS = ("sinkbasin", "microwave", "fridge")
_KNIVES = ("knife", "butterknife")


@dataclass(frozen=True)
class Wanted:
    """What a task asks for: types in lower case; `target` or `lamp` is empty where the family has none."""

    family: str
    thing: str
    target: str
    lamp: str = ""


@dataclass(frozen=True)
class Game:
    """A game by the names that its texts use, such as `mug 1` and `cabinet 3`.

    Attributes:
        id: unique within the environment.
        scene: AI2-THOR room.
        wanted: what is to be done.
        goal: the sentence that says it.
        contents: things by receptacle, all receptacles in the order in which the room lists them.
    """

    id: str
    scene: str
    wanted: Wanted
    goal: str
    contents: Mapping[str, tuple[str, ...]]


def kind_of(name: str) -> str:
    """Return the type of a thing or receptacle: `mug 1` is a `mug`."""
    return name.split(" ")[0]


def sentence(wanted: Wanted, template: int) -> str:
    """Return the goal's sentence by one of the goal library's templates."""
    templates = rules().goals[wanted.family][1]
    text = templates[template % len(templates)]
    return text.format(obj=wanted.thing, recep=wanted.target, toggle=wanted.lamp, mrecep="") + "."


def playable(wanted: Wanted, contents: Mapping[str, tuple[str, ...]]) -> bool:
    """Return whether a goal can be reached from a start and is not reached there already."""
    law = rules()
    places, things = [kind_of(name) for name in contents], Counter(_types(contents))
    if things[wanted.thing] < (2 if wanted.family == "pick_two_obj_and_place" else 1):
        return False
    if wanted.family == "look_at_obj_in_light":
        return things[wanted.lamp] > 0
    if wanted.target not in places or wanted.thing not in law.accepts.get(wanted.target, ()):
        return False
    if wanted.family in TREATMENTS:
        action, appliance = TREATMENTS[wanted.family]
        return appliance in places and wanted.thing in law.affords[ABLE[action]]
    there = [[kind_of(x) for x in held].count(wanted.thing) for place, held in contents.items()
             if kind_of(place) == wanted.target]  # fmt: skip
    return max(there) < (2 if wanted.family == "pick_two_obj_and_place" else 1)


def game_data(game: Game) -> dict[str, Any]:
    """Return the content of the game's `game.tw-pddl` file."""
    law = rules()
    return {
        "pddl_domain": law.domain,
        "grammar": law.grammar.replace("UNKNOWN GOAL.", game.goal),
        "pddl_problem": problem(game),
        "solvable": True,
        "walkthrough": None,
    }


def problem(game: Game) -> str:
    """Return the game's initial state and goal as a PDDL problem."""
    ids = identifiers(game)
    goal = rules().goals[game.wanted.family][0].replace("#", "-")
    goal = goal.format(obj=game.wanted.thing, recep=game.wanted.target, toggle=game.wanted.lamp)
    objects = "\n    ".join(_objects(game, ids))
    init = "\n    ".join(f"({fact})" for fact in _facts(game, ids))
    return (
        f"(define (problem {game.id.replace('/', '_')})\n  (:domain alfred)\n"
        f"  (:objects\n    {objects}\n  )\n  (:init\n    {init}\n  )\n{goal}"
    )


def identifiers(game: Game) -> dict[str, str]:
    """Return the PDDL identifier of each thing and receptacle.

    The engine numbers the identifiers of a type from the last in the alphabet to the first, and calls what
    has `basin` in its identifier a basin: so these come out under the names that the game uses.
    """
    names = [*game.contents, *(thing for held in game.contents.values() for thing in held)]
    many = Counter(kind_of(name) for name in names)
    return {name: _identifier(name, many[kind_of(name)]) for name in names}


def _identifier(name: str, many: int) -> str:
    kind, number = name.split(" ")
    rank = f"{many - int(number):03d}"
    if kind.endswith("basin"):
        return f"{kind.removesuffix('basin')}_bar_{rank}_bar_{kind}"
    return f"{kind}_bar_{rank}"


def _types(contents: Mapping[str, tuple[str, ...]]) -> list[str]:
    return [kind_of(thing) for held in contents.values() for thing in held]


def _objects(game: Game, ids: Mapping[str, str]) -> Iterator[str]:
    yield "agent1 - agent"
    yield "loc_0 - location"
    for number, place in enumerate(game.contents, 1):
        yield f"{ids[place]} - receptacle"
        yield f"loc_{number} - location"
    for held in game.contents.values():
        yield from (f"{ids[thing]} - object" for thing in held)
    for kind in sorted({*map(kind_of, game.contents), *_ALWAYS}):
        yield f"{kind}type - rtype"
    for kind in sorted({*_types(game.contents), *_KNIVES}):
        yield f"{kind}type - otype"


def _facts(game: Game, ids: Mapping[str, str]) -> Iterator[str]:
    law = rules()
    yield "= (total-cost) 0"
    yield "atlocation agent1 loc_0"
    for number, (place, held) in enumerate(game.contents.items(), 1):
        yield f"receptacletype {ids[place]} {kind_of(place)}type"
        yield f"receptacleatlocation {ids[place]} loc_{number}"
        if kind_of(place) in law.openable:
            yield f"openable {ids[place]}"
        for thing in held:
            yield f"inreceptacle {ids[thing]} {ids[place]}"
            yield f"objectatlocation {ids[thing]} loc_{number}"
            yield from _nature(thing, ids[thing])
    kinds = set(_types(game.contents))
    for kind in sorted({kind_of(place) for place in game.contents}):
        for thing in sorted(kinds & law.accepts.get(kind, frozenset())):
            yield f"cancontain {kind}type {thing}type"


def _nature(thing: str, identifier: str) -> Iterator[str]:
    law, kind = rules(), kind_of(thing)
    yield f"objecttype {identifier} {kind}type"
    yield f"{'toggleable' if kind in LAMPS else 'pickupable'} {identifier}"
    if kind in law.carriers:
        yield f"isreceptacleobject {identifier}"
    for able in ("cleanable", "heatable", "coolable", "sliceable"):
        if kind in law.affords[able]:
            yield f"{able} {identifier}"
