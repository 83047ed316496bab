"""What a company's conventions read like when somebody writes them down: the text of skills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdar.envs.trip.company import Company, pick
from sdar.envs.trip.vocabulary import FAMILIES
from sdar.schemas.seeds import generator

# What a fact is about stands before what it says: a small model copies what follows a name most easily.
OFFICE_PHRASES = (
    "The office in {city} is in {district}.",
    "In {city} the office lies in {district}.",
    "For the office in {city} take a hotel in {district}.",
    "Near the office in {city} are the hotels of {district}.",
)
PARTNER_PHRASES = (
    "{partner} is in {district}.",
    "The partner {partner} lies in {district}.",
    "For {partner} take a hotel in {district}.",
    "Near {partner} are the hotels of {district}.",
)
TRAVELLER_PHRASES = (
    "{traveller} flies {airline}, sleeps at {hotel} and eats {diet}.",
    "For {traveller} book {airline}, {hotel} and {diet} food.",
    "{traveller} wants to fly {airline}, to stay at {hotel} and to eat {diet}.",
    "{traveller} takes {airline}, then {hotel}, and {diet} food.",
)


@dataclass(frozen=True)
class Advice:
    """A skill that holds in every company."""

    name: str
    description: str
    families: tuple[str, ...]
    sentence: str


GENERAL = (
    Advice(
        "look-up-what-is-unknown",
        "How to find out what is not known of a traveller or a meeting.",
        FAMILIES,
        "The profile names airline and food. The calendar names the house of a meeting, "
        "and a hotel search tells what is near.",
    ),
    Advice(
        "when-a-hotel-is-refused",
        "What to do about a hotel that the traveller refuses.",
        FAMILIES[1:],
        "If a hotel is refused, book another one of the list.",
    ),
    Advice(
        "steps-day-trip",
        "How to plan a day trip.",
        ("day",),
        "Search flights, book one and finish the trip. A day needs no hotel.",
    ),
    Advice(
        "steps-dinner",
        "How to plan a night with dinner.",
        ("dinner",),
        "Book the flight and the hotel, then search restaurants in the same district and book the food.",
    ),
    Advice(
        "steps-three-days",
        "How to plan three days with two nights.",
        ("three_days",),
        "Book the flight, then a hotel near the office, then a hotel near the partner, and finish the trip.",
    ),
    Advice(
        "steps-changed-meeting",
        "How to plan a night when the calendar says where the meeting is.",
        ("changed",),
        "Read the calendar first, then book the flight, and a hotel where the meeting is.",
    ),
)


def facts(company: Company) -> tuple[str, ...]:
    """Return the names of all facts of a company: cities (its office there), partners and travellers."""
    return (*company.offices, *company.partners, *company.travellers)


def fact_sentence(company: Company, fact: str, rng: np.random.Generator) -> str:
    """Return one fact of a company as a sentence whose wording is drawn from `rng`."""
    if fact in company.offices:
        return pick(rng, OFFICE_PHRASES).format(city=fact, district=company.offices[fact].district)
    if fact in company.partners:
        return pick(rng, PARTNER_PHRASES).format(partner=fact, district=company.partners[fact].district)
    wishes = company.travellers[fact]
    return pick(rng, TRAVELLER_PHRASES).format(
        traveller=fact, airline=wishes.airline, hotel=wishes.hotel, diet=wishes.diet
    )


def handbook(company: Company) -> dict[str, str]:
    """Return the facts of a company as SKILL.md texts by skill name, worded from the company's number."""
    rng = generator(company.number, "trip", "handbook")
    return dict(_fact_skill(company, fact, fact_sentence(company, fact, rng)) for fact in facts(company))


def general_skills() -> dict[str, str]:
    """Return what holds in every company as SKILL.md texts by skill name."""
    return {
        advice.name: _text(advice.name, advice.description, advice.families, advice.sentence)
        for advice in GENERAL
    }


def _fact_skill(company: Company, fact: str, sentence: str) -> tuple[str, str]:
    if fact in company.offices:
        name, description = f"office-in-{fact.lower()}", f"Which district the office in {fact} is in."
        families: Sequence[str] = ("overnight", "dinner", "three_days", "changed")
    elif fact in company.partners:
        name, description = f"partner-{fact.lower()}", f"Which district {fact} is in."
        families = ("partner", "three_days", "changed")
    else:
        name, description = f"traveller-{fact.lower()}", f"Which airline, hotel and food {fact} takes."
        families = FAMILIES
    return name, _text(name, description, families, sentence)


def _text(name: str, description: str, families: Sequence[str], sentence: str) -> str:
    return (
        f"---\nname: {name}\ndescription: {description}\nmetadata:\n"
        f"  environment: trip\n  task_types: [{', '.join(families)}]\n---\n{sentence}\n"
    )
