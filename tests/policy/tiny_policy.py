"""A policy small enough for tests, whose actions end at different lengths and are sometimes valid."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sdar.envs.demonstration import Demonstration
from sdar.envs.household.demonstrations import demonstrate
from sdar.policy.dialogue import StarterDialogue
from sdar.policy.model import Policy, new_model, save_policy
from sdar.policy.tokenizer import train_tokenizer
from sdar.policy.warmstart import Lesson, warm_start
from sdar.schemas.config import WarmStartConfig
from sdar.tasks.demonstrations import encode_demonstration, texts

MAX_TOKENS = 1024


@cache
def shown(index: int) -> Demonstration:
    return demonstrate(index, seed=1, max_steps=20, skill_share=0.6)


@cache
def dialogue() -> StarterDialogue:
    return StarterDialogue(train_tokenizer((text for i in range(150) for text in texts(shown(i))), 900))


@cache
def tiny_policy() -> Policy:
    """Two blocks of width 32 after a few steps on demonstrations: still poor, but no longer uniform."""
    words = dialogue()
    model = new_model(
        words.tokenizer.get_vocab_size(), seed=3, hidden=32, layers=2, heads=2, context=MAX_TOKENS
    )

    def batch(step: int) -> list[Lesson]:
        return [encode_demonstration(words, shown((8 * step + i) % 150), MAX_TOKENS, 0.2) for i in range(8)]

    warm_start(model, batch, WarmStartConfig(steps=40, learning_rate=1e-2), lambda progress: None)
    return Policy(model, words)


def save_tiny_policy(folder: Path) -> Path:
    policy = tiny_policy()
    save_policy(folder, policy.model, policy.dialogue)
    return folder
