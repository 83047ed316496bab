"""The nouns of a product title, told by rules."""

from __future__ import annotations

import re
from functools import lru_cache

_TOKEN = re.compile(r"[^\W_]+(?:[.'\N{RIGHT SINGLE QUOTATION MARK}][^\W_]+)*")
_HAS_LETTER = re.compile(r"[^\W\d_]")
_ADJECTIVE = re.compile(r"(?:able|ible|ful|ous|ical|less|ly)$")

_FUNCTION_WORDS = """
a an the and or nor but if of in on at by for from to into onto with without within over under up down
off out about as per than then so not no non is are was be been being has have had can will may it its
this that these those your you my our we i me he she they them their his her who which what where when
how all any both each every few more most other some such only own same too very also
"""
FUNCTION_WORDS = frozenset(_FUNCTION_WORDS.split())
_ADJECTIVES = """
new high low big small large medium mini long short tall wide slim thin thick soft hard heavy light dark
bright black white blue red green pink purple yellow brown grey gray beige strong fast quick easy free
full double single dual multi great good best better fresh dry wet hot cold warm cool clean safe natural
organic casual modern classic vintage elegant cute sexy loose round square flat deep rich pure real extra
portable wireless electric digital automatic universal professional
"""
ADJECTIVES = frozenset(_ADJECTIVES.split())


@lru_cache(maxsize=8192)
def nouns(title: str) -> tuple[str, ...]:
    """Return the words of a title taken for nouns or names: lower case, in order, repeated ones too.

    A word counts unless it has no letter, is a function word or a frequent adjective of product titles, or
    ends like an adjective or adverb (-able, -ful, -ous, -ical, -less, -ly).

    Args:
        title: a product's title; hyphens and slashes separate words.
    """
    return tuple(word for word in _TOKEN.findall(title.lower()) if _is_noun(word))


def _is_noun(word: str) -> bool:
    return (
        _HAS_LETTER.search(word) is not None
        and word not in FUNCTION_WORDS
        and word not in ADJECTIVES
        and _ADJECTIVE.search(word) is None
    )
