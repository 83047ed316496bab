"""The policy as its own embedder: the mean of its last hidden states over a text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sdar.policy.model import Policy, run_decoder
from sdar.skills.embedders.pooling import embed_rows


@dataclass(frozen=True)
class PolicyEmbedder:
    """A policy that embeds texts; `fingerprint` is the policy's id, a hash of weights and tokenizer.

    The text stands alone, without the markers of a dialogue. Raw means of a causal model lie close together,
    so `skills.threshold` has to be set for them.
    """

    policy: Policy
    fingerprint: str
    name: str = "policy"

    @property
    def dimension(self) -> int:
        """Length d of every vector: the width of the model."""
        return int(self.policy.model.config.hidden_size)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return `[n, d]` float32, each row of L2 norm 1, or 0 for a text without tokens."""
        model = self.policy.model
        limit = int(model.config.max_position_embeddings)
        rows = [self.policy.dialogue.encode(text)[:limit] for text in texts]
        return embed_rows(rows, self.dimension, model.device, self._hidden)

    def _hidden(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return run_decoder(self.policy.model, input_ids=ids, attention_mask=mask, use_cache=False)
