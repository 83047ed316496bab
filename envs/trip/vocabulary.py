"""The names of the trip world. Each is a single word that stands for one thing only, in every company."""

from __future__ import annotations

CITIES = ("Berlin", "Dublin", "Lyon", "Oslo", "Porto", "Prague", "Turin", "Vienna")
DISTRICTS = (
    "Airport",
    "Campus",
    "Castle",
    "Garden",
    "Harbour",
    "Market",
    "Northgate",
    "Oldtown",
    "Southbank",
    "Station",
)
"""Every city has a district of each of these names."""
TRAVELLERS = ("Ada", "Ben", "Cleo", "Dora", "Emil", "Finn", "Gina", "Hugo")
PARTNERS = ("Acme", "Bolt", "Corvex", "Delphi", "Evora", "Fabrik", "Granit", "Helix")
HOUSES = ("Arcade", "Atrium", "Forum", "Kontor", "Lantern", "Obelisk", "Pavilion", "Rotunda")
"""Office buildings."""
AIRLINES = ("Aeris", "Lufta", "Norda", "Velora", "Zephyr")
HOTELS = ("Astor", "Bristol", "Carlton", "Diana", "Excelsior", "Majestic")
RESTAURANTS = ("Basil", "Clove", "Fennel", "Juniper", "Olive", "Saffron", "Sorrel", "Tandoor")
DIETS = ("glutenfree", "halal", "kosher", "vegan")

FLIGHTS_LISTED = 4
HOTELS_LISTED = 5

FAMILIES = ("day", "overnight", "dinner", "partner", "three_days", "changed")
NIGHTS = {"day": 0, "overnight": 1, "dinner": 1, "partner": 1, "three_days": 2, "changed": 1}

NAMES = (
    *CITIES,
    *DISTRICTS,
    *TRAVELLERS,
    *PARTNERS,
    *HOUSES,
    *AIRLINES,
    *HOTELS,
    *RESTAURANTS,
    *DIETS,
)
"""All names; no name occurs twice."""
