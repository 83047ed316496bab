"""Token rows to unit vectors: the mean of a model's last hidden states over the tokens of a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from sdar.policy.memory import TOKEN_BUDGETS
from sdar.policy.scoring import pack

Forward = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Token ids and mask, both `[B, S]`, to last hidden states `[B, S, H]`."""


def embed_rows(
    rows: Sequence[Sequence[int]], dimension: int, device: torch.device, forward: Forward
) -> NDArray[np.float32]:
    """Return `[n, H]` float32 of L2 norm 1; a row without tokens gets zeros.

    Rows are padded on the right, in batches of rows of similar length. Equal rows are computed once, so that
    their vectors are equal to the last bit.

    Args:
        rows: n rows of token ids.
        dimension: H.
        device: of the model.
        forward: the model; its mask is 1 for tokens and 0 for padding.
    """
    places: dict[tuple[int, ...], list[int]] = {}
    for place, row in enumerate(rows):
        if row:
            places.setdefault(tuple(row), []).append(place)
    vectors, distinct = np.zeros((len(rows), dimension), dtype=np.float32), list(places)
    for group in pack([len(row) for row in distinct], TOKEN_BUDGETS[device.type]):
        means = _means([distinct[i] for i in group], device, forward)
        for i, mean in zip(group, means, strict=True):
            vectors[places[distinct[i]]] = mean
    return vectors


def _means(rows: Sequence[tuple[int, ...]], device: torch.device, forward: Forward) -> NDArray[np.float32]:
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row)
    mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long().to(device)
    with torch.inference_mode():
        hidden = forward(ids.to(device), mask).float()
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        unit: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=-1).cpu().numpy()
    return unit
