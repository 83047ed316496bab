"""Where things usually are: shares over types of receptacle, counted in ALFRED's training rooms."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from sdar.envs.alfworld.package import receptacle_type, scene_number

TABLE = Path(__file__).with_name("usual_places.json")
Placed = tuple[str, float, float, float]
"""Type of a thing and its position in metres."""
LAMPS = ("desklamp", "floorlamp")
LAMP_STANDS = (
    "desk",
    "sidetable",
    "dresser",
    "shelf",
    "coffeetable",
    "diningtable",
    "tvstand",
    "bed",
    "sofa",
    "armchair",
)
HELD_OUT = frozenset((9, 10, 29, 215, 219, 226, 308, 315, 325, 404, 424, 425))
"""Rooms of ALFRED's valid_unseen and test_unseen splits."""


def scene_group(scene: str) -> str:
    """Return which tasks a room is for: `train` (also `seen`), `unseen`, or `demonstration` (no split).

    Of the 120 rooms 55 are for training, 30 for the panel and 35 for demonstrations. The rooms that ALFRED
    holds out are the panel's.
    """
    number = scene_number(scene)
    if number in HELD_OUT or number % 100 % 6 == 2:
        return "unseen"
    return "demonstration" if number % 100 % 5 in (0, 1) else "train"


@lru_cache(maxsize=1)
def usual_places() -> Mapping[str, Mapping[str, float]]:
    """Return by type of thing the share of each type of receptacle, largest first.

    Source: ALFRED, askforalfred/alfred json_2.1.0 (MIT licence); counted with `count_places` over the
    training split, without the rooms that `scene_group` keeps for the panel.
    """
    table: dict[str, dict[str, float]] = json.loads(TABLE.read_text(encoding="utf-8"))["shares"]
    return table


def count_places(
    scenes: Iterable[tuple[Sequence[str], Sequence[Placed]]], accepts: Mapping[str, frozenset[str]]
) -> dict[str, dict[str, float]]:
    """Return the share of each type of receptacle by type of thing; shares below 1 % are left out.

    Args:
        scenes: the ids of the receptacles and the placed things of each start.
        accepts: types of thing that can be put into a type of receptacle.
    """
    counts: dict[str, Counter[str]] = {}
    for receptacles, things in scenes:
        found = [(kind.lower(), nearest(kind.lower(), at, receptacles, accepts)) for kind, *at in things]
        lamps = [each for each in receptacles if receptacle_type(each) in LAMPS]
        found += [(receptacle_type(lamp), beside(lamp, receptacles)) for lamp in lamps]
        for kind, place in found:
            if place:
                counts.setdefault(kind, Counter())[receptacle_type(place)] += 1
    return {
        thing: {
            place: round(n / many.total(), 3) for place, n in many.most_common() if n >= many.total() / 100
        }
        for thing, many in sorted(counts.items())
    }


def nearest(
    thing: str,
    position: Sequence[float],
    receptacles: Sequence[str],
    accepts: Mapping[str, frozenset[str]],
) -> str:
    """Return the id of the receptacle nearest to a position among those that accept the thing, or nothing."""
    fitting = [each for each in receptacles if thing in accepts.get(receptacle_type(each), ())]
    return min(fitting, key=lambda each: (math.dist(position, _position(each)), each), default="")


def beside(lamp: str, receptacles: Sequence[str]) -> str:
    """Return the id of the receptacle that a lamp stands on or by: the nearest that suits a lamp."""
    kind = receptacle_type(lamp)
    return nearest(kind, _position(lamp), receptacles, dict.fromkeys(LAMP_STANDS, frozenset((kind,))))


def _position(identifier: str) -> tuple[float, float, float]:
    x, y, z = identifier.split("|")[1:4]
    return float(x), float(y), float(z)
