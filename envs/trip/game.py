"""The rules of a trip: bookings are accepted, and what was wrong about them shows at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from sdar.envs.base import StepResult
from sdar.envs.trip.calls import BadCall, Call, call_text, read_call
from sdar.envs.trip.company import Company, Traveller, company
from sdar.envs.trip.vocabulary import (
    AIRLINES,
    CITIES,
    DIETS,
    DISTRICTS,
    FLIGHTS_LISTED,
    HOTELS,
    HOTELS_LISTED,
    HOUSES,
    NIGHTS,
    PARTNERS,
    RESTAURANTS,
)
from sdar.schemas.records import TaskSpec
from sdar.schemas.seeds import generator

WELCOME = (
    "Tools: calendar.list, profile.read, flights.search, hotels.search, restaurants.search, "
    "book, trip.finish."
)
PLANNED = "The trip is planned."
OFFICE, PARTNER = "office", "partner"


@dataclass(frozen=True)
class Meeting:
    """Where the traveller has to be: at the office or a partner (`kind`), its name and its district."""

    kind: str
    place: str
    district: str


@dataclass(frozen=True)
class Booking:
    """Something booked: an airline to a city, or a hotel or a restaurant in a district."""

    name: str
    where: str


@dataclass(frozen=True)
class Offers:
    """What searches list: airlines by city, hotels and restaurants by district, and what is near there.

    A district's restaurants are given as name by diet, one of each diet.
    """

    flights: Mapping[str, tuple[str, ...]]
    hotels: Mapping[str, tuple[str, ...]]
    restaurants: Mapping[str, Mapping[str, str]]
    near: Mapping[str, str]


@dataclass
class Game:
    """The state of one episode.

    The `_of` and `_in` fields say which search of each kind was the latest; only what it listed can be
    booked. `seen` maps each searched district to what is near there.
    """

    task: TaskSpec
    company: Company
    meetings: tuple[Meeting, ...]
    offers: Offers
    max_steps: int
    steps: int = 0
    done: bool = False
    calendar_read: bool = False
    profile_read: bool = False
    flights_to: str | None = None
    hotels_in: str | None = None
    restaurants_in: str | None = None
    seen: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    flight: Booking | None = None
    hotels: list[Booking] = field(default_factory=list)
    dinner: Booking | None = None

    @property
    def city(self) -> str:
        """The city of the trip."""
        return str(self.task.payload["city"])

    @property
    def name(self) -> str:
        """The name of the traveller."""
        return str(self.task.payload["traveller"])

    @property
    def wishes(self) -> Traveller:
        """What the traveller insists on."""
        return self.company.travellers[self.name]

    @property
    def nights(self) -> int:
        """Nights of the trip, each with a hotel of its own."""
        return NIGHTS[self.task.type]


def new_game(task: TaskSpec, seed: int, max_steps: int) -> Game:
    """Start an episode; `seed` decides what searches list and where a changed meeting is.

    Args:
        task: a task of a company.
        seed: see above.
        max_steps: the trip ends by itself after this many steps.
    """
    rng = generator(seed, "trip", "episode", task.id)
    home, city = company(task.payload["company"]), task.payload["city"]
    partner = home.partner_in(city)
    places = {
        OFFICE: Meeting(OFFICE, home.offices[city].house, home.offices[city].district),
        PARTNER: Meeting(PARTNER, partner, home.partners[partner].district),
    }
    meetings: tuple[str, ...] = {"partner": (PARTNER,), "three_days": (OFFICE, PARTNER)}.get(
        task.type, (OFFICE,)
    )
    if task.type == "changed" and rng.random() < 0.5:
        meetings = (PARTNER,)
    offers = _offers(home.travellers[task.payload["traveller"]], tuple(places.values()), rng)
    return Game(task, home, tuple(places[kind] for kind in meetings), offers, max_steps)


def _offers(wishes: Traveller, places: tuple[Meeting, ...], rng: np.random.Generator) -> Offers:
    near = {meeting.district: meeting.place for meeting in places}
    others = [name for name in (*HOUSES, *PARTNERS) if name not in near.values()]
    rest = [district for district in DISTRICTS if district not in near]
    strangers = rng.permutation(len(others))[: len(rest)]
    near |= {district: others[i] for district, i in zip(rest, strangers, strict=True)}
    return Offers(
        flights={city: _listed(wishes.airline, AIRLINES, FLIGHTS_LISTED, rng) for city in CITIES},
        hotels={district: _listed(wishes.hotel, HOTELS, HOTELS_LISTED, rng) for district in DISTRICTS},
        restaurants={district: _tables(rng) for district in DISTRICTS},
        near=near,
    )


def _listed(wanted: str, names: tuple[str, ...], count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """Return some names in random order, the wanted one always among them, so that it tells nothing."""
    others = [name for name in names if name != wanted]
    chosen = [wanted, *(others[i] for i in rng.permutation(len(others))[: count - 1])]
    return tuple(chosen[i] for i in rng.permutation(count))


def _tables(rng: np.random.Generator) -> dict[str, str]:
    names, order = rng.permutation(len(RESTAURANTS)), rng.permutation(len(DIETS))
    return {DIETS[i]: RESTAURANTS[names[i]] for i in order}


def shortcomings(game: Game) -> list[str]:
    """Return what is wrong with the trip as it is booked now; empty when it will work."""
    found = []
    if game.flight is None:
        found.append("no flight")
    else:
        if game.flight.where != game.city:
            found.append(f"the flight goes to {game.flight.where}")
        if game.flight.name != game.wishes.airline:
            found.append(f"{game.name} does not fly {game.flight.name}")
    if game.nights:
        found += [
            f"no hotel near {meeting.place}"
            for meeting in game.meetings
            if meeting.district not in {hotel.where for hotel in game.hotels}
        ]
    return found + (_dinner_faults(game) if game.task.type == "dinner" else [])


def _dinner_faults(game: Game) -> list[str]:
    meeting, dinner = game.meetings[0], game.dinner
    if dinner is None:
        return ["no dinner"]
    found = [] if dinner.where == meeting.district else [f"the dinner is not near {meeting.place}"]
    if game.offers.restaurants[dinner.where][game.wishes.diet] != dinner.name:
        found.append(f"{game.name} does not eat at {dinner.name}")
    return found


def _calendar(game: Game) -> str:
    game.calendar_read = True
    return f"Meeting at {' and at '.join(meeting.place for meeting in game.meetings)}."


def _profile(game: Game) -> str:
    game.profile_read = True
    return f"{game.name} flies {game.wishes.airline} and eats {game.wishes.diet}."


def _flights(game: Game, city: str) -> str:
    game.flights_to = city
    return f"Flights to {city}: {', '.join(game.offers.flights[city])}."


def _hotels(game: Game, district: str) -> str:
    game.hotels_in = district
    game.seen[district] = game.offers.near[district]
    return f"{district} near {game.offers.near[district]}: {', '.join(game.offers.hotels[district])}."


def _restaurants(game: Game, district: str) -> str:
    game.restaurants_in = district
    game.seen[district] = game.offers.near[district]
    tables = ", ".join(f"{diet} {name}" for diet, name in game.offers.restaurants[district].items())
    return f"{district} near {game.offers.near[district]}: {tables}."


def on_offer(game: Game) -> dict[str, str]:
    """Return what can be booked now: the city or district by name."""
    found: dict[str, str] = {}
    if game.flights_to:
        found |= dict.fromkeys(game.offers.flights[game.flights_to], game.flights_to)
    if game.hotels_in:
        found |= dict.fromkeys(game.offers.hotels[game.hotels_in], game.hotels_in)
    if game.restaurants_in:
        tables = game.offers.restaurants[game.restaurants_in]
        found |= dict.fromkeys(tables.values(), game.restaurants_in)
    return found


def _book(game: Game, name: str) -> str:
    """Book what is on offer; a later booking takes the place of the oldest that it would be too many with."""
    booking = Booking(name, on_offer(game)[name])
    if name in AIRLINES:
        game.flight = booking
        return f"Booked {name} to {booking.where}."
    if name in HOTELS:
        if not game.nights:
            return "This trip needs no hotel."
        if name != game.wishes.hotel:
            game.refused.add(name)
            return f"{game.name} refuses {name}."
        game.hotels = [*game.hotels, booking][-game.nights :]
    elif game.task.type != "dinner":
        return "This trip needs no dinner."
    else:
        game.dinner = booking
    return f"Booked {name} in {booking.where}."


_LOOKS: Mapping[str, Callable[..., str]] = {
    "calendar.list": _calendar,
    "profile.read": _profile,
    "flights.search": _flights,
    "hotels.search": _hotels,
    "restaurants.search": _restaurants,
}


def _answer(game: Game, call: Call | BadCall) -> tuple[str, bool]:
    """Carry out a call; return the observation and whether the call made sense."""
    if isinstance(call, BadCall):
        return f"Faulty call: {'; '.join(call.faults)}.", False
    if call.tool == "trip.finish":
        game.done = True
        return "", True
    if call.tool != "book":
        return _LOOKS[call.tool](game, **call.arguments), True
    if call.arguments["name"] not in on_offer(game):
        return "Not on offer, search first.", False
    return _book(game, call.arguments["name"]), True


def step(game: Game, action: str) -> StepResult:
    """Take one action; reward 1 when the trip ends with nothing wrong, else 0.

    The trip ends with `trip.finish`, or fails by itself with the last step; the end says what was wrong.
    """
    answer, valid = _answer(game, read_call(action))
    game.steps += 1
    if not game.done and game.steps < game.max_steps:
        return StepResult(answer, 0.0, False, False, valid)
    wrong = shortcomings(game) if game.done else ["not finished in time", *shortcomings(game)]
    game.done = True
    verdict = f"The trip fails: {', '.join(wrong)}." if wrong else PLANNED
    return StepResult(f"{answer} {verdict}".strip(), float(not wrong), True, not wrong, valid)


def admissible(game: Game) -> list[str]:
    """Return every call that can be carried out in the present state."""
    return [
        call_text("calendar.list"),
        call_text("profile.read"),
        *(call_text("flights.search", city=city) for city in CITIES),
        *(call_text("hotels.search", district=district) for district in DISTRICTS),
        *(call_text("restaurants.search", district=district) for district in DISTRICTS),
        *(call_text("book", name=name) for name in on_offer(game)),
        call_text("trip.finish"),
    ]
