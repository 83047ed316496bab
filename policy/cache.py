"""A key-value cache for rows of different lengths: position p of a row always lies in column p."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache


class RaggedCache(Cache):
    """Keys and values of B rows, each with its own length, in buffers that grow by doubling.

    A forward pass writes S new columns for every row, each row at its own offset. Columns past a row's
    length hold padding that later writes replace; the attention mask hides them until then.
    """

    def __init__(self, model: PreTrainedModel, rows: int, capacity: int) -> None:
        """Allocate nothing yet: the first pass tells the shapes.

        Args:
            model: the model whose layers are cached.
            rows: B.
            capacity: columns to start with.
        """
        # The base class would build its own layers; this cache keeps plain buffers instead.
        self.layers = []
        self.lengths = torch.zeros(rows, dtype=torch.long, device=model.device)
        self.capacity = capacity
        self.width = 0
        self._keys: dict[int, torch.Tensor] = {}
        self._values: dict[int, torch.Tensor] = {}
        self._columns = torch.zeros(rows, 0, dtype=torch.long)

    def begin(self, columns: torch.Tensor) -> None:
        """Announce the columns `[B, S]` that the next forward pass writes."""
        self._columns = columns
        self.width = int(columns.max()) + 1
        while self.capacity < self.width:
            self.capacity *= 2

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        layer_idx: int,
        *args: object,
        **kwargs: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store `[B, heads, S, D]` keys and values of a layer; return all columns in use."""
        keys = self._buffer(self._keys, layer_idx, key_states)
        values = self._buffer(self._values, layer_idx, value_states)
        rows = torch.arange(len(keys), device=keys.device)[:, None]
        keys[rows, :, self._columns] = key_states.transpose(1, 2)
        values[rows, :, self._columns] = value_states.transpose(1, 2)
        return keys[:, :, : self.width], values[:, :, : self.width]

    def _buffer(self, store: dict[int, torch.Tensor], layer: int, like: torch.Tensor) -> torch.Tensor:
        old = store.get(layer)
        if old is None or old.shape[2] < self.capacity:
            rows, heads, _, size = like.shape
            store[layer] = like.new_zeros(rows, heads, self.capacity, size)
            if old is not None:
                store[layer][:, :, : old.shape[2]] = old
        return store[layer]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Return the columns in use; positions are given explicitly, so nothing depends on it."""
        return self.width

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but these."""
        self.lengths = self.lengths[rows]
        for store in (self._keys, self._values):
            for layer, buffer in store.items():
                store[layer] = buffer[rows]
