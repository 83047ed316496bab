"""Demonstrations for the starter policy's warm start, in training houses only."""

from __future__ import annotations

import numpy as np

from sdar.envs.demonstration import DemonstratedTurn, Demonstration, told_facts
from sdar.envs.household.expert import Expert
from sdar.envs.household.game import WELCOME, Game, admissible, new_game, step
from sdar.envs.household.goals import random_task, skill_names_needed
from sdar.envs.household.handbook import GENERAL, fact_sentence, facts
from sdar.envs.household.house import TRAINING_HOUSES, House, house
from sdar.envs.household.vocabulary import APPLIANCES, LAMPS, RECEPTACLES, THINGS
from sdar.schemas.seeds import generator

DETOUR = 0.12
"""Share of actions that are a random detour instead of the expert's choice."""
LUCK = 0.5
"""Share of the demonstrations without skills whose expert goes to the right places by chance."""


def _skill_block(
    home: House, needed: tuple[str, ...], rng: np.random.Generator
) -> tuple[str, frozenset[str]]:
    """Write two to four skills, most often the needed ones among them; return them and the facts told."""
    told = told_facts(needed, facts(home), rng)
    lines = [fact_sentence(home, fact, rng) for fact in told]
    for _ in range(int(rng.integers(0, max(5 - len(lines), 1)))):
        lines.append(GENERAL[int(rng.integers(len(GENERAL)))])
    return "\n".join(lines[i] for i in rng.permutation(len(lines))), frozenset(told)


def _detour(game: Game, rng: np.random.Generator) -> str:
    """Return a random action: two times in three one that does something, else one that may not."""
    if rng.random() < 0.66:
        options = admissible(game)
        return options[int(rng.integers(len(options)))]
    thing = f"{THINGS[rng.integers(len(THINGS))]} 1"
    place = RECEPTACLES[rng.integers(len(RECEPTACLES))]
    function = ("heat", "cool", "clean")[rng.integers(3)]
    appliance = APPLIANCES[function][rng.integers(3)]
    options = [
        f"open {place}",
        f"take {thing} from {game.place or place}",
        f"move {thing} to {game.place or place}",
        f"{function} {game.holding or thing} with {appliance}",
        f"use {LAMPS[rng.integers(3)]}",
    ]
    return options[int(rng.integers(len(options)))]


def demonstrate(index: int, seed: int, max_steps: int, skill_share: float) -> Demonstration:
    """Return one demonstration.

    Args:
        index: number of the demonstration; with `seed` it determines everything.
        seed: the warm start's seed.
        max_steps: actions per episode.
        skill_share: probability that the skill block is in the prompt; without it the expert searches.
    """
    rng = generator(seed, "household", "demonstration", index)
    number = int(rng.integers(TRAINING_HOUSES.start, TRAINING_HOUSES.stop))
    task = random_task(number, int(rng.integers(2**31)))
    block, told = "", frozenset[str]()
    if rng.random() < skill_share:
        block, told = _skill_block(house(number), skill_names_needed(task), rng)
    game = new_game(task, int(rng.integers(2**31)))
    # Half of the searches are lucky: what is found early shows how to go on from there.
    lucky = not block and rng.random() < LUCK
    known = frozenset(skill_names_needed(task)) if lucky else told
    return Demonstration(block, task.goal, _play(game, Expert(game, rng, known), rng, max_steps))


def _play(
    game: Game, expert: Expert, rng: np.random.Generator, max_steps: int
) -> tuple[DemonstratedTurn, ...]:
    turns, observation = [], WELCOME
    # A third of the episodes have no detours: the clean path must stay the likeliest.
    share = DETOUR * 1.5 if rng.random() < 2 / 3 else 0.0
    for _ in range(max_steps):
        wanted, detour = expert.next_action(), rng.random() < share
        action = _detour(game, rng) if detour else wanted
        result = step(game, action)
        turns.append(DemonstratedTurn(observation, action, not detour))
        observation = result.observation
        if result.done:
            break
    return tuple(turns)
