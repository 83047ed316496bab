"""Houses: the hidden conventions that hold in each of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sdar.envs.household.vocabulary import APPLIANCES, CATEGORIES, LAMP_PLACES, LAMPS, RECEPTACLES
from sdar.schemas.seeds import generator

TRAINING_HOUSES = range(10_000, 20_000)
"""Houses of the starter policy's warm start; all smaller numbers are target houses it never sees."""


@dataclass(frozen=True)
class House:
    """One house: where each category is kept, which appliance does what, which lamp works and where it is."""

    number: int
    homes: Mapping[str, str]
    appliances: Mapping[str, str]
    lamp: str
    lamp_places: Mapping[str, str]


DEFAULT_HOUSE = House(
    number=0,
    homes={
        "cups": "cabinet 3",
        "dishes": "shelf 1",
        "cookware": "cabinet 1",
        "cutlery": "drawer 2",
        "fruit": "countertop 2",
        "vegetables": "cabinet 4",
        "food": "cabinet 2",
        "reading": "shelf 3",
        "stationery": "drawer 3",
        "toiletries": "drawer 1",
        "electronics": "dresser 1",
        "decorations": "shelf 2",
    },
    appliances={"heat": "stove 1", "cool": "freezer 1", "clean": "dishwasher 1"},
    lamp="floorlamp 1",
    lamp_places={"desklamp 1": "desk 1", "floorlamp 1": "sofa 1", "nightlamp 1": "bed 1"},
)


def house(number: int) -> House:
    """Return a house by number: 0 is the default one, any other is drawn from its number alone."""
    if number == DEFAULT_HOUSE.number:
        return DEFAULT_HOUSE
    rng = generator(number, "household", "house")
    places = rng.permutation(len(LAMP_PLACES))
    return House(
        number=number,
        homes={category: RECEPTACLES[rng.integers(len(RECEPTACLES))] for category in CATEGORIES},
        appliances={function: names[rng.integers(len(names))] for function, names in APPLIANCES.items()},
        lamp=LAMPS[rng.integers(len(LAMPS))],
        lamp_places={lamp: LAMP_PLACES[places[i]] for i, lamp in enumerate(LAMPS)},
    )
