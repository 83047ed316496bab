"""The word that somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, words: Iterable[str]) -> str:
    """Return the known word that is most like a mistyped one, or nothing where none is like it."""
    return next(iter(get_close_matches(word, list(words), n=1, cutoff=0.7)), "")


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return a question to put behind a message, with a space before it, or nothing."""
    near = nearest(word, words)
    return f" Did you mean {near}?" if near else ""
