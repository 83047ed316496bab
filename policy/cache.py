"""A key-value cache for rows of different lengths: position p of a row always lies in column p."""

from __future__ import annotations

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache


class RaggedCache(Cache):
    """Keys and values of B rows, each with its own length, in buffers that grow by doubling.

    A forward pass writes S new columns for every row that takes part, each row at its own offset. Columns
    past a row's length hold padding that later writes replace; the attention mask hides them until then.
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
        self._rows: torch.Tensor | None = None

    def begin(self, columns: torch.Tensor, rows: torch.Tensor | None = None) -> None:
        """Announce the next forward pass.

        Args:
            columns: that it writes, `[R, S]`.
            rows: that take part, `[R]`; None for all B.
        """
        self._columns, self._rows = columns, rows
        # As wide as for all rows, so that a row's attention adds up in the same order with any company.
        self.width = int(torch.maximum(columns.max(), self.lengths.max() + columns.shape[1] - 1)) + 1
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
        """Store `[R, heads, S, D]` keys and values of a layer; return all columns in use of these rows."""
        keys = self._buffer(self._keys, layer_idx, key_states)
        values = self._buffer(self._values, layer_idx, value_states)
        rows = torch.arange(len(keys), device=keys.device) if self._rows is None else self._rows
        keys[rows[:, None], :, self._columns] = key_states.transpose(1, 2)
        values[rows[:, None], :, self._columns] = value_states.transpose(1, 2)
        keys, values = keys[:, :, : self.width], values[:, :, : self.width]
        if self._rows is None:
            return keys, values
        # Copies whole blocks, where `keys[rows]` copies number by number.
        return keys.index_select(0, rows), values.index_select(0, rows)

    def _buffer(self, store: dict[int, torch.Tensor], layer: int, like: torch.Tensor) -> torch.Tensor:
        old = store.get(layer)
        if old is None or old.shape[2] < self.capacity:
            _, heads, _, size = like.shape
            store[layer] = like.new_zeros(len(self.lengths), heads, self.capacity, size)
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
