"""Episodes of the household from their texts alone, for tests that read no tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdar.schemas.records import Episode, StopReason, Turn

WELCOME = "You are in a house."


def told(
    id_: str,
    texts: Sequence[tuple[str, str]],
    success: bool,
    task_id: str = "t1",
    task_type: str = "heat_and_place",
    group: int = 0,
) -> Episode:
    """An episode whose actions are given with what they led to; the last answer is not part of an episode."""
    observations = [WELCOME, *(answer for _, answer in texts)]
    turns = tuple(
        Turn(
            index=i,
            observation=observations[i],
            action=action,
            reward=0.0,
            valid=True,
            start=i + 1,
            end=i + 2,
        )
        for i, (action, _) in enumerate(texts)
    )
    length = len(texts) + 1
    return Episode(
        id=id_,
        task_id=task_id,
        task_type=task_type,
        group=group,
        sample=0,
        seed=0,
        turns=turns,
        prompt_length=1,
        token_ids=np.zeros(length, np.int32),
        action_mask=np.arange(length) > 0,
        sampler_logprobs=np.zeros(length, np.float32),
        episode_return=float(success),
        success=success,
        stop_reason=StopReason.SUCCESS if success else StopReason.MAX_STEPS,
    )


HEATED = [
    ("go to shelf 2", "You arrive at shelf 2. On it you see a vase 1, a candle 1."),
    ("go to cabinet 3", "You arrive at cabinet 3. It is closed."),
    ("open cabinet 3", "You open cabinet 3. In it you see a cup 1."),
    ("take cup 1 from cabinet 3", "You pick up cup 1 from cabinet 3."),
    ("go to toaster 1", "You arrive at toaster 1."),
    ("heat cup 1 with toaster 1", "You try toaster 1, but it does not work."),
    ("go to stove 1", "You arrive at stove 1."),
    ("heat cup 1 with stove 1", "You heat cup 1 using stove 1."),
    ("go to bed 1", "You arrive at bed 1. On it you see nothing."),
    ("move cup 1 to bed 1", "You move cup 1 to bed 1."),
]
LOST = [
    ("go to bed 1", "You arrive at bed 1. On it you see nothing."),
    ("go to cabinet 1", "You arrive at cabinet 1. It is closed."),
    ("open cabinet 1", "You open cabinet 1. In it you see a pan 1."),
]
LIT = [
    ("go to sofa 1", "You arrive at sofa 1. On it you see a floorlamp 1, a book 1."),
    ("take book 1 from sofa 1", "You pick up book 1 from sofa 1."),
    ("use floorlamp 1", "not part of the episode"),
]
