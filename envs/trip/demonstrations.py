"""Demonstrations for the starter policy's warm start, in training companies only."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sdar.envs.demonstration import DemonstratedTurn, Demonstration
from sdar.envs.trip.calls import call_text
from sdar.envs.trip.company import TRAINING_COMPANIES, Company, company, pick
from sdar.envs.trip.expert import Expert
from sdar.envs.trip.game import WELCOME, Game, admissible, new_game, step
from sdar.envs.trip.goals import facts_needed, random_task
from sdar.envs.trip.handbook import GENERAL, fact_sentence, facts
from sdar.envs.trip.vocabulary import AIRLINES, CITIES, HOTELS, PARTNERS, RESTAURANTS
from sdar.schemas.records import TaskSpec
from sdar.schemas.seeds import generator

FINISH = call_text("trip.finish")
DETOUR_START = 0.16
"""Probability per turn that a detour starts, in the two thirds of the episodes that have any."""
LUCK = 0.5
"""Share of the demonstrations without skills whose expert guesses, and guesses right by chance."""


def _skill_block(home: Company, task: TaskSpec, rng: np.random.Generator) -> tuple[str, frozenset[str]]:
    """Write two to four skills, most often the needed ones among them; return them and the facts told.

    Retrieval by words of the goal brings the city's office also where a partner is visited: so does this.
    """
    needed, city = facts_needed(task), task.payload["city"]
    told = [fact for fact in needed if rng.random() < 0.95]
    told += [fact for fact in (city, home.partner_in(city)) if fact not in needed and rng.random() < 0.4]
    others = [fact for fact in facts(home) if fact not in (*needed, *told)]
    told += [others[i] for i in rng.permutation(len(others))[: rng.integers(0, 4 - len(told) + 1)]]
    lines = [fact_sentence(home, fact, rng) for fact in told]
    for _ in range(int(rng.integers(0, max(5 - len(lines), 1)))):
        lines.append(GENERAL[int(rng.integers(len(GENERAL)))].sentence)
    return "\n".join(lines[i] for i in rng.permutation(len(lines))), frozenset(told)


def _detour(game: Game, rng: np.random.Generator) -> str:
    """Return a random call: two times in three one that can be carried out, else one that cannot."""
    if rng.random() < 0.66:
        calls = [call for call in admissible(game) if call != FINISH]
        # Each tool alike: drawn from all calls it would nearly always be a search.
        tool = pick(rng, sorted({call.split('"')[3] for call in calls}))
        return pick(rng, [call for call in calls if call.split('"')[3] == tool])
    options = (
        call_text("book", name=pick(rng, (*AIRLINES, *HOTELS, *RESTAURANTS))),
        call_text("hotels.search", district=pick(rng, (*CITIES, *PARTNERS))),
        call_text("hotels.search"),
        call_text("flights.search", district=game.city),
        call_text("hotel.search", city=game.city),
        f"book {pick(rng, HOTELS)}",
    )
    return pick(rng, options)


def _mistaken(game: Game, rng: np.random.Generator) -> Expert:
    """Return an expert that is sure of wrong places, and half the time of wrong wishes too."""
    other = company(int(rng.integers(TRAINING_COMPANIES.start, TRAINING_COMPANIES.stop)))
    if rng.random() < 0.5:
        other = replace(other, travellers=game.company.travellers)
    return Expert(game, rng, frozenset(facts_needed(game.task)), other)


@dataclass
class _Detours:
    """Draws the actions that go wrong: single random calls, and stretches of the mistakes of a guesser.

    A guesser's mistakes, such as a hotel booked in the wrong district, are those that a student makes, and
    a teacher that never saw one would not know how to go on.
    """

    game: Game
    rng: np.random.Generator
    start: float
    mistaken: Expert
    left: int = 0

    def replace(self, wanted: str) -> str:
        """Return what is done instead of the wanted action: mostly that action."""
        if not self.left and self.rng.random() < self.start:
            if self.rng.random() < 1 / 3:
                return _detour(self.game, self.rng)
            self.left = int(self.rng.integers(1, 4))
        if not self.left:
            return wanted
        self.left -= 1
        wrong = self.mistaken.next_action()
        return wanted if wrong == FINISH else wrong


def demonstrate(index: int, seed: int, max_steps: int, skill_share: float) -> Demonstration:
    """Return one demonstration.

    Args:
        index: number of the demonstration; with `seed` it determines everything.
        seed: the warm start's seed.
        max_steps: actions per episode.
        skill_share: probability that the skill block is in the prompt; without it the expert looks things
            up, or guesses.
    """
    rng = generator(seed, "trip", "demonstration", index)
    number = int(rng.integers(TRAINING_COMPANIES.start, TRAINING_COMPANIES.stop))
    home, task = company(number), random_task(number, int(rng.integers(2**31)))
    block, told = "", frozenset[str]()
    if rng.random() < skill_share:
        block, told = _skill_block(home, task, rng)
    game = new_game(task, task.seed, max_steps)
    # Half of those without skills guess: that is how a policy comes to choose a district without a reason.
    lucky = not block and rng.random() < LUCK
    known = frozenset(facts_needed(task)) if lucky else told
    return Demonstration(block, task.goal, _play(game, Expert(game, rng, known, home), rng))


def _play(game: Game, expert: Expert, rng: np.random.Generator) -> tuple[DemonstratedTurn, ...]:
    turns, observation = [], WELCOME
    # A third of the episodes have no detours: the clean path must stay the likeliest.
    start = DETOUR_START if rng.random() < 2 / 3 else 0.0
    detours = _Detours(game, rng, start, _mistaken(game, rng))
    while not game.done:
        wanted = expert.next_action()
        action = detours.replace(wanted)
        result = step(game, action)
        turns.append(DemonstratedTurn(observation, action, action == wanted))
        observation = result.observation
    return tuple(turns)
