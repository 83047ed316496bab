"""Search over product texts: BM25 with an inverted index.

As in WebShop: title, description, first bullet and options are searched, 50 products at most are found, and
BM25 has Lucene's parameters there (k1 = 0.9, b = 0.4). Different: plurals are folded where Lucene stems by
Porter's rules, equal scores keep the catalogue's order, and the queries `<r>`, `<a>`, `<c>`, `<q>` of the
site's debug mode are words.

Source: Robertson and Zaragoza (2009), section 3.4, with Lucene's +1 in the logarithm.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdar.envs.webshop.products import Product

RESULTS = 50
"""Most products that a search finds."""
K1, B = 0.9, 0.4

_STOP_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these
they this to was will with
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Postings:
    """Where a word stands and what it adds there to the score: positions ascending, scores above 0."""

    positions: NDArray[np.int32]
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Index:
    """Postings by word over `size` texts."""

    size: int
    postings: Mapping[str, Postings]


def words(text: str) -> list[str]:
    """Return the words of a text that are searched: lower case, no stop words, plurals folded."""
    return [fold(word) for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def fold(word: str) -> str:
    """Return a lower-case word without a plural's ending."""
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("shes", "ches", "xes", "sses")) else word[:-1]


def searched_text(product: Product) -> str:
    """Return the text by which a product is found."""
    options = (f"{name}: {', '.join(values)}" for name, values in product.options.items())
    return " ".join([product.title, product.description, *product.bullets[:1], ", and ".join(options)])


def build_index(texts: Iterable[Sequence[str]]) -> Index:
    """Return the index over texts that are given as words, in the catalogue's order."""
    counts = [Counter(text) for text in texts]
    lengths = np.array([count.total() for count in counts], dtype=np.float64)
    mean = max(float(lengths.mean()), 1.0) if counts else 1.0
    holders: dict[str, list[int]] = defaultdict(list)
    for position, count in enumerate(counts):
        for word in count:
            holders[word].append(position)
    postings = {}
    for word, positions in holders.items():
        rarity = np.log1p((len(counts) - len(positions) + 0.5) / (len(positions) + 0.5))
        often = np.array([counts[position][word] for position in positions], dtype=np.float64)
        damping = K1 * (1 - B + B * lengths[positions] / mean)
        scores = rarity * often * (K1 + 1) / (often + damping)
        postings[word] = Postings(np.array(positions, dtype=np.int32), scores.astype(np.float32))
    return Index(len(counts), postings)


def best(index: Index, query: Iterable[str], limit: int = RESULTS) -> list[int]:
    """Return the positions of the texts that share a word with the query, best first.

    Args:
        index: over the texts.
        query: its words; a repeated word counts as often as it stands.
        limit: most positions to return.
    """
    scores = np.zeros(index.size, dtype=np.float32)
    for word in query:
        found = index.postings.get(word)
        if found is not None:
            scores[found.positions] += found.scores
    hits = np.flatnonzero(scores)
    order = hits[np.argsort(-scores[hits], kind="stable")]
    return [int(position) for position in order[:limit]]
