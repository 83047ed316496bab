"""How a library is kept, and how to use one, when somebody writes it down: the text of skills."""

from __future__ import annotations

import numpy as np

from sdar.envs.search_qa.questions import DATASETS
from sdar.envs.search_qa.world import RELATIONS, World
from sdar.schemas.seeds import generator

# A relation stands shortly before its book: a small model copies what follows a name most easily.
FACT_PHRASES = (
    "Of every {subject} the {relation} is in the {book}.",
    "For any {subject} look up the {relation} in the {book}.",
    "If you want a {subject}'s {relation}, open the {book}.",
    "Any {subject}'s {relation} stands in the {book}.",
)
GENERAL = (
    "Search for what you want to know, the name of its book, and the name that you ask about.",
    "A search for a name without its book finds only the index and the gallery, which tell nothing.",
    "If the first passage is not from the book that you named, that book does not have it: try another.",
    "In a question of two steps start with the name in it, then search for what you found.",
    "To compare two names, search for the first, then for the second in the same book.",
    "Of two names the one with the smaller year is the earlier one. Answer with that name.",
    "Answer with the last name in the passage that you searched for, and with nothing else.",
    "Never ask the same thing twice. Four actions are all that you have, and the last is the answer.",
)


def fact_sentence(home: World, relation: str, rng: np.random.Generator) -> str:
    """Return one convention of a library as a sentence whose wording is drawn from `rng`.

    Args:
        home: the world whose library it is.
        relation: what the sentence tells the book of.
        rng: decides the wording.
    """
    return FACT_PHRASES[int(rng.integers(len(FACT_PHRASES)))].format(
        relation=relation, subject=RELATIONS[relation].subject, book=home.books[relation]
    )


def handbook(home: World) -> dict[str, str]:
    """Return the conventions of a library as SKILL.md texts by skill name, worded from the world's number."""
    rng = generator(home.number, "search_qa", "handbook")
    return {
        skill_name(relation): skill_text(relation, fact_sentence(home, relation, rng))
        for relation in RELATIONS
    }


def skill_name(relation: str) -> str:
    """Return the name of the skill that tells a relation's book."""
    return "book-of-" + relation.replace(" ", "-")


def skill_text(relation: str, sentence: str) -> str:
    """Return the SKILL.md of a convention, said in one sentence."""
    chained = [name for name in DATASETS if name != "comparison"]
    datasets = ", ".join(DATASETS if RELATIONS[relation].value == "year" else chained)
    return (
        f"---\nname: {skill_name(relation)}\n"
        f"description: Which book has the {relation} of a {RELATIONS[relation].subject}.\nmetadata:\n"
        f"  environment: search_qa\n  task_types: [{datasets}]\n---\n{sentence}\n"
    )
