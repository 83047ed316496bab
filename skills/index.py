"""Exact nearest skills: a flat FAISS index of inner products whose ties are broken by skill id."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from sdar.schemas.errors import IntegrityError

# FAISS sums in blocks, so equal vectors may differ in the seventh digit: they count as tied.
SCORE_DIGITS = 6


@dataclass(frozen=True)
class Hit:
    """One search result: `position` in the bank as it was indexed, `score` the inner product."""

    position: int
    score: float


@dataclass(frozen=True)
class SkillIndex:
    """Vectors of a bank, ready to be searched; `ids` are the skill ids by position."""

    flat: Any
    ids: tuple[str, ...]

    @classmethod
    def build(cls, vectors: NDArray[np.float32], ids: Sequence[str]) -> SkillIndex:
        """Return an index over the rows of `vectors`.

        Args:
            vectors: `[n, d]` float32 of L2 norm 1 or 0, n may be 0.
            ids: the n skill ids, which order hits of equal score.

        Raises:
            IntegrityError: shapes disagree, or a number is not finite.
        """
        if vectors.ndim != 2 or len(vectors) != len(ids):
            raise IntegrityError(
                f"cannot index vectors of shape {vectors.shape} for {len(ids)} skills; expected "
                f"[{len(ids)}, d]. The embedder is at fault; look at the bank with `sdar skills list`."
            )
        _check_finite(vectors)
        flat = faiss.IndexIDMap2(faiss.IndexFlatIP(vectors.shape[1]))
        with _one_thread():
            flat.add_with_ids(
                np.ascontiguousarray(vectors, dtype=np.float32), np.arange(len(ids), dtype=np.int64)
            )
        return cls(flat, tuple(ids))

    def search(self, query: NDArray[np.float32], k: int) -> list[Hit]:
        """Return the best min(k, n) hits, by falling score and then by skill id.

        Args:
            query: `[d]` float32.
            k: how many hits, at least 1.

        Raises:
            IntegrityError: the query has another dimension than the index, or is not finite.
        """
        if query.shape != (self.flat.d,):
            raise IntegrityError(
                f"the query vector has shape {query.shape}, the index holds vectors of dimension "
                f"{self.flat.d}: they come from different embedders. "
                "Build the index with the one that embeds queries."
            )
        _check_finite(query)
        hits = self._candidates(np.ascontiguousarray(query[None], dtype=np.float32), k)
        return sorted(hits, key=lambda hit: (-hit.score, self.ids[hit.position]))[:k]

    def _candidates(self, query: NDArray[np.float32], k: int) -> list[Hit]:
        # FAISS returns ties in no useful order and may leave some out, so more are fetched until the k-th
        # score is surely complete.
        wanted = min(len(self.ids), 2 * k)
        while wanted:
            with _one_thread():
                scores, positions = self.flat.search(query, wanted)
            rounded = np.round(scores[0].astype(np.float64), SCORE_DIGITS)
            if wanted == len(self.ids) or rounded[-1] < rounded[k - 1]:
                return [Hit(int(at), float(score)) for at, score in zip(positions[0], rounded, strict=True)]
            wanted = min(len(self.ids), 2 * wanted)
        return []


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let FAISS use one thread, for the same sums everywhere, and give the others back.

    FAISS and torch count the same OpenMP threads: what is set here would change how torch adds up, too.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _check_finite(vectors: NDArray[np.float32]) -> None:
    if not np.isfinite(vectors).all():
        raise IntegrityError(
            "an embedding holds NaN or infinity. The embedder is at fault; look at the bank with "
            "`sdar skills list`."
        )
