"""Search by words: Okapi BM25 over title and text, by bm25s."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import bm25s
import numpy as np
from bm25s.stopwords import STOPWORDS_EN

from sdar.envs.search_qa.index_files import kept
from sdar.envs.search_qa.records import Hit, Passage, Search
from sdar.schemas.keys import content_hash

# It asks for its debug messages itself; a run would show them for every index that it builds.
logging.getLogger(bm25s.__name__).setLevel(logging.WARNING)

SATURATION, LENGTH_SHARE = 1.5, 0.75

_WORD = re.compile(r"\w+")
_STOP_WORDS = frozenset(STOPWORDS_EN)


def words(text: str) -> list[str]:
    """Return the words of a text that count: in lower case, without English stop words."""
    return [word for word in _WORD.findall(text.lower()) if word not in _STOP_WORDS]


def bm25_search(passages: Sequence[Passage], folder: Path | None = None) -> Search:
    """Return a search that finds passages which share a word with the query; equal scores in corpus order.

    Args:
        passages: the corpus.
        folder: where the index is kept between processes, under a name made from the corpus.

    Raises:
        InputError: the index cannot be written to the folder.
    """

    def build() -> bm25s.BM25:
        index = bm25s.BM25(k1=SATURATION, b=LENGTH_SHARE)
        index.index([words(passage.contents) for passage in passages], show_progress=False)
        return index

    def save(index: bm25s.BM25, path: Path) -> None:
        index.save(path, show_progress=False)

    def load(path: Path) -> bm25s.BM25:
        return bm25s.BM25.load(path, show_progress=False)

    key = ["bm25", bm25s.__version__, SATURATION, LENGTH_SHARE, [passage.contents for passage in passages]]
    index = kept(folder, f"bm25-{content_hash(key)[:20]}", build, save, load) if folder else build()

    def search(query: str, k: int) -> tuple[Hit, ...]:
        known = index.get_tokens_ids(words(query))
        if not known:
            return ()
        scores = index.get_scores_from_ids(known)
        best = _best(scores, k)
        return tuple(Hit(passages[i], float(scores[i])) for i in best if scores[i] > 0)

    return search


def _best(scores: np.ndarray[tuple[int], np.dtype[np.float32]], k: int) -> Sequence[int]:
    """Return the positions of the k highest scores, the highest first, equal ones by position."""
    if k < len(scores):
        least = np.partition(scores, -k)[-k]
        candidates = np.flatnonzero(scores >= least)
    else:
        candidates = np.arange(len(scores))
    best: list[int] = candidates[np.argsort(-scores[candidates], kind="stable")][:k].tolist()
    return best
