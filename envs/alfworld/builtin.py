"""Games from the package's own data: its rooms, its goal library, and where ALFRED's things usually are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from sdar.envs.alfworld.game import (
    ABLE,
    FAMILIES,
    TREATMENTS,
    Game,
    Wanted,
    playable,
    sentence,
)
from sdar.envs.alfworld.package import Layout, layouts, rules, scene_number
from sdar.envs.alfworld.places import LAMPS, scene_group, usual_places
from sdar.schemas.seeds import derive_seed, generator

SIZES = {"train": 288, "seen": 96, "unseen": 288}
"""Games per split."""
ROOMS = {"kitchen": range(1, 31), "livingroom": range(201, 231), "bedroom": range(301, 331),
         "bathroom": range(401, 431)}  # fmt: skip
ADDED = {"kitchen": {"garbagecan": 1, "stoveburner": 4, "coffeemachine": 1}, "livingroom": {"garbagecan": 1},
         "bedroom": {"garbagecan": 1}, "bathroom": {"garbagecan": 1, "toilet": 1}}  # fmt: skip
"""Receptacles that stand in the rooms but are in no layout file."""
MOST_PLACES = 6
"""Receptacles of one type at most: rooms with 20 cabinets make long texts and teach nothing else."""
MOST_KINDS = 16
"""Types of thing in a room besides the one that is wanted."""


@lru_cache(maxsize=8)
def builtin_games(split: str) -> tuple[Game, ...]:
    """Return the games of a split, families in turn.

    `train` and `seen` are in the same rooms, `unseen` in others; a goal of `unseen` occurs in neither.
    """
    group = "train" if split == "seen" else split
    games: list[Game] = []
    taken: set[tuple[str, Wanted]] = set()
    draw = 0
    while len(games) < SIZES[split]:
        rng = generator(0, "alfworld", split, draw)
        draw += 1
        game = draw_game(f"{split}-{len(games)}", FAMILIES[len(games) % len(FAMILIES)], group, rng)
        key = (game.scene, game.wanted)
        # The first splits differ in goals or rooms; only when a family has few goals do they come again.
        if key in taken and draw < 4 * SIZES[split]:
            continue
        taken.add(key)
        games.append(game)
    return tuple(games)


def draw_game(name: str, family: str, group: str, rng: np.random.Generator) -> Game:
    """Return a game that can be played, in a room of a group.

    Args:
        name: its id.
        family: one of `FAMILIES`.
        group: `train`, `unseen` or `demonstration`; demonstrations show goals of both kinds.
        rng: decides everything else.
    """
    rooms = _rooms(family, group)
    while True:
        layout = rooms[int(rng.integers(len(rooms)))]
        options = _goals(family, layout.scene, group)
        if not options:
            continue
        wanted = options[int(rng.integers(len(options)))]
        contents = _furnish(layout, wanted, rng)
        if playable(wanted, contents):
            return Game(name, layout.scene, wanted, sentence(wanted, int(rng.integers(2))), contents)


def room_type(scene: str) -> str:
    """Return `kitchen`, `livingroom`, `bedroom` or `bathroom`."""
    return next(room for room, numbers in ROOMS.items() if scene_number(scene) in numbers)


def places_of(layout: Layout) -> dict[str, int]:
    """Return how many receptacles of each type a room has in these games."""
    found = {kind: n for kind, n in layout.receptacles.items() if kind in rules().accepts}
    for kind, number in ADDED[room_type(layout.scene)].items():
        if kind in layout.objects:
            found[kind] = max(number, found.get(kind, 0))
    return {kind: min(n, MOST_PLACES) for kind, n in sorted(found.items())}


@lru_cache(maxsize=128)
def mean_number(kind: str) -> float:
    """Return how many receptacles of a type stand in the rooms that have any, the panel's rooms left out."""
    many = [
        places_of(each).get(kind, 0) for scene, each in layouts().items() if scene_group(scene) != "unseen"
    ]
    return sum(many) / max(1, sum(n > 0 for n in many)) or 1.0


@lru_cache(maxsize=64)
def _rooms(family: str, group: str) -> Sequence[Layout]:
    allowed = rules().rooms[family]
    return [
        each
        for scene, each in layouts().items()
        if scene_group(scene) == group and room_type(scene) in allowed and _goals(family, scene, group)
    ]


@lru_cache(maxsize=1024)
def _goals(family: str, scene: str, group: str) -> Sequence[Wanted]:
    layout = layouts()[scene]
    places = places_of(layout)
    things = [thing for thing in usual_places() if thing in layout.objects and thing not in LAMPS]
    if family == "look_at_obj_in_light":
        lamps = [
            lamp
            for lamp in LAMPS
            if lamp in layout.objects and any(x in places for x in usual_places()[lamp])
        ]
        found = [Wanted(family, thing, "", lamp) for lamp in lamps for thing in things]
    else:
        found = [
            Wanted(family, thing, place)
            for thing in things
            for place in places
            if thing in rules().accepts[place] and _treatable(family, thing, place, places)
        ]
    return [each for each in found if group == "demonstration" or _panel_goal(each) == (group == "unseen")]


def _treatable(family: str, thing: str, place: str, places: Mapping[str, int]) -> bool:
    if family not in TREATMENTS:
        # There must be another place where it can be at the start.
        return any(thing in rules().accepts[other] for other in places if other != place)
    action, appliance = TREATMENTS[family]
    return appliance in places and appliance != place and thing in rules().affords[ABLE[action]]


def _panel_goal(wanted: Wanted) -> bool:
    """Return whether a goal is for the panel; a third of all goals are, and they are never trained on."""
    return derive_seed(0, wanted.family, wanted.thing, wanted.target, wanted.lamp) % 3 == 0


def _furnish(layout: Layout, wanted: Wanted, rng: np.random.Generator) -> dict[str, tuple[str, ...]]:
    """Return a start: the wanted things, others, and lamps, each where such things usually are."""
    counts = places_of(layout)
    places = [f"{kind} {number}" for kind, many in counts.items() for number in range(1, many + 1)]
    contents: dict[str, list[str]] = {place: [] for place in places}
    others = sorted(
        kind for kind in usual_places() if kind in layout.objects and kind not in (wanted.thing, *LAMPS)
    )
    chosen = [others[i] for i in rng.permutation(len(others))[:MOST_KINDS]]
    least = 2 if wanted.family == "pick_two_obj_and_place" else 1
    for kind in [wanted.thing, *chosen]:
        many = least + int(rng.random() < 0.4) if kind == wanted.thing else 1 + int(rng.random() < 0.3)
        shut_out = wanted.target if kind == wanted.thing else ""
        for number in range(1, many + 1):
            place = _draw_place(kind, places, shut_out, rng)
            if place:
                contents[place].append(f"{kind} {number}")
    for lamp in (each for each in LAMPS if each in layout.objects):
        place = _draw_place(lamp, places, "", rng)
        if place:
            contents[place].append(f"{lamp} 1")
    return {place: tuple(held) for place, held in contents.items()}


def _draw_place(kind: str, places: Sequence[str], shut_out: str, rng: np.random.Generator) -> str:
    """Draw a receptacle by how usual its type is for the thing; one of the type `shut_out` never."""
    shares = usual_places()[kind]
    many: dict[str, int] = {}
    for place in places:
        many[place.split(" ")[0]] = many.get(place.split(" ")[0], 0) + 1
    weights = np.array(
        [
            shares.get(type_, 0.0) / many[type_] if type_ != shut_out else 0.0
            for type_ in (place.split(" ")[0] for place in places)
        ]
    )
    if not weights.sum():
        return ""
    return places[int(rng.choice(len(places), p=weights / weights.sum()))]
