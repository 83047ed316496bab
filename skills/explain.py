"""Why a goal finds a skill: the terms that both have, what each adds to the score, and ranks of the parts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sdar.schemas.config import SkillsConfig
from sdar.schemas.records import Skill
from sdar.skills.bm25 import word_weights
from sdar.skills.retrieval import RetrievedSkillHit
from sdar.skills.similarity import Similarity
from sdar.skills.strategies import STRATEGIES, Bank, Query, fusion_parts
from sdar.skills.text import match_text, words

_COSINE, _BM25 = "embedding", "keyword"


@dataclass(frozen=True)
class Explanation:
    """Why one skill was found.

    `shared` are the goal's words that the skill's name and description have too. `weights` has, by part of
    the score, what each shared term adds to that part: their sum is the cosine similarity (`embedding`, for
    `tfidf` vectors only) or the BM25 score (`keyword`). `ranks` has, for `hybrid`, the rank in each part from
    1, None where the part did not find the skill.
    """

    shared: tuple[str, ...]
    weights: Mapping[str, Mapping[str, float]]
    ranks: Mapping[str, int | None]


def explain(
    hits: Sequence[RetrievedSkillHit],
    skills: Sequence[Skill],
    query: Query,
    config: SkillsConfig,
    similarity: Similarity | None = None,
) -> list[Explanation]:
    """Return why each hit was found.

    Args:
        hits: what a retriever over `skills` found for the query.
        skills: the bank.
        query: the task's goal and type.
        config: the retriever's settings.
        similarity: over the same skills, as for the retriever; None embeds the bank now.
    """
    if not hits:
        return []
    parts = _weights(skills, query.goal, config)
    ranks = _ranks(Bank(tuple(skills), config, similarity=similarity), query)
    return [
        Explanation(
            shared=tuple(shared_words(query.goal, hit.skill)),
            weights={part: weights[hit.skill.id] for part, weights in parts.items()},
            ranks={part: found.get(hit.skill.id) for part, found in ranks.items()},
        )
        for hit in hits
    ]


def shared_words(goal: str, skill: Skill) -> list[str]:
    """Return the words of a goal that the text of a skill has too, plurals and stop words set aside."""
    known = set(words(match_text(skill)))
    return [word for word in dict.fromkeys(re.findall(r"\w+", goal.lower())) if known & set(words(word))]


def similarity_terms(skills: Sequence[Skill], goal: str) -> dict[str, dict[str, float]]:
    """Return, by skill id, what each shared word or pair of words adds to the TF-IDF cosine similarity."""
    from sdar.skills.embedders.tfidf import TfidfEmbedder

    texts = [match_text(skill) for skill in skills]
    vectorizer = TfidfEmbedder.fit(texts).vectorizer
    products = vectorizer.transform(texts).multiply(vectorizer.transform([goal])).tocsr()
    names, shown = vectorizer.get_feature_names_out(), _as_written(goal)
    terms: dict[str, dict[str, float]] = {}
    for position, skill in enumerate(skills):
        row = products[position]
        found = {shown[names[at]]: float(value) for at, value in zip(row.indices, row.data, strict=True)}
        terms[skill.id] = _largest_first(found)
    return terms


def keyword_terms(skills: Sequence[Skill], goal: str) -> dict[str, dict[str, float]]:
    """Return, by skill id, what each shared word adds to the BM25 score."""
    weights = word_weights([match_text(skill) for skill in skills])
    terms: dict[str, dict[str, float]] = {skill.id: {} for skill in skills}
    for folded, written in _as_written(goal).items():
        for position, weight in weights.get(folded, {}).items():
            terms[skills[position].id][written] = weight
    return {skill_id: _largest_first(found) for skill_id, found in terms.items()}


def _weights(
    skills: Sequence[Skill], goal: str, config: SkillsConfig
) -> dict[str, dict[str, dict[str, float]]]:
    strategy = STRATEGIES[config.strategy]
    parts = {}
    # A neural embedder has no terms whose weights add up to the score.
    if strategy.similar and config.embedder == "tfidf":
        parts[_COSINE] = similarity_terms(skills, goal)
    if config.strategy in ("keyword", "hybrid"):
        parts[_BM25] = keyword_terms(skills, goal)
    return parts


def _ranks(bank: Bank, query: Query) -> dict[str, dict[str, int]]:
    if bank.config.strategy != "hybrid":
        return {}
    return {
        name: {bank.skills[hit.position].id: rank for rank, hit in enumerate(part(query), 1)}
        for name, part in fusion_parts(bank).items()
    }


def _as_written(goal: str) -> dict[str, str]:
    """Return the goal's words and pairs of neighbours as it writes them, by the key that retrieval uses."""
    written = [word for word in re.findall(r"\w+", goal.lower()) if words(word)]
    keys = [words(word)[0] for word in written]
    pairs = {
        f"{keys[at]} {keys[at + 1]}": f"{written[at]} {written[at + 1]}" for at in range(len(written) - 1)
    }
    return pairs | dict(zip(keys, written, strict=True))


def _largest_first(terms: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(terms.items(), key=lambda item: (-item[1], item[0])))
