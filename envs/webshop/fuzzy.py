"""How alike two short texts are when the order of words and further words count little."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from functools import lru_cache

_NO_WORD = re.compile(r"\W")
# thefuzz drops these letters and keeps those of other alphabets.
_LATIN = re.compile(r"[\x80-\xff]")


@lru_cache(maxsize=16_384)
def token_set_ratio(first: str, second: str) -> int:
    """Return the token set ratio of two texts, 0 to 100; 100 when one has all words of the other.

    Both become lower-case sets of words. The common words are compared with each set (common words first, the
    others after them, both sorted), and the sets with each other; the best ratio counts. A text without words
    is like no other.

    Source: `fuzz.token_set_ratio` of thefuzz 0.19, which WebShop requires; as there, without the optional
        Levenshtein package, the ratio is that of `difflib`.
    """
    one, other = _words(first), _words(second)
    if not one or not other:
        return 0
    common = " ".join(sorted(one & other))
    left = " ".join([common, *sorted(one - other)]).strip()
    right = " ".join([common, *sorted(other - one)]).strip()
    return max(_ratio(common, left), _ratio(common, right), _ratio(left, right))


def _words(text: str) -> set[str]:
    return set(_NO_WORD.sub(" ", _LATIN.sub("", text)).lower().split())


def _ratio(first: str, second: str) -> int:
    if not first or not second:
        return 0
    return round(100 * SequenceMatcher(None, first, second).ratio())
