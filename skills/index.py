"""Nearest skills by inner product, with ties broken by skill id: exact, and above 50 000 skills by cells.

Up to `APPROXIMATE_FROM` skills a flat FAISS index compares a query with all of them. From there on the bank
is split into cells, and only the `PROBED` share of the cells that are nearest to the query is searched.
"""

from __future__ import annotations

import math
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

APPROXIMATE_FROM = 50_000
"""Number of skills from which on cells are searched; benchmarks/skills_index.py has the measurements."""

PROBED = 0.5
"""Share of the cells that a search looks into."""

WIDE = 0.05
"""A search for more than this share of the bank looks into all cells."""

TRAINING_ROWS = 64
"""Vectors per cell that the cells are learnt from, at most."""


@dataclass(frozen=True)
class Hit:
    """One search result: `position` in the bank as it was indexed, `score` the inner product."""

    position: int
    score: float


@dataclass(frozen=True)
class SkillIndex:
    """Vectors of a bank, ready to be searched; `ids` are the skill ids by position.

    `faiss` is an id map over a flat index or over cells; its ids are the positions.
    """

    faiss: Any
    ids: tuple[str, ...]

    @classmethod
    def build(
        cls, vectors: NDArray[np.float32], ids: Sequence[str], approximate_from: int = APPROXIMATE_FROM
    ) -> SkillIndex:
        """Return an index over the rows of `vectors`.

        Args:
            vectors: `[n, d]` float32 of L2 norm 1 or 0, n may be 0.
            ids: the n skill ids, which order hits of equal score.
            approximate_from: least n for which cells are made.

        Raises:
            IntegrityError: shapes disagree, an id occurs twice, or a number is not finite.
        """
        _check(vectors, ids)
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        with one_thread():
            inner = _cells(rows, ids) if len(ids) >= approximate_from else faiss.IndexFlatIP(rows.shape[1])
            index = faiss.IndexIDMap2(inner)
            index.add_with_ids(rows, np.arange(len(ids), dtype=np.int64))
        return cls(index, tuple(ids))

    @property
    def dimension(self) -> int:
        """Length d of every vector."""
        return int(self.faiss.d)

    @property
    def kind(self) -> str:
        """`flat` for an exact index, `cells` for an approximate one."""
        return "flat" if isinstance(self._inner, faiss.IndexFlat) else "cells"

    @property
    def _inner(self) -> Any:
        return faiss.downcast_index(self.faiss.index)

    def vectors(self) -> NDArray[np.float32]:
        """Return a copy of all vectors, `[n, d]` float32, by position."""
        inner = self._inner
        if self.kind == "cells":
            inner.make_direct_map()
        with one_thread():
            rows: NDArray[np.float32] = inner.reconstruct_n(0, len(self.ids))
        return rows

    def add(
        self, vectors: NDArray[np.float32], ids: Sequence[str], approximate_from: int = APPROXIMATE_FROM
    ) -> SkillIndex:
        """Return an index with further skills behind the present ones, equal to one built of all of them.

        The present vectors are taken over. Cells are learnt anew, because old cells would fit the new skills
        worse and worse.

        Args:
            vectors: `[m, d]` float32 of L2 norm 1 or 0.
            ids: the m skill ids, none of them in the index.
            approximate_from: least number of skills for which cells are made.

        Raises:
            IntegrityError: as for `build`, or the vectors have another dimension than the index.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise IntegrityError(
                f"cannot add vectors of shape {vectors.shape} to an index of dimension {self.dimension}: "
                "they come from different embedders. Build the index anew with `sdar skills index --rebuild`."
            )
        everything = (*self.ids, *ids)
        if self.kind == "cells" or len(everything) >= approximate_from:
            return SkillIndex.build(np.concatenate([self.vectors(), vectors]), everything, approximate_from)
        _check(vectors, ids)
        _check_unique(everything)
        longer = faiss.clone_index(self.faiss)
        with one_thread():
            places = np.arange(len(self.ids), len(everything), dtype=np.int64)
            longer.add_with_ids(np.ascontiguousarray(vectors, dtype=np.float32), places)
        return SkillIndex(longer, everything)

    def search(self, query: NDArray[np.float32], k: int) -> list[Hit]:
        """Return the best min(k, n) hits, by falling score and then by skill id.

        Cells may miss some of the best; what they find is ordered exactly, and a search for more than the
        `WIDE` share of the bank is exact.

        Args:
            query: `[d]` float32.
            k: how many hits, at least 1.

        Raises:
            IntegrityError: the query has another dimension than the index, or is not finite.
        """
        if query.shape != (self.dimension,):
            raise IntegrityError(
                f"the query vector has shape {query.shape}, the index holds vectors of dimension "
                f"{self.dimension}: they come from different embedders. "
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
            scores, positions = self._nearest(query, wanted)
            rounded = np.round(scores.astype(np.float64), SCORE_DIGITS)
            if wanted == len(self.ids) or rounded[-1] < rounded[k - 1]:
                return [Hit(int(at), float(score)) for at, score in zip(positions, rounded, strict=True)]
            wanted = min(len(self.ids), 2 * wanted)
        return []

    def _nearest(self, query: NDArray[np.float32], wanted: int) -> tuple[NDArray[Any], NDArray[Any]]:
        with one_thread():
            if self.kind == "flat":
                scores, positions = self.faiss.search(query, wanted)
                return scores[0], positions[0]
            cells = self._inner.nlist
            probed = cells if wanted > WIDE * len(self.ids) else math.ceil(PROBED * cells)
            scores, positions = self._probe(query, wanted, probed)
            if positions[-1] < 0:  # the probed cells hold too few
                scores, positions = self._probe(query, wanted, cells)
            return scores, positions

    def _probe(
        self, query: NDArray[np.float32], wanted: int, probed: int
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        parameters = faiss.SearchParametersIVF()
        parameters.nprobe = probed
        scores, positions = self.faiss.search(query, wanted, params=parameters)
        return scores[0], positions[0]


@contextmanager
def one_thread() -> Iterator[None]:
    """Let FAISS use one thread, for the same sums everywhere, and give the others back.

    FAISS and torch count the same OpenMP threads: what is set here would change how torch adds up, too.
    """
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _cells(vectors: NDArray[np.float32], ids: Sequence[str]) -> Any:
    """Return an empty index of about sqrt(n) cells, learnt from a sample that the skill ids decide.

    Ids are hashes, so those that sort first are a fair sample, and it does not depend on the bank's order.
    """
    count = max(1, math.isqrt(len(ids)))
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], count, faiss.METRIC_INNER_PRODUCT
    )
    # Few rows per cell make FAISS warn, which is of no use to whoever wrote the bank.
    index.cp.niter, index.cp.seed, index.cp.min_points_per_centroid = 10, 1, 1
    sample = sorted(range(len(ids)), key=ids.__getitem__)[: count * TRAINING_ROWS]
    index.train(vectors[sample])
    return index


def _check(vectors: NDArray[np.float32], ids: Sequence[str]) -> None:
    if vectors.ndim != 2 or len(vectors) != len(ids):
        raise IntegrityError(
            f"cannot index vectors of shape {vectors.shape} for {len(ids)} skills; expected "
            f"[{len(ids)}, d]. The embedder is at fault; look at the bank with `sdar skills list`."
        )
    _check_unique(ids)
    _check_finite(vectors)


def _check_unique(ids: Sequence[str]) -> None:
    if len(set(ids)) < len(ids):
        raise IntegrityError(
            f"cannot index {len(ids)} skills with {len(set(ids))} different ids: each may be there once. "
            "Look at the bank with `sdar skills list`."
        )


def _check_finite(vectors: NDArray[np.float32]) -> None:
    if not np.isfinite(vectors).all():
        raise IntegrityError(
            "an embedding holds NaN or infinity. The embedder is at fault; look at the bank with "
            "`sdar skills list`."
        )
