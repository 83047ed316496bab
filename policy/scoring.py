"""Log-probs of given tokens: rows packed by a token budget, logits only where a token is scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import PreTrainedModel

from sdar.policy.memory import TOKEN_BUDGETS, logit_chunks
from sdar.policy.model import output_head, run_decoder


@dataclass(frozen=True)
class Row:
    """One sequence: `token_ids` [T] and the `positions` [A] of the tokens to score (each at least 1)."""

    token_ids: NDArray[np.int32]
    positions: NDArray[np.int32]


@dataclass(frozen=True)
class Packed:
    """Scored tokens of a few rows, flat over rows: N tokens in all.

    `rows` are the indices of the rows in the caller's list; `owner` [N] is an index into `rows`; `hidden`
    [N, H] are the states from which the tokens `targets` [N] are predicted.
    """

    rows: tuple[int, ...]
    owner: torch.Tensor
    targets: torch.Tensor
    hidden: torch.Tensor


def pack(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group row indices, longest first, so that rows times longest row stays within the budget.

    A row that is longer than the budget gets a group of its own.
    """
    groups: list[list[int]] = []
    longest = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not groups or (len(groups[-1]) + 1) * longest > budget:
            groups.append([])
            longest = lengths[index]
        groups[-1].append(index)
    return groups


def forward_rows(model: PreTrainedModel, rows: Sequence[Row], budget: int | None = None) -> Iterator[Packed]:
    """Run the model over rows and yield the hidden states that predict the scored tokens.

    Rows are padded on the right: under causal attention no scored token sees padding, so no mask is needed.
    """
    budget = budget or TOKEN_BUDGETS[model.device.type]
    for group in pack([len(row.token_ids) for row in rows], budget):
        width = max(len(rows[i].token_ids) for i in group)
        tokens = np.zeros((len(group), width), dtype=np.int64)
        for place, i in enumerate(group):
            tokens[place, : len(rows[i].token_ids)] = rows[i].token_ids
        ids = torch.from_numpy(tokens).to(model.device)
        hidden = run_decoder(model, input_ids=ids, use_cache=False)
        owner = np.concatenate([np.full(len(rows[i].positions), p) for p, i in enumerate(group)])
        column = np.concatenate([rows[i].positions for i in group])
        owner_index = torch.from_numpy(owner.astype(np.int64)).to(model.device)
        column_index = torch.from_numpy(column.astype(np.int64)).to(model.device)
        yield Packed(
            rows=tuple(group),
            owner=owner_index,
            targets=ids[owner_index, column_index],
            hidden=hidden[owner_index, column_index - 1],
        )


def log_distribution(model: PreTrainedModel, hidden: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Return log-probs `[N, V]` from hidden states `[N, H]`, at a temperature."""
    return head_log_distribution(output_head(model), hidden, temperature)


def head_log_distribution(head: torch.Tensor, hidden: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Return log-probs `[N, V]` in float32 from hidden states `[N, H]` and an output embedding `[V, H]`."""
    logits = functional.linear(hidden.to(head.dtype), head)
    return functional.log_softmax(logits.float() / temperature, dim=-1)


def token_logprobs(
    model: PreTrainedModel, packed: Packed, temperature: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log-prob and normalised entropy of the scored tokens, [N] each; logits exist in parts only.

    Meant for scoring without gradient: with one, every part's logits would be kept for the backward pass.
    """
    parts = []
    for part in logit_chunks(len(packed.targets), len(output_head(model)), packed.hidden.device):
        logprobs = log_distribution(model, packed.hidden[part], temperature)
        chosen = logprobs.gather(1, packed.targets[part][:, None])[:, 0]
        parts.append((chosen, normalised_entropy(logprobs)))
    return torch.cat([chosen for chosen, _ in parts]), torch.cat([entropy for _, entropy in parts])


def normalised_entropy(logprobs: torch.Tensor) -> torch.Tensor:
    """Return the entropy of distributions `[N, V]` divided by log V, in [0, 1]."""
    return -(logprobs.exp() * logprobs).sum(-1) / float(np.log(logprobs.shape[-1]))
