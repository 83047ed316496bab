"""Search by meaning: an exact FAISS index over the vectors of any embedder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sdar.envs.search_qa.embedders import Embedder
from sdar.envs.search_qa.index_files import kept
from sdar.envs.search_qa.records import Hit, Passage, Search
from sdar.schemas.keys import content_hash

_FILE = "index.faiss"


def dense_search(passages: Sequence[Passage], embedder: Embedder, folder: Path | None = None) -> Search:
    """Return a search by cosine similarity; a query that the embedder cannot read finds nothing.

    Args:
        passages: the corpus.
        embedder: makes unit vectors of the passages and of every query.
        folder: where the vectors are kept between processes, under a name made from corpus and embedder.

    Raises:
        InputError: the index cannot be written to the folder.
    """
    import faiss

    def build() -> Any:
        vectors = embedder.embed([passage.contents for passage in passages])
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return index

    def save(index: Any, path: Path) -> None:
        faiss.write_index(index, str(path / _FILE))

    def load(path: Path) -> Any:
        return faiss.read_index(str(path / _FILE))

    key = ["dense", embedder.fingerprint, [passage.contents for passage in passages]]
    index = kept(folder, f"dense-{content_hash(key)[:20]}", build, save, load) if folder else build()

    def search(query: str, k: int) -> tuple[Hit, ...]:
        vector = embedder.embed([query])
        if not np.any(vector):
            return ()
        scores, positions = index.search(vector, min(k, len(passages)))
        pairs = sorted(zip((-scores[0]).tolist(), positions[0].tolist(), strict=True))
        return tuple(Hit(passages[i], -negative) for negative, i in pairs)

    return search
