"""Credit: how the advantage of an episode is spread over its action tokens.

A counts the action tokens of one episode, K its turns. All rules are computed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np
import torch
from numpy.typing import NDArray

from sdar.rl.advantages import FLAT, group_advantages
from sdar.rl.schedules import scheduled
from sdar.schemas.config import AdvantageConfig, Credit

BELIEF_RANGE = (0.05, 0.95)
"""The first belief is kept inside: at 0 or 1 its logit is infinite and no evidence could move it."""


@dataclass(frozen=True)
class CreditInputs:
    """What the rules read about one episode.

    Attributes:
        advantage: group-relative advantage of the episode.
        group: label of its group; the same for all attempts at one task in one round.
        success_rate: share of the group's episodes that succeeded, in [0, 1].
        observations: K observation texts, what the policy saw before each action.
        rewards: [K], reward of each turn.
        turn: [A] in [0, K), the turn of each action token.
        gap: [A], teacher minus student log-prob of each action token as scored, in nats.
    """

    advantage: float
    group: int
    success_rate: float
    observations: tuple[str, ...]
    rewards: NDArray[np.float64]
    turn: NDArray[np.int32]
    gap: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Refuse lengths that disagree: broadcasting would hide the fault."""
        if self.rewards.shape != (len(self.observations),):
            raise ValueError(f"rewards {self.rewards.shape} must be one for each turn")
        if self.turn.ndim != 1 or self.turn.shape != self.gap.shape:
            raise ValueError(f"turn {self.turn.shape} and gap {self.gap.shape} must both be [A]")


Rule = Callable[[Sequence[CreditInputs], AdvantageConfig, float], list[NDArray[np.float64]]]
"""Takes the episodes of a round, the settings and the share to spread anew; one [A] array per episode."""


def episode_credit(
    episodes: Sequence[CreditInputs], config: AdvantageConfig, share: float
) -> list[NDArray[np.float64]]:
    """Return the episode's advantage on each of its tokens."""
    return [np.full(len(episode.turn), episode.advantage) for episode in episodes]


def step_returns(rewards: NDArray[np.float64], discount: float) -> NDArray[np.float64]:
    """Return for each turn [K] its reward plus the discounted rewards of the turns after it."""
    returns = np.zeros(len(rewards))
    later = 0.0
    for turn in reversed(range(len(rewards))):
        later = float(rewards[turn]) + discount * later
        returns[turn] = later
    return returns


def anchor_credit(
    episodes: Sequence[CreditInputs], config: AdvantageConfig, share: float
) -> list[NDArray[np.float64]]:
    """Return the episode's advantage plus that of the step among steps from the same place.

    Steps of one group that answered the same observation form a step group; within it the discounted
    returns from there on are compared as episodes are in theirs. A step that shares its observation with no
    other gets nothing beside the episode's advantage.

    Source:
        GiGPO, arXiv 2505.10978. Its anchor is the environment's state; here it is the observation's text.
    """
    anchors = [(episode.group, text) for episode in episodes for text in episode.observations]
    labels = {anchor: label for label, anchor in enumerate(dict.fromkeys(anchors))}
    returns = [step_returns(episode.rewards, config.discount) for episode in episodes]
    steps = group_advantages(
        torch.from_numpy(np.concatenate([np.zeros(0), *returns])),
        torch.tensor([labels[anchor] for anchor in anchors], dtype=torch.int64),
        config.normalize_std,
    ).advantages.numpy()
    ends = np.cumsum([len(episode.observations) for episode in episodes])
    return [
        episode.advantage + config.credit_weight * steps[end - len(episode.observations) : end][episode.turn]
        for episode, end in zip(episodes, ends, strict=True)
    ]


def teacher_ratio_credit(
    episodes: Sequence[CreditInputs], config: AdvantageConfig, share: float
) -> list[NDArray[np.float64]]:
    """Return the advantage weighted token by token with how much likelier the teacher finds the token.

    `A ((1 - l) + l clip(e^(sign(A) gap), 1 - eps, 1 + eps))`: a good episode praises most what the teacher
    agrees with, a bad one blames most what the teacher would not have done.

    Source:
        RLSD, arXiv 2604.03128.
    """
    low, high = 1 - config.credit_clip, 1 + config.credit_clip
    spread = []
    for episode in episodes:
        # Above e^1 the clip holds at any setting, so nothing larger need be computed, and nothing overflows.
        ratio = np.exp(np.minimum(np.sign(episode.advantage) * episode.gap.astype(np.float64), 1.0))
        spread.append(_blend(episode.advantage, np.clip(ratio, low, high), share))
    return spread


def turn_beliefs(evidence: NDArray[np.float64], success_rate: float, discount: float) -> NDArray[np.float64]:
    """Return the belief in success before the first turn and after each, [K + 1].

    Args:
        evidence: [K], sum of the gaps over the tokens of each turn, in nats.
        success_rate: the first belief; kept within `BELIEF_RANGE`.
        discount: what the evidence gathered so far is multiplied with when a turn adds its own.
    """
    first = min(max(success_rate, BELIEF_RANGE[0]), BELIEF_RANGE[1])
    gathered = np.zeros(len(evidence) + 1)
    for turn, seen in enumerate(evidence):
        gathered[turn + 1] = discount * gathered[turn] + seen
    logit = log(first / (1 - first)) + gathered
    return (1 + np.tanh(logit / 2)) / 2  # the logistic function, without overflow


def turn_belief_credit(
    episodes: Sequence[CreditInputs], config: AdvantageConfig, share: float
) -> list[NDArray[np.float64]]:
    """Return the advantage weighted turn by turn with how far the turn moved the belief in success.

    The movement towards the outcome, `sign(A) (B_k - B_(k-1))`, is standardised within the episode to `z`
    and gives the turn the factor `(1 - l) + l clip(1 + b z, 1 - b, 1 + b)`.

    Source:
        AgentOPSD, arXiv 2608.05987. The bounds on the first belief are ours.
    """
    bound = config.credit_clip
    spread = []
    for episode in episodes:
        evidence = np.zeros(len(episode.observations))
        np.add.at(evidence, episode.turn, episode.gap)
        beliefs = turn_beliefs(evidence, episode.success_rate, config.discount)
        moves = _standardised(np.sign(episode.advantage) * np.diff(beliefs))
        factors = np.clip(1 + bound * moves, 1 - bound, 1 + bound)
        spread.append(_blend(episode.advantage, factors[episode.turn], share))
    return spread


CREDITS: Mapping[Credit, Rule] = {
    "episode": episode_credit,
    "anchor": anchor_credit,
    "teacher_ratio": teacher_ratio_credit,
    "turn_belief": turn_belief_credit,
}


def token_advantages(
    episodes: Sequence[CreditInputs], config: AdvantageConfig, round_number: int
) -> list[NDArray[np.float32]]:
    """Return the advantage of each action token, one [A] array per episode in the order given.

    Args:
        episodes: all episodes of the round: `anchor` compares steps across them.
        config: the rule and its figures.
        round_number: counted from 1; `credit_share` falls to 0 over `credit_rounds` where that is above 0.
    """
    share = config.credit_share
    if config.credit_rounds:
        share *= scheduled("linear", config.credit_rounds, round_number)
    return [tokens.astype(np.float32) for tokens in CREDITS[config.credit](episodes, config, share)]


def _blend(advantage: float, factors: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    return advantage * ((1 - share) + share * factors)


def _standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return values less their mean over their population deviation; 0 where they are all alike."""
    if not len(values) or np.ptp(values) <= FLAT:
        return np.zeros(len(values))
    standardised: NDArray[np.float64] = (values - values.mean()) / values.std()
    return standardised
