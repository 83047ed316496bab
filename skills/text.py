"""What retrieval reads: the text of a skill that goals are compared with, and the words in it that count."""

from __future__ import annotations

import re

from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from sdar.schemas.records import Skill

TEXT_RULE = "name and description"
"""What `match_text` takes of a skill, stored with the vectors that were made from it."""

# The stock list drops words that say what a task is about.
STOP_WORDS = ENGLISH_STOP_WORDS - {"find", "found", "move", "put", "show", "two", "three"}

_WORD = re.compile(r"\w+")


def match_text(skill: Skill) -> str:
    """Return the text of a skill that goals are compared with: its name and description, not its body.

    A body names places as facts ("kept in cabinet 3"), and a goal names places as destinations ("put it
    in the cabinet"): matching the two would find the wrong facts.
    """
    return f"{skill.name} {skill.description}"


def words(text: str) -> list[str]:
    """Return the words of a text that count for similarity: lower case, no stop words, plurals folded."""
    return [fold_plural(word) for word in _WORD.findall(text.lower()) if word not in STOP_WORDS]


def fold_plural(word: str) -> str:
    """Return a key that an English noun shares with its regular plural; not always a word itself.

    Args:
        word: one lower-case word.
    """
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = re.sub(r"(?<=ch|sh|ss)es$|(?<=[xzo])es$|s$", "", word)
    # Where knife meets knives, glove gloves, and shoe shoes.
    return re.sub(r"oe$", "o", re.sub(r"[fv]e$", "f", word))
