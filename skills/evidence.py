"""What an episode's texts say: facts that its actions met, read with the phrasebook of its environment."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict

from sdar.schemas.errors import ConfigError
from sdar.schemas.records import Episode, Turn

PHRASEBOOKS = Path(__file__).parent / "phrasebooks"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SeenPattern(_Part):
    """How an observation lists things: each thing in the list is a fact about the present place."""

    kind: str
    list: str
    thing: str


class DonePattern(_Part):
    """An action whose success depends on what it is done with; `subject` stands for a group that it lacks."""

    kind: str
    action: str
    subject: str = ""
    works: str
    fails: str


class Wording(_Part):
    """Texts of a kind of skill, with places for `subject`, `value`, `place`, `at`, `words` and `wrong`."""

    name: str
    description: str
    body: str
    lesson: str


class Phrasebook(_Part):
    """How an environment speaks, and how its skills are worded.

    `place` reads from an observation where the agent is; `at` is the preposition by type of place, `on` for
    others; `words` are other words for a subject in the description of a skill.
    """

    types: tuple[str, ...]
    place: str
    at: dict[str, str]
    seen: SeenPattern
    done: tuple[DonePattern, ...]
    words: dict[str, str]
    skills: dict[str, Wording]


class Fact(NamedTuple):
    """A kind of fact, what it is about, what holds of it, and where the agent was then."""

    kind: str
    subject: str
    value: str
    place: str


@dataclass(frozen=True)
class Testimony:
    """What one episode states: facts that held, and those that were tried and did not."""

    episode: Episode
    goal: str
    held: frozenset[Fact]
    failed: frozenset[Fact]


@cache
def phrasebook(environment: str) -> Phrasebook:
    """Return the phrasebook of an environment.

    Raises:
        ConfigError: there is none.
    """
    known = sorted(file.stem for file in PHRASEBOOKS.glob("*.yaml"))
    if environment not in known:
        raise ConfigError(
            f"the writer `template` has no phrasebook for the environment {environment!r}; there are some "
            f"for {', '.join(known)}. Let the model write with --set distill.writer=policy."
        )
    text = (PHRASEBOOKS / f"{environment}.yaml").read_text(encoding="utf-8")
    return Phrasebook.model_validate(yaml.safe_load(text))


def read_episode(episode: Episode, goal: str, book: Phrasebook) -> Testimony:
    """Return what the texts of an episode state.

    A thing counts where it was seen first: later it may be where the agent put it. What an action did is what
    the next observation says; the last action of a successful episode did work.
    """
    held: set[Fact] = set()
    failed: set[Fact] = set()
    seen: set[str] = set()
    place = ""
    for turn, outcome in _outcomes(episode):
        found = re.fullmatch(book.place, turn.observation)
        place = found["place"] if found else place
        held |= {fact for name, fact in _things(turn.observation, place, book) if name not in seen and place}
        seen |= {name for name, _ in _things(turn.observation, place, book)}
        for pattern in book.done:
            action = re.fullmatch(pattern.action, turn.action)
            if action is None:
                continue
            subject = pattern.subject or action["subject"]
            fact = Fact(pattern.kind, subject, action["value"], place)
            if outcome is None or re.fullmatch(pattern.works, outcome):
                held.add(fact)
            elif re.fullmatch(pattern.fails, outcome):
                failed.add(fact)
    return Testimony(episode, goal, frozenset(held), frozenset(failed - held))


def places_seen(episode: Episode, book: Phrasebook) -> list[str]:
    """Return the places in which the agent looked, in order, each once."""
    found = [re.fullmatch(book.place, turn.observation) for turn in episode.turns]
    return list(dict.fromkeys(match["place"] for match in found if match))


def _outcomes(episode: Episode) -> Iterator[tuple[Turn, str | None]]:
    """Yield each turn with the observation that it led to, None for the action that reached the goal."""
    for turn, following in zip(episode.turns, episode.turns[1:], strict=False):
        yield turn, following.observation
    if episode.turns:
        yield episode.turns[-1], None if episode.success else ""


def _things(observation: str, place: str, book: Phrasebook) -> list[tuple[str, Fact]]:
    listed = re.fullmatch(book.seen.list, observation)
    if listed is None:
        return []
    return [
        (found[0], Fact(book.seen.kind, found["subject"], place, place))
        for found in re.finditer(book.seen.thing, listed["things"])
    ]


def count_facts(testimonies: Sequence[Testimony]) -> Mapping[tuple[str, str], Mapping[Fact, list[str]]]:
    """Return by kind and subject what successful episodes stated, each fact with their ids in order."""
    counted: dict[tuple[str, str], dict[Fact, list[str]]] = {}
    for each in testimonies:
        if each.episode.success:
            for fact in sorted(each.held):
                rivals = counted.setdefault((fact.kind, fact.subject), {})
                rivals.setdefault(fact, []).append(each.episode.id)
    return counted
