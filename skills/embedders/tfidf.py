"""Text to unit vectors without a model: TF-IDF over the words of the bank itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer

from sdar.schemas.errors import InputError
from sdar.schemas.keys import content_hash
from sdar.skills.text import STOP_WORDS, words

MAX_BYTES = 4 << 30
"""Vectors are dense and as long as the vocabulary: a bank that needs more is refused."""

_RULE = "words and pairs, sublinear counts, smoothed document frequencies, L2"


@dataclass(frozen=True)
class TfidfEmbedder:
    """TF-IDF of single words and pairs of neighbours; depends on nothing but the texts it was fitted on."""

    vectorizer: TfidfVectorizer
    fingerprint: str
    name: str = "tfidf"

    @classmethod
    def fit(cls, texts: Sequence[str]) -> TfidfEmbedder:
        """Return the embedder whose vocabulary and document frequencies are those of `texts`.

        Raises:
            InputError: the texts hold no word that is not a stop word.
        """
        if not any(words(text) for text in texts):
            raise InputError(
                f"cannot index {len(texts)} text(s): no words in them except stop words. "
                "Write descriptions that name what a skill is about."
            )
        vectorizer = TfidfVectorizer(
            tokenizer=words, token_pattern=None, lowercase=False, ngram_range=(1, 2), sublinear_tf=True
        )
        fingerprint = content_hash([_RULE, sorted(STOP_WORDS), sorted(texts)])
        return cls(vectorizer.fit(texts), fingerprint)

    @property
    def dimension(self) -> int:
        """Length d of every vector: the size of the vocabulary."""
        return len(self.vectorizer.vocabulary_)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return `[n, d]` float32, each row of L2 norm 1, or 0 for a text without a known word.

        Raises:
            InputError: the vectors would not fit into memory.
        """
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        if (needed := len(texts) * self.dimension * 4) > MAX_BYTES:
            raise InputError(
                f"the bank has {len(texts)} texts with {self.dimension} different words and pairs: TF-IDF "
                f"vectors of them take {needed >> 30} GiB, {MAX_BYTES >> 30} are allowed. "
                "Choose vectors of fixed length with --set skills.embedder=minilm."
            )
        return self.vectorizer.transform(texts).astype(np.float32).toarray()  # type: ignore[no-any-return]
