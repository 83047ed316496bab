"""Demonstrations for the starter policy's warm start, in training worlds only."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from sdar.envs.demonstration import DemonstratedTurn, Demonstration, told_facts
from sdar.envs.search_qa.actions import WELCOME, search_for
from sdar.envs.search_qa.corpus import question_task
from sdar.envs.search_qa.episode import Episode, step
from sdar.envs.search_qa.expert import Expert
from sdar.envs.search_qa.handbook import GENERAL, fact_sentence
from sdar.envs.search_qa.names import BOOKS
from sdar.envs.search_qa.options import Options
from sdar.envs.search_qa.questions import random_question
from sdar.envs.search_qa.records import Search
from sdar.envs.search_qa.world import RELATIONS, TRAINING_WORLDS, World, passages, world
from sdar.schemas.seeds import generator

DETOUR = 0.12
"""Share of actions that are a random detour instead of the expert's choice."""
LUCK = 0.5
"""Share of the demonstrations without skills whose expert takes the right books by chance."""


def demonstrate(index: int, seed: int, max_steps: int, skill_share: float) -> Demonstration:
    """Return one demonstration.

    Args:
        index: number of the demonstration; with `seed` it determines everything.
        seed: the warm start's seed.
        max_steps: actions per episode.
        skill_share: probability that the skill block is in the prompt; without it the expert guesses books.
    """
    rng = generator(seed, "search_qa", "demonstration", index)
    home = world(int(rng.integers(TRAINING_WORLDS.start, TRAINING_WORLDS.stop)))
    task = question_task(random_question(home, rng), "demonstration", 0)
    needed = tuple(dict.fromkeys(relation for relation, _ in task.payload["lookups"]))
    block, told = "", frozenset[str]()
    if rng.random() < skill_share:
        block, told = _skill_block(home, needed, rng)
    # Half of the guesses are lucky: what is found early shows how to go on from there.
    lucky = not block and rng.random() < LUCK
    episode = Episode(task)
    expert = Expert(home, episode, rng, frozenset(needed) if lucky else told, max_steps)
    return Demonstration(block, task.goal, _play(expert, rng))


@lru_cache(maxsize=len(TRAINING_WORLDS))
def _search(number: int) -> Search:
    from sdar.envs.search_qa.bm25 import bm25_search

    return bm25_search(passages(world(number)))


def _skill_block(
    home: World, needed: tuple[str, ...], rng: np.random.Generator
) -> tuple[str, frozenset[str]]:
    """Write one to five skills, most often the needed ones among them; return them and the relations told.

    Retrieval by words brings the three kinds of year together, and in half of the blocks so does this.
    """
    alike = [name for name in RELATIONS if RELATIONS[name].value == RELATIONS[needed[-1]].value]
    told = told_facts(needed, alike if rng.random() < 0.5 else list(RELATIONS), rng)
    lines = [fact_sentence(home, relation, rng) for relation in told]
    for _ in range(int(rng.integers(0 if lines else 1, max(5 - len(lines), 2)))):
        lines.append(GENERAL[int(rng.integers(len(GENERAL)))])
    return "\n".join(lines[i] for i in rng.permutation(len(lines))), frozenset(told)


def _detour(episode: Episode, home: World, rng: np.random.Generator) -> str:
    """Return a search for something of some name of the question or of the library, mostly in some book."""
    asked = [subject for _, subject in episode.task.payload["lookups"] if subject]
    members = [name for names in home.members.values() for name in names]
    names = asked if rng.random() < 0.5 else members
    name = names[int(rng.integers(len(names)))]
    book, relation = BOOKS[int(rng.integers(len(BOOKS)))], list(RELATIONS)[int(rng.integers(len(RELATIONS)))]
    full = f"{relation} {book} {name}"
    return search_for((full, full, f"{relation} {name}", book)[int(rng.integers(4))])


def _play(expert: Expert, rng: np.random.Generator) -> tuple[DemonstratedTurn, ...]:
    episode, home = expert.episode, expert.home
    search, top_k = _search(home.number), Options().top_k
    turns, observation = [], WELCOME
    # A third of the episodes have no detours: the clean path must stay the likeliest.
    share = DETOUR * 1.5 if rng.random() < 2 / 3 else 0.0
    for _ in range(expert.max_steps):
        wanted, detour = expert.next_action(), rng.random() < share
        action = _detour(episode, home, rng) if detour else wanted
        result = step(episode, search, top_k, action)
        turns.append(DemonstratedTurn(observation, action, not detour))
        observation = result.observation
        if result.done:
            break
    return tuple(turns)
