"""Words of a query to scores of texts: Okapi BM25, without stop words and with plurals folded."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from sdar.skills.text import words

SATURATION, LENGTH_SHARE = 1.2, 0.75

Weights = Mapping[str, Mapping[int, float]]


def word_weights(texts: Sequence[str]) -> Weights:
    """Return, by word, what it adds to the score of each text that holds it (by position), all above 0.

    A word that n of N texts hold, f times in a text of l words where a mean text has m, adds
    ln(1 + (N - n + 0.5) / (n + 0.5)) * f * (k + 1) / (f + k * (1 - b + b * l / m)), k = 1.2, b = 0.75.

    Args:
        texts: any number of texts, also none.

    Source: Robertson and Zaragoza (2009), section 3.4, with the +1 in the logarithm that keeps it above 0.
    """
    counts = [Counter(words(text)) for text in texts]
    mean_length = sum(map(Counter.total, counts)) / max(len(texts), 1)
    holders: dict[str, list[int]] = defaultdict(list)
    for position, found in enumerate(counts):
        for word in found:
            holders[word].append(position)
    return {
        word: {
            position: _rarity(len(texts), len(positions))
            * _frequency(counts[position][word], counts[position].total() / mean_length)
            for position in positions
        }
        for word, positions in holders.items()
    }


def score_texts(weights: Weights, query: str) -> dict[int, float]:
    """Return the scores of the texts that share a word with the query, by position; a word counts once."""
    scores: dict[int, float] = defaultdict(float)
    for word in dict.fromkeys(words(query)):
        for position, weight in weights.get(word, {}).items():
            scores[position] += weight
    return dict(scores)


def _rarity(texts: int, holders: int) -> float:
    return math.log(1 + (texts - holders + 0.5) / (holders + 0.5))


def _frequency(count: int, relative_length: float) -> float:
    damping = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * relative_length)
    return count * (SATURATION + 1) / (count + damping)
