"""What a library consists of: passages, questions, and the search that finds passages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Passage:
    """One text of the corpus; retrieval reads title and text."""

    id: str
    title: str
    text: str

    @property
    def contents(self) -> str:
        """What retrieval reads."""
        return f"{self.title} {self.text}"


@dataclass(frozen=True)
class Question:
    """A question with every answer that counts as right.

    `lookups` are the facts that lead to the answer, as (relation, subject) pairs with an empty subject for
    "what the lookup before found"; only questions of a generated world have them.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    dataset: str
    lookups: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Hit:
    """A passage that a search found; higher scores are better."""

    passage: Passage
    score: float


Search = Callable[[str, int], tuple[Hit, ...]]
"""From a query and a number k to at most k hits, the best first."""
