"""Nearest skills to a text: an embedder, and the index of a bank's vectors that it made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sdar.schemas.records import Skill
from sdar.skills.embedding import Embedder
from sdar.skills.index import Hit, SkillIndex
from sdar.skills.text import match_text


@dataclass(frozen=True)
class Similarity:
    """A bank that can be asked for the skills nearest to a text.

    `order` says which position in the bank each row of the index has.
    """

    embedder: Embedder
    index: SkillIndex
    order: tuple[int, ...]

    @classmethod
    def over(cls, embedder: Embedder, index: SkillIndex, skills: Sequence[Skill]) -> Similarity:
        """Return the similarity of a bank to whose skills, in another order or not, the index belongs."""
        position = {skill.id: at for at, skill in enumerate(skills)}
        return cls(embedder, index, tuple(position[skill_id] for skill_id in index.ids))

    def nearest(self, text: str, k: int) -> list[Hit]:
        """Return the best min(k, n) skills by cosine similarity, with their positions in the bank."""
        hits = self.index.search(self.embedder.embed([text])[0], k)
        return [Hit(self.order[hit.position], hit.score) for hit in hits]


def embed_bank(skills: Sequence[Skill], embedder: Embedder) -> Similarity:
    """Return the similarity of a bank whose skills are all embedded now."""
    vectors = embedder.embed([match_text(skill) for skill in skills])
    return Similarity.over(embedder, SkillIndex.build(vectors, [skill.id for skill in skills]), skills)


def refresh_index(index: SkillIndex, skills: Sequence[Skill], embedder: Embedder) -> SkillIndex:
    """Return the index of a changed bank; only skills that the old index lacks are embedded.

    Args:
        index: of the bank as it was, from the same embedder.
        skills: the bank as it is.
        embedder: must not depend on the bank, so not `tfidf`, unless the bank is the same.
    """
    known, wanted = set(index.ids), {skill.id for skill in skills}
    new = [skill for skill in skills if skill.id not in known]
    vectors = embedder.embed([match_text(skill) for skill in new])
    if known <= wanted:
        return index.add(vectors, [skill.id for skill in new]) if new else index
    kept = [at for at, skill_id in enumerate(index.ids) if skill_id in wanted]
    everything = np.concatenate([index.vectors()[kept], vectors])
    return SkillIndex.build(everything, [*(index.ids[at] for at in kept), *(skill.id for skill in new)])
