"""Every formula of docs/algorithms.md once more, in float64 numpy, without a line of `sdar.rl`.

Written for reading, not for speed: probabilities instead of log-probs where that is the formula, and one
token, one group, one turn at a time. What the loss holds constant (gates, the bracket of
`sampled_reverse_kl`) is computed from `held`, what it differentiates from `logits`, so that differences of
`values` are the gradient that the loss should have.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdar.schemas.config import AdvantageConfig, SdarConfig, UpdateConfig

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Batch:
    """N sampled tokens and what does not move with the student's logits; `teacher` are logits [N, V]."""

    teacher: Array
    tokens: NDArray[np.int64]
    old: Array
    reference: Array
    advantages: Array
    row: NDArray[np.int64]
    rows: int


def softmax(logits: Array) -> Array:
    weights = np.exp(logits)
    return weights / weights.sum(-1, keepdims=True)


def sigma(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def gate(sdar: SdarConfig, pi: Array, teacher: Array, token: int) -> float:
    """The weight of one token, from both distributions [V]."""
    gaps = np.log(teacher) - np.log(pi)
    gap, h = gaps[token], -(pi * np.log(pi)).sum() / np.log(len(pi))
    weights = {
        "gap": sigma(sdar.beta * gap),
        "entropy": sigma(sdar.beta * h),
        "soft_or": sigma(sdar.beta * (1 - (1 - h) * (1 - gap))),
        "centred_gap": sigma(sdar.beta * gap) - (pi * sigma(sdar.beta * gaps)).sum(),
        "none": 1.0,
        "half": 0.5,
    }
    return float(weights[sdar.gate])


def merged(pi: Array, keep: NDArray[np.int64]) -> Array:
    """The probabilities of the kept tokens and, as one more, that of all others."""
    return np.append(pi[keep], np.delete(pi, keep).sum())


def kl(p: Array, q: Array) -> float:
    return float((p * np.log(p / q)).sum())


def k3(d: float) -> float:
    d = min(max(d, -10.0), 10.0)
    return float(np.exp(d) - d - 1)


def term(sdar: SdarConfig, pi: Array, held: Array, teacher: Array, token: int, old: float) -> float:
    """What the gate multiplies on one token; `held` [V] is the student's distribution held constant."""
    logp, logp_teacher = float(np.log(pi[token])), float(np.log(teacher[token]))
    if sdar.divergence == "sampled":
        return logp_teacher - logp
    if sdar.divergence == "sampled_reverse_kl":
        return -(logp_teacher - float(np.log(held[token]))) * logp
    if sdar.divergence == "k3":
        return float(np.exp(logp - old)) * k3(logp_teacher - logp)
    if 0 < sdar.top_k < len(pi):
        likeliest = np.argsort(-teacher)[: sdar.top_k]
        pi, teacher = merged(pi, likeliest), merged(teacher, likeliest)
    if sdar.divergence == "reverse_kl":
        return kl(pi, teacher)
    if sdar.divergence == "forward_kl":
        return kl(teacher, pi)
    mixture = sdar.jsd_weight * teacher + (1 - sdar.jsd_weight) * pi
    return sdar.jsd_weight * kl(teacher, mixture) + (1 - sdar.jsd_weight) * kl(pi, mixture)


def policy(update: UpdateConfig, logp: float, old: float, advantage: float) -> float:
    if update.policy_loss == "likelihood":
        return -logp
    ratio = float(np.exp(logp - old))
    clipped = min(max(ratio, 1 - update.clip_low), 1 + update.clip_high)
    return -min(ratio * advantage, clipped * advantage)


def aggregated(values: Array, row: NDArray[np.int64], rows: int, how: str) -> float:
    per_row = [values[row == index] for index in range(rows)]
    if how == "token_mean":
        return float(sum(map(np.sum, per_row)) / len(values))
    if how == "sequence_sum":
        return float(sum(map(np.sum, per_row)) / rows)
    return float(sum(part.mean() for part in per_row if len(part)) / rows)


def values(batch: Batch, logits: Array, held: Array, sdar: SdarConfig, update: UpdateConfig) -> Array:
    """What each token puts into the loss [N], as a function of the student's `logits` [N, V]."""
    found = []
    for i, token in enumerate(batch.tokens):
        pi, constant, teacher = softmax(logits[i]), softmax(held[i]), softmax(batch.teacher[i])
        logp = float(np.log(pi[token]))
        distance = term(sdar, pi, constant, teacher, int(token), batch.old[i])
        entropy = -(pi * np.log(pi)).sum() / np.log(len(pi))
        found.append(
            update.policy_coefficient * policy(update, logp, batch.old[i], batch.advantages[i])
            + sdar.coefficient * gate(sdar, constant, teacher, int(token)) * distance
            + update.kl_coefficient * k3(batch.reference[i] - logp)
            - update.entropy_coefficient * entropy
        )
    return np.array(found)


def total(batch: Batch, logits: Array, sdar: SdarConfig, update: UpdateConfig) -> float:
    """The loss of the mini-batch."""
    found = values(batch, logits, logits, sdar, update)
    return aggregated(found, batch.row, batch.rows, update.aggregation)


def gradient(batch: Batch, logits: Array, sdar: SdarConfig, update: UpdateConfig) -> Array:
    """Central differences of the loss on every logit, [N, V].

    A token's logits enter its own value alone, so one logit of all tokens is moved at a time.
    """
    step = 1e-5
    weights = [aggregated(one, batch.row, batch.rows, update.aggregation) for one in np.eye(len(logits))]
    slopes = np.zeros_like(logits)
    for word in range(logits.shape[1]):
        move = np.zeros_like(logits)
        move[:, word] = step
        up, down = (values(batch, logits + sign * move, logits, sdar, update) for sign in (1, -1))
        slopes[:, word] = np.array(weights) * (up - down) / (2 * step)
    return slopes


def group_advantages(
    returns: list[float], groups: list[int], normalize_std: bool, weights: list[int] | None = None
) -> list[float]:
    """Each return less its group's mean, over its group's unbiased deviation."""
    counts = weights or [1] * len(returns)
    pools: dict[int, list[float]] = defaultdict(list)
    for value, group, count in zip(returns, groups, counts, strict=True):
        pools[group] += [value] * count
    advantages = []
    for value, group in zip(returns, groups, strict=True):
        pool = pools[group]
        if max(pool) - min(pool) <= 1e-6:
            advantages.append(0.0)
            continue
        mean = sum(pool) / len(pool)
        variance = sum((each - mean) ** 2 for each in pool) / (len(pool) - 1)
        advantages.append((value - mean) / (variance**0.5 + 1e-6 if normalize_std else 1))
    return advantages


@dataclass(frozen=True)
class Story:
    """One episode; `gaps` and the result of the credits are by turn and token."""

    advantage: float
    group: int
    success_rate: float
    observations: list[str]
    rewards: list[float]
    gaps: list[list[float]]


def share_in_force(config: AdvantageConfig, round_number: int) -> float:
    if not config.credit_rounds:
        return config.credit_share
    return config.credit_share * max(0.0, 1 - (round_number - 1) / config.credit_rounds)


def anchor(stories: list[Story], config: AdvantageConfig) -> list[list[list[float]]]:
    def value(rewards: list[float]) -> float:
        return sum(config.discount**later * reward for later, reward in enumerate(rewards))

    steps = [
        (story.group, text, value(story.rewards[turn:]))
        for story in stories
        for turn, text in enumerate(story.observations)
    ]
    places = sorted({(group, text) for group, text, _ in steps})
    compared = iter(
        group_advantages(
            [worth for _, _, worth in steps],
            [places.index((group, text)) for group, text, _ in steps],
            config.normalize_std,
        )
    )
    credits = []
    for story in stories:
        turns = [story.advantage + config.credit_weight * next(compared) for _ in story.observations]
        credits.append([[turn] * len(gaps) for turn, gaps in zip(turns, story.gaps, strict=True)])
    return credits


def teacher_ratio(story: Story, config: AdvantageConfig, share: float) -> list[list[float]]:
    low, high = 1 - config.credit_clip, 1 + config.credit_clip

    def factor(gap: float) -> float:
        ratio = np.exp(np.sign(story.advantage) * gap)
        return float((1 - share) + share * min(max(ratio, low), high))

    return [[story.advantage * factor(gap) for gap in turn] for turn in story.gaps]


def turn_belief(story: Story, config: AdvantageConfig, share: float) -> list[list[float]]:
    start = min(max(story.success_rate, 0.05), 0.95)
    belief, gathered, moves = start, 0.0, []
    for turn in story.gaps:
        gathered = config.discount * gathered + sum(turn)
        odds = start / (1 - start) * np.exp(gathered)
        moves.append(np.sign(story.advantage) * (odds / (1 + odds) - belief))
        belief = odds / (1 + odds)
    flat = max(moves) - min(moves) <= 1e-6
    scores = [0.0 if flat else (move - np.mean(moves)) / np.std(moves) for move in moves]
    b = config.credit_clip
    factors = [(1 - share) + share * min(max(1 + b * z, 1 - b), 1 + b) for z in scores]
    return [
        [float(story.advantage * factor)] * len(turn)
        for factor, turn in zip(factors, story.gaps, strict=True)
    ]


def credits(stories: list[Story], config: AdvantageConfig, round_number: int) -> list[list[list[float]]]:
    """The advantage of each token, by episode, turn and token."""
    share = share_in_force(config, round_number)
    if config.credit == "anchor":
        return anchor(stories, config)
    if config.credit == "episode":
        return [[[story.advantage] * len(turn) for turn in story.gaps] for story in stories]
    rule = teacher_ratio if config.credit == "teacher_ratio" else turn_belief
    return [rule(story, config, share) for story in stories]
