"""Multi-turn sampling in batches: the cache is kept across turns, finished episodes leave the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from sdar.policy.cache import RaggedCache
from sdar.policy.model import Policy, output_head, run_decoder


@dataclass(frozen=True)
class SampledAction:
    """Ids of one sampled action, end token included unless it was cut, and their log-probs."""

    ids: list[int]
    logprobs: list[float]
    complete: bool


class Conversations(Protocol):
    """A batch of running conversations with one policy."""

    def act(self, rows: Sequence[int], new_ids: Sequence[Sequence[int]]) -> list[SampledAction]:
        """Append `new_ids[i]` to conversation `rows[i]` and sample its next action.

        Conversations that are not named have ended and are dropped; `rows` must be a subset of the rows of
        the call before, in ascending order.
        """
        ...


class Sampler(Protocol):
    """Starts conversations; the engine behind it is set by configuration."""

    @property
    def engine(self) -> str:
        """Name of the engine, as stored with each episode."""
        ...

    def start(self, uniforms: NDArray[np.float64], temperature: float) -> Conversations:
        """Start B conversations.

        Args:
            uniforms: random numbers in [0, 1), `[B, K]`: the k-th token of a row is drawn with the k-th one,
                so that what a row says does not depend on which rows share its batch.
            temperature: 0 is greedy.
        """
        ...


class Stream(Protocol):
    """Prompts that an engine answers one by one, each as soon as its action is sampled."""

    def ask(self, row: int, prompt: Sequence[int], seed: int) -> None:
        """Ask for the action that follows `prompt` [T]; `seed` (63 bits) decides what is drawn."""
        ...

    def ready(self) -> list[tuple[int, SampledAction]]:
        """Wait until an answer is there; return all that are, with their rows, in the order of the rows."""
        ...


@runtime_checkable
class StreamingSampler(Protocol):
    """An engine that is asked with whole prompts and finds by itself what it has read before."""

    @property
    def engine(self) -> str:
        """Name of the engine, as stored with each episode."""
        ...

    def open(self, temperature: float) -> Stream:
        """Begin a batch of episodes; temperature 0 is greedy."""
        ...


@dataclass(frozen=True)
class TransformersSampler:
    """Samples with a transformers model in this process."""

    policy: Policy
    max_action_tokens: int
    engine: str = "transformers"

    def start(self, uniforms: NDArray[np.float64], temperature: float) -> CachedConversations:
        """Start B conversations with one shared cache."""
        return CachedConversations(self.policy, self.max_action_tokens, uniforms, temperature)


FEWEST = 4
"""Rows of the smallest pass: a matrix product of fewer may add up in another order."""


class CachedConversations:
    """Running conversations whose keys and values stay in a `RaggedCache`."""

    def __init__(
        self, policy: Policy, max_action_tokens: int, uniforms: NDArray[np.float64], temperature: float
    ) -> None:
        """Start with empty conversations; see `Sampler.start`."""
        self._model = policy.model
        self._stops = policy.dialogue.stop_ids
        self._limit = max_action_tokens
        self._uniforms = torch.from_numpy(uniforms).to(policy.model.device)
        self._drawn = torch.zeros(len(uniforms), dtype=torch.long, device=policy.model.device)
        self._temperature = temperature
        self._rows = list(range(len(uniforms)))
        self._unfed: list[list[int]] = [[] for _ in self._rows]
        self._cache = RaggedCache(policy.model, len(self._rows), capacity=256)

    def act(self, rows: Sequence[int], new_ids: Sequence[Sequence[int]]) -> list[SampledAction]:
        """See `Conversations.act`."""
        self._drop_all_but(rows)
        # The last token of an action has not been through the model yet: it goes in with what follows it.
        fed = [unfed + list(ids) for unfed, ids in zip(self._unfed, new_ids, strict=True)]
        with torch.inference_mode():
            actions = self._sample(fed)
        self._unfed = [action.ids[-1:] for action in actions]
        return actions

    def _drop_all_but(self, rows: Sequence[int]) -> None:
        if list(rows) == self._rows:
            return
        keep = [self._rows.index(row) for row in rows]
        index = torch.tensor(keep, dtype=torch.long, device=self._drawn.device)
        self._cache.keep(index)
        self._uniforms, self._drawn = self._uniforms[index], self._drawn[index]
        self._unfed = [self._unfed[i] for i in keep]
        self._rows = list(rows)

    def _sample(self, fed: list[list[int]]) -> list[SampledAction]:
        count = len(fed)
        ids: list[list[int]] = [[] for _ in range(count)]
        logprobs: list[list[float]] = [[] for _ in range(count)]
        rows = active = list(range(count))
        speaking = set(active)
        for _ in range(self._limit):
            logits = self._forward(fed, rows)
            places = [place for place, row in enumerate(rows) if row in speaking]
            tokens, chosen = self._draw(logits[places], active)
            for row, token, logprob in zip(active, tokens, chosen, strict=True):
                ids[row].append(token)
                logprobs[row].append(logprob)
            active = [row for row in active if ids[row][-1] not in self._stops]
            if not active:
                break
            rows, speaking = company(active, count), set(active)
            fed = [ids[row][-1:] if row in speaking else [] for row in rows]
        return [
            SampledAction(ids[row], logprobs[row], complete=ids[row][-1] in self._stops)
            for row in range(count)
        ]

    def _forward(self, fed: list[list[int]], rows: list[int]) -> torch.Tensor:
        """Feed tokens to R rows; return logits `[R, V]` after the last one (padding where none was fed)."""
        device, everyone = self._model.device, len(rows) == len(self._rows)
        index = torch.tensor(rows, device=device)
        lengths = self._cache.lengths[index]
        counts = torch.tensor([len(ids) for ids in fed], device=device)
        span = int(counts.max())
        tokens = torch.tensor([[*ids, *([0] * (span - len(ids)))] for ids in fed], device=device)
        columns = lengths[:, None] + torch.arange(span, device=device)
        self._cache.begin(columns, None if everyone else index)
        later = torch.arange(self._cache.width, device=device)[None, None, None] > columns[:, None, :, None]
        # What is added to the scores; a mask of truth values would be made into this in every layer anew.
        mask = torch.zeros(later.shape, dtype=self._model.dtype, device=device)
        mask.masked_fill_(later, float("-inf"))
        hidden = run_decoder(
            self._model,
            input_ids=tokens,
            attention_mask=mask,
            position_ids=columns,
            past_key_values=self._cache,
            use_cache=True,
        )
        self._cache.lengths = self._cache.lengths.index_add(0, index, counts)
        last = (counts - 1).clamp(min=0)
        final = hidden[torch.arange(len(fed), device=device), last]
        return functional.linear(final, output_head(self._model)).float()

    def _draw(self, chosen: torch.Tensor, active: list[int]) -> tuple[list[int], list[float]]:
        index = torch.tensor(active, device=chosen.device)
        if self._temperature == 0:
            logprobs = functional.log_softmax(chosen, dim=-1)
            tokens = chosen.argmax(dim=-1)
        else:
            logprobs = functional.log_softmax(chosen / self._temperature, dim=-1)
            uniform = self._uniforms[index, self._drawn[index] % self._uniforms.shape[1]]
            cumulative = logprobs.double().exp().cumsum(dim=-1)
            scaled = uniform * cumulative[:, -1]
            tokens = torch.searchsorted(cumulative, scaled[:, None], right=True)[:, 0]
            tokens = tokens.clamp(max=chosen.shape[-1] - 1)
        self._drawn[index] += 1
        picked = logprobs.gather(1, tokens[:, None])[:, 0]
        return tokens.tolist(), picked.tolist()


def company(active: list[int], count: int) -> list[int]:
    """Return which of B rows the next pass has, in ascending order: those that still speak, if they are few.

    To pick rows copies what is cached of them, which pays where most rows stay behind. Rows that ended their
    action fill a pass up, so that what a row says does not depend on how many others speak with it.
    """
    if count <= FEWEST or 2 * len(active) > count:
        return list(range(count))
    speaking = set(active)
    silent = (row for row in range(count) if row not in speaking)
    return sorted([*active, *islice(silent, max(FEWEST - len(active), 0))])
