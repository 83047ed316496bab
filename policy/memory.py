"""How much of a batch goes through the model at once, and what happens when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from sdar.schemas.config import PolicyConfig
from sdar.schemas.errors import MemoryExceededError

Result = TypeVar("Result")

TOKEN_BUDGETS = {"cpu": 2048, "cuda": 65_536}
"""Padded tokens of one forward pass by device: on a CPU small passes stay in its caches and pad less."""
LOGITS = {"cpu": 2**24, "cuda": 2**28}
"""Logits that exist at a time, by device: 64 MiB and 1 GiB for each of the few tables made from them."""


@dataclass
class TokenBudget:
    """Padded tokens of one pass; halved for good when the device runs out of memory.

    Attributes:
        tokens: the present budget, at least 1.
        halvings: how often it was too much.
    """

    tokens: int
    halvings: int = 0

    def fit(self, work: Callable[[int], Result], lengths: list[int]) -> Result:
        """Return what `work` returns for a budget that fits into the device's memory.

        Args:
            work: is called with a budget in tokens, and again with half of it when memory runs out; a call
                that failed must leave nothing behind that the next one would count twice.
            lengths: of the rows that it packs, in tokens.

        Raises:
            MemoryExceededError: not even the longest row alone fits.
        """
        longest, padded = max(lengths, default=1), max(lengths, default=1) * max(len(lengths), 1)
        while True:
            try:
                return work(self.tokens)
            except torch.OutOfMemoryError as error:
                if self.tokens <= longest:
                    raise MemoryExceededError(_too_long(longest)) from error
            # Outside of the handler, whose traceback still holds what the failed pass allocated.
            self.tokens = max(min(self.tokens, padded) // 2, longest)
            self.halvings += 1
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    @property
    def warning(self) -> str:
        """A sentence when memory ran out, else nothing."""
        if not self.halvings:
            return ""
        return (
            f"The device ran out of memory {self.halvings} times; passes now have at most {self.tokens} "
            f"padded tokens. To begin there: policy.token_budget={self.tokens}."
        )


def token_budget(policy: PolicyConfig) -> TokenBudget:
    """Return the configured budget, or that of the device."""
    return TokenBudget(policy.token_budget or TOKEN_BUDGETS[policy.device])


def logit_chunks(count: int, vocabulary: int, device: torch.device) -> list[slice]:
    """Cut N tokens into parts whose logits `[n, V]` fit in memory; one part, maybe empty, at least.

    Args:
        count: N.
        vocabulary: V.
        device: where the logits are made.
    """
    size = max(LOGITS[device.type] // vocabulary, 1)
    return [slice(start, start + size) for start in range(0, max(count, 1), size)]


def _too_long(longest: int) -> str:
    return (
        f"one row of {longest} tokens does not fit into the memory of the device; allowed: shorter rows "
        "(policy.max_tokens, rollout.context=window), or a model that takes less. Next: "
        "sdar run --set policy.gradient_checkpointing=true --set policy.dtype=bfloat16, or with "
        "--set policy.lora.rank=16"
    )
