"""Demonstrations of an environment as rows of tokens for the warm start."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sdar.envs.demonstration import Demonstration
from sdar.policy.dialogue import Dialogue
from sdar.policy.scoring import Row
from sdar.policy.warmstart import Lesson

OTHER_TOKENS = 0.2
"""Weight of the tokens of observations."""


def texts(demonstration: Demonstration) -> Iterator[str]:
    """Yield the pieces of text that the dialogue encodes one by one."""
    if demonstration.block:
        yield demonstration.block
    yield demonstration.goal
    for turn in demonstration.turns:
        yield turn.observation
        yield turn.action


def encode_demonstration(
    dialogue: Dialogue, demonstration: Demonstration, max_tokens: int, prompt_weight: float
) -> Lesson:
    """Return the row of a demonstration with the weight of each token.

    Demonstrated actions have weight 1, detours 0. Observations have a small weight: predicting them, which
    repeat names from actions, is what teaches a small model to copy.

    Args:
        dialogue: encodes.
        demonstration: what to encode.
        max_tokens: turns that would exceed it are left out.
        prompt_weight: of the prompt's tokens. Which facts a skill states cannot be foreseen, so a weight
            above 0 adds noise, and teaches to continue text.
    """
    ids = dialogue.prompt(demonstration.goal, demonstration.turns[0].observation, demonstration.block)
    weights = [prompt_weight] * len(ids)
    for index, turn in enumerate(demonstration.turns):
        observation = [*dialogue.seam(ids), *dialogue.observation(turn.observation)] if index else []
        action = dialogue.action(turn.action)
        if len(ids) + len(observation) + len(action) > max_tokens:
            break
        ids = [*ids, *observation, *action]
        weights += [OTHER_TOKENS] * len(observation) + [float(turn.learn)] * len(action)
    positions = np.arange(1, len(ids), dtype=np.int32)
    return Lesson(Row(np.array(ids, dtype=np.int32), positions), np.array(weights[1:], dtype=np.float32))
