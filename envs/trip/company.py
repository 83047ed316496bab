"""Companies: the hidden conventions of the trips of their people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from sdar.envs.trip.vocabulary import (
    AIRLINES,
    CITIES,
    DIETS,
    DISTRICTS,
    HOTELS,
    HOUSES,
    PARTNERS,
    TRAVELLERS,
)
from sdar.schemas.seeds import generator

TRAINING_COMPANIES = range(10_000, 20_000)
"""Companies of the starter policy's warm start; all smaller numbers are target companies it never sees."""


@dataclass(frozen=True)
class Office:
    """The company's office in a city: the name of its building, as calendars have it, and its district."""

    house: str
    district: str


@dataclass(frozen=True)
class Partner:
    """Another firm that is visited: its city and the district there."""

    city: str
    district: str


@dataclass(frozen=True)
class Traveller:
    """What one employee insists on."""

    airline: str
    hotel: str
    diet: str


@dataclass(frozen=True)
class Company:
    """One company: its office per city, its partners (one per city) and its travellers, each by name."""

    number: int
    offices: Mapping[str, Office]
    partners: Mapping[str, Partner]
    travellers: Mapping[str, Traveller]

    def partner_in(self, city: str) -> str:
        """Return the name of the partner that sits in a city."""
        return next(name for name, partner in self.partners.items() if partner.city == city)


DEFAULT_COMPANY = Company(
    number=0,
    offices={
        "Berlin": Office("Kontor", "Harbour"),
        "Dublin": Office("Arcade", "Campus"),
        "Lyon": Office("Lantern", "Oldtown"),
        "Oslo": Office("Atrium", "Station"),
        "Porto": Office("Obelisk", "Market"),
        "Prague": Office("Forum", "Southbank"),
        "Turin": Office("Pavilion", "Castle"),
        "Vienna": Office("Rotunda", "Garden"),
    },
    partners={
        "Acme": Partner("Lyon", "Airport"),
        "Bolt": Partner("Oslo", "Northgate"),
        "Corvex": Partner("Berlin", "Castle"),
        "Delphi": Partner("Vienna", "Campus"),
        "Evora": Partner("Porto", "Station"),
        "Fabrik": Partner("Turin", "Oldtown"),
        "Granit": Partner("Prague", "Market"),
        "Helix": Partner("Dublin", "Southbank"),
    },
    travellers={
        "Ada": Traveller("Norda", "Carlton", "vegan"),
        "Ben": Traveller("Lufta", "Astor", "halal"),
        "Cleo": Traveller("Zephyr", "Majestic", "kosher"),
        "Dora": Traveller("Aeris", "Diana", "glutenfree"),
        "Emil": Traveller("Velora", "Bristol", "vegan"),
        "Finn": Traveller("Norda", "Excelsior", "kosher"),
        "Gina": Traveller("Aeris", "Astor", "halal"),
        "Hugo": Traveller("Lufta", "Diana", "vegan"),
    },
)


@lru_cache(maxsize=64)
def company(number: int) -> Company:
    """Return a company by number: 0 is the default one, any other is drawn from its number alone."""
    if number == DEFAULT_COMPANY.number:
        return DEFAULT_COMPANY
    rng = generator(number, "trip", "company")
    houses, cities = rng.permutation(len(HOUSES)), rng.permutation(len(CITIES))
    # The two places of a city are never the same district, so that a night near one is no night near both.
    places = {city: rng.permutation(len(DISTRICTS))[:2] for city in CITIES}
    home = [CITIES[i] for i in cities]
    return Company(
        number=number,
        offices={
            city: Office(HOUSES[houses[i]], DISTRICTS[places[city][0]]) for i, city in enumerate(CITIES)
        },
        partners={
            name: Partner(city, DISTRICTS[places[city][1]]) for name, city in zip(PARTNERS, home, strict=True)
        },
        travellers={
            name: Traveller(pick(rng, AIRLINES), pick(rng, HOTELS), pick(rng, DIETS)) for name in TRAVELLERS
        },
    )


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """Return one of some texts, drawn evenly."""
    return options[int(rng.integers(len(options)))]
