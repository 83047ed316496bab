"""Demonstrations for the warm start: in rooms that no split uses, played by the engine's twin."""

from __future__ import annotations

import numpy as np

from sdar.envs.alfworld.builtin import draw_game
from sdar.envs.alfworld.expert import learning_expert
from sdar.envs.alfworld.game import FAMILIES, Game, Wanted
from sdar.envs.alfworld.handbook import GENERAL, fact_sentence, facts, facts_needed, told_places
from sdar.envs.alfworld.twin import Twin
from sdar.envs.demonstration import DemonstratedTurn, Demonstration, told_facts
from sdar.schemas.seeds import generator

DETOUR = 0.12
"""Share of actions that are a random detour instead of the expert's choice."""


def demonstrate(index: int, seed: int, max_steps: int, skill_share: float) -> Demonstration:
    """Return one demonstration.

    Args:
        index: number of the demonstration; with `seed` it determines everything.
        seed: the warm start's seed.
        max_steps: actions per episode.
        skill_share: probability that the skill block is in the prompt; without it the expert searches, and is
            never lucky: what is usual is the same in every game, so luck would teach what the skills say.
    """
    rng = generator(seed, "alfworld", "demonstration", index)
    family = FAMILIES[int(rng.integers(len(FAMILIES)))]
    game = draw_game(f"demonstration-{index}", family, "demonstration", rng)
    block, told = "", tuple[str, ...]()
    if rng.random() < skill_share:
        block, told = _skill_block(game.wanted, rng)
    return _play(game, block, told, rng, max_steps)


def _skill_block(wanted: Wanted, rng: np.random.Generator) -> tuple[str, tuple[str, ...]]:
    """Write two to four skills, most often the needed ones among them; return them and the facts."""
    told = told_facts(facts_needed(wanted), facts(), rng)
    lines = [fact_sentence(fact, rng) for fact in told]
    general = list(GENERAL.values())
    while len(lines) < 2 or (len(lines) < 4 and rng.random() < 0.5):
        lines.append(general[int(rng.integers(len(general)))])
    return "\n".join(lines[i] for i in rng.permutation(len(lines))), tuple(told)


def _play(
    game: Game, block: str, told: tuple[str, ...], rng: np.random.Generator, max_steps: int
) -> Demonstration:
    twin = Twin(game)
    observation = twin.start()
    expert = learning_expert(twin.view, game.wanted, told_places(told), told, rng)
    # A third of the episodes have no detours: the clean path must stay the likeliest.
    share = DETOUR * 1.5 if rng.random() < 2 / 3 else 0.0
    turns: list[DemonstratedTurn] = []
    while len(turns) < max_steps and not twin.won:
        wanted, detour = expert.next_action(), rng.random() < share
        action = _detour(twin, game, rng) if detour else wanted
        turns.append(DemonstratedTurn(observation, action, not detour))
        observation = twin.step(action)
    return Demonstration(block, game.goal, tuple(turns))


def _detour(twin: Twin, game: Game, rng: np.random.Generator) -> str:
    """Return a random action: two times in three one that does something, else one that may not."""
    if rng.random() < 0.66:
        options = [command for command in twin.commands() if command != "help"]
        return options[int(rng.integers(len(options)))]
    places = list(game.contents)
    place = places[int(rng.integers(len(places)))]
    thing = f"{game.wanted.thing} 1"
    options = [f"open {place}", f"take {thing} from {place}", f"move {thing} to {place}", f"use {thing}"]
    return options[int(rng.integers(len(options)))]
