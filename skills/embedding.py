"""Text to unit vectors, without a download: TF-IDF over the words of the bank itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import (
    ENGLISH_STOP_WORDS,
    TfidfVectorizer,
)

from sdar.schemas.errors import InputError

# The stock list drops words that say what a task is about.
STOP_WORDS = ENGLISH_STOP_WORDS - {"find", "found", "move", "put", "show", "two", "three"}

_WORD = re.compile(r"\w+")


class Embedder(Protocol):
    """Anything that turns texts into vectors whose inner product is their similarity."""

    @property
    def name(self) -> str:
        """Short name, stored with what was retrieved."""

    @property
    def dimension(self) -> int:
        """Length d of every vector."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return `[n, d]` float32, each row of L2 norm 1, or 0 for a text without a known word."""


@dataclass(frozen=True)
class TfidfEmbedder:
    """TF-IDF of single words and pairs of neighbours; depends on nothing but the texts it was fitted on."""

    vectorizer: TfidfVectorizer
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
        return cls(vectorizer.fit(texts))

    @property
    def dimension(self) -> int:
        """Length d of every vector: the size of the vocabulary."""
        return len(self.vectorizer.vocabulary_)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return `[n, d]` float32, each row of L2 norm 1, or 0 for a text without a known word."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        dense: NDArray[np.float32] = self.vectorizer.transform(texts).toarray().astype(np.float32)
        return dense


def words(text: str) -> list[str]:
    """Return the words of a text that count for similarity: lower case, no stop words, plurals folded."""
    return [fold_plural(word) for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def fold_plural(word: str) -> str:
    """Return a key that an English noun shares with its regular plural; not always a word itself.

    Args:
        word: one lower-case word.
    """
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = re.sub(r"(?<=ch|sh|ss)es$|(?<=[xzo])es$|s$", "", word)
    # Where knife meets knives, glove gloves, and shoe shoes.
    return re.sub(r"oe$", "o", re.sub(r"[fv]e$", "f", word))
