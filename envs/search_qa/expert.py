"""Demonstrators: one that knows how a generated library is kept, one for libraries of others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdar.envs.search_qa.actions import answer_with, search_for
from sdar.envs.search_qa.episode import Episode
from sdar.envs.search_qa.names import BOOKS
from sdar.envs.search_qa.world import POOLS, RELATIONS, World, card_id


@dataclass
class Expert:
    """Answers a question about a generated world as someone who knows the books of the relations in `knows`.

    The book of another relation is guessed, none twice; in the last of `max_steps` actions the answer is.
    """

    home: World
    episode: Episode
    rng: np.random.Generator
    knows: frozenset[str]
    max_steps: int

    def next_action(self) -> str:
        """Return the next action of a sensible plan from the present state."""
        task, found = self.episode.task, ""
        for relation, name in task.payload["lookups"]:
            subject = name or found
            if card_id(self.home.books[relation], subject) not in self.episode.shown:
                if self.episode.steps >= self.max_steps - 1:
                    return answer_with(self._guess())
                return search_for(f"{relation} {self._book(relation, subject)} {subject}")
            found = self.home.facts[relation, subject]
        return answer_with(task.payload["answers"][0])

    def _book(self, relation: str, subject: str) -> str:
        right = self.home.books[relation]
        seen = {passage.partition(":")[0] for passage in self.episode.shown}
        if relation in self.knows or right in seen:
            return right
        # A book that was seen holds another relation.
        asked = {book for book in BOOKS if f"{relation} {book} {subject}" in self.episode.queries}
        return self._pick([book for book in BOOKS if book not in seen | asked] or BOOKS)

    def _guess(self) -> str:
        lookups = self.episode.task.payload["lookups"]
        if self.episode.task.type == "comparison":
            return self._pick([subject for _, subject in lookups])
        return self._pick(POOLS[RELATIONS[lookups[-1][0]].value])

    def _pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]


@dataclass
class Reader:
    """Searches for the question itself and then gives the first gold answer, whatever was found."""

    episode: Episode

    def next_action(self) -> str:
        """Return the next action."""
        if not self.episode.queries:
            return search_for(self.episode.task.goal)
        return answer_with(self.episode.task.payload["answers"][0])
