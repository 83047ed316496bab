"""Demonstrations for the starter policy's warm start, in training shops only."""

from __future__ import annotations

import numpy as np

from sdar.envs.demonstration import DemonstratedTurn, Demonstration
from sdar.envs.webshop.expert import Shopper, facts_needed
from sdar.envs.webshop.goals import random_goal
from sdar.envs.webshop.handbook import GENERAL, fact_sentence, facts
from sdar.envs.webshop.pages import PAGES, answered
from sdar.envs.webshop.session import BUY, Session, act, clickable
from sdar.envs.webshop.shop import TRAINING_SHOPS, Shop, catalogue_of, shop
from sdar.envs.webshop.vocabulary import KINDS, MARKS
from sdar.schemas.seeds import generator

DETOUR = 0.12
"""Share of actions that are a random detour instead of the expert's choice."""
LUCK = 0.5
"""Share of the demonstrations without skills whose expert opens right products first."""


def demonstrate(index: int, seed: int, max_steps: int, skill_share: float, style: str) -> Demonstration:
    """Return one demonstration.

    Args:
        index: number of the demonstration; with `seed` it determines everything.
        seed: the warm start's seed.
        max_steps: actions per episode.
        skill_share: probability that the skill block is in the prompt; without it the expert finds out.
        style: name of the page style.
    """
    rng = generator(seed, "webshop", "demonstration", index)
    number = int(rng.integers(TRAINING_SHOPS.start, TRAINING_SHOPS.stop))
    goal = random_goal(number, int(rng.integers(2**31)))
    session = Session(catalogue_of(number), goal, PAGES[style][1])
    block, told = "", frozenset[str]()
    if rng.random() < skill_share:
        block, told = _skill_block(shop(number), facts_needed(session), rng)
    lucky = not block and rng.random() < LUCK
    expert = Shopper(session, shop(number), rng, told, lucky)
    return Demonstration(block, goal.instruction, _play(session, expert, rng, max_steps, style))


def _skill_block(own: Shop, needed: tuple[str, ...], rng: np.random.Generator) -> tuple[str, frozenset[str]]:
    """Write two to four skills, most often the needed ones among them; return them and the facts told."""
    told = [fact for fact in needed if rng.random() < 0.95]
    others = [fact for fact in facts() if fact not in needed]
    told += [others[i] for i in rng.permutation(len(others))[: rng.integers(0, 4 - len(told) + 1)]]
    lines = [fact_sentence(own, fact, rng) for fact in told]
    general = [text for _, text, _ in GENERAL.values()]
    extra = int(rng.integers(0 if lines else 1, max(5 - len(lines), 2)))
    lines += [general[i] for i in rng.permutation(len(general))[:extra]]
    return "\n".join(lines[i] for i in rng.permutation(len(lines))), frozenset(told)


def _detour(session: Session, rng: np.random.Generator) -> str:
    """Return a random action that does not end the visit: two times in three one that the page offers."""
    offered = [target for target in clickable(session) if target != BUY]
    if offered and rng.random() < 0.66:
        return f"click[{offered[rng.integers(len(offered))]}]"
    kind, mark = KINDS[rng.integers(len(KINDS))], MARKS[rng.integers(len(MARKS))]
    wrong = [f"search[{kind}]", f"search[{mark} {kind}]", f"click[{kind}{rng.integers(1, 46)}]"]
    return wrong[rng.integers(len(wrong))]


def _play(
    session: Session, expert: Shopper, rng: np.random.Generator, max_steps: int, style: str
) -> tuple[DemonstratedTurn, ...]:
    turns, observation = [], PAGES[style][0](session)
    # A third of the episodes have no detours: the clean path must stay the likeliest.
    share = DETOUR * 1.5 if rng.random() < 2 / 3 else 0.0
    for _ in range(max_steps):
        wanted, detour = expert.next_action(), rng.random() < share
        action = _detour(session, rng) if detour else wanted
        turns.append(DemonstratedTurn(observation, action, not detour))
        observation = answered(session, act(session, action), style)
        if session.reward is not None:
            break
    return tuple(turns)
