"""The demonstrator: goes straight where it knows the facts, looks up or tries the rest, mends detours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdar.envs.trip.calls import call_text
from sdar.envs.trip.company import Company, pick
from sdar.envs.trip.game import OFFICE, Booking, Game, Meeting
from sdar.envs.trip.vocabulary import DISTRICTS


@dataclass
class Expert:
    """Plays a game as someone who knows some facts and remembers what was seen.

    Attributes:
        game: the episode.
        rng: decides the order in which unknown districts and hotels are tried.
        knows: facts by the name they are about, as in `goals.facts_needed`.
        believes: the company whose facts it holds for true; with that of another game it errs.
    """

    game: Game
    rng: np.random.Generator
    knows: frozenset[str]
    believes: Company

    def next_action(self) -> str:
        """Return the next action of a sensible plan from the present state."""
        if self.game.name not in self.knows and not self.game.profile_read:
            return call_text("profile.read")
        if self._needs_calendar():
            return call_text("calendar.list")
        return self._flight() or self._nights() or self._dinner() or call_text("trip.finish")

    def _needs_calendar(self) -> bool:
        game = self.game
        asks_office = game.task.type != "day" and any(meeting.kind == OFFICE for meeting in game.meetings)
        unknown = asks_office and game.city not in self.knows
        return not game.calendar_read and (unknown or game.task.type == "changed")

    def _flight(self) -> str | None:
        game = self.game
        # Whoever does not know the airline has read it in the profile.
        people = self.believes if game.name in self.knows else game.company
        airline = people.travellers[game.name].airline
        if game.flight == Booking(airline, game.city):
            return None
        if game.flights_to == game.city and airline in game.offers.flights[game.city]:
            return call_text("book", name=airline)
        if game.flights_to != game.city:
            return call_text("flights.search", city=game.city)
        # What it believes is not even listed: any booking will do.
        return None if game.flight else call_text("book", name=game.offers.flights[game.city][0])

    def _nights(self) -> str | None:
        if not self.game.nights:
            return None
        booked = {hotel.where for hotel in self.game.hotels}
        for meeting in self.game.meetings:
            district = self._district(meeting)
            if district is None:
                return call_text("hotels.search", district=self._unseen())
            if district not in booked:
                return self._hotel(district)
        return None

    def _hotel(self, district: str) -> str:
        game = self.game
        if game.hotels_in != district:
            return call_text("hotels.search", district=district)
        options = [name for name in game.offers.hotels[district] if name not in game.refused]
        believed = self.believes.travellers[game.name].hotel if game.name in self.knows else ""
        known = [name for name in (*(hotel.name for hotel in game.hotels), believed) if name in options]
        return call_text("book", name=known[0] if known else pick(self.rng, options))

    def _dinner(self) -> str | None:
        game = self.game
        if game.task.type != "dinner":
            return None
        district = self._district(game.meetings[0])
        if district is None:
            return call_text("restaurants.search", district=self._unseen())
        people = self.believes if game.name in self.knows else game.company
        table = game.offers.restaurants[district][people.travellers[game.name].diet]
        if game.dinner == Booking(table, district):
            return None
        if game.restaurants_in != district:
            return call_text("restaurants.search", district=district)
        return call_text("book", name=table)

    def _district(self, meeting: Meeting) -> str | None:
        """Return where a meeting is, if it is known or was seen."""
        city, name = self.game.city, meeting.place
        if meeting.kind == OFFICE and city in self.knows:
            return self.believes.offices[city].district
        if meeting.kind != OFFICE and name in self.knows:
            return self.believes.partners[name].district
        return next((district for district, near in self.game.seen.items() if near == name), None)

    def _unseen(self) -> str:
        return pick(self.rng, [district for district in DISTRICTS if district not in self.game.seen])
