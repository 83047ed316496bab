"""Sentence models from a local folder, the packaged MiniLM among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer, PreTrainedModel

from sdar.schemas.errors import InputError
from sdar.skills.embedders.files import encoder_facts, files_hash
from sdar.skills.embedders.pooling import embed_rows


@dataclass(frozen=True)
class EncoderEmbedder:
    """A transformer whose masked mean of last hidden states is a text's vector.

    `limit` is the longest row in tokens; what a text has beyond it is not read.
    """

    name: str
    model: PreTrainedModel
    tokenizer: Any
    fingerprint: str
    limit: int

    @property
    def dimension(self) -> int:
        """Length d of every vector: the width of the model."""
        return int(self.model.config.hidden_size)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return `[n, d]` float32, each row of L2 norm 1, or 0 for a text without tokens."""
        encode = self.tokenizer
        rows = [encode(text, truncation=True, max_length=self.limit)["input_ids"] for text in texts]
        return embed_rows(rows, self.dimension, self.model.device, self._hidden)

    def _hidden(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        return hidden


def load_encoder(name: str, folder: Path) -> EncoderEmbedder:
    """Load a model and its tokenizer from a folder, and from nowhere else.

    Args:
        name: `minilm` or the folder; of a folder only its own name is stored.
        folder: with config.json, tokenizer.json and safetensors weights.

    Raises:
        InputError: the folder holds no model, or one that cannot be used.
    """
    return _load(Path(name).name, folder, files_hash(folder))


@lru_cache(maxsize=2)
def _load(name: str, folder: Path, fingerprint: str) -> EncoderEmbedder:
    # Every stage that retrieves asks for it; the fingerprint makes sure that it is still the same.
    facts = encoder_facts(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(
            f"skills.embedder {str(folder)!r}: transformers cannot load it: {error}. "
            "Choose another with --set skills.embedder=minilm."
        ) from error
    model.train(mode=False)
    known = (facts.limit, tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None))
    return EncoderEmbedder(name, model, tokenizer, fingerprint, min(limit for limit in known if limit))
