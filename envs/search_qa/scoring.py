"""Exact match and F1 of an answer, by the rules of SQuAD."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalise(text: str) -> str:
    """Return a text in lower case, without ASCII punctuation, articles and superfluous blanks.

    Unicode is composed first (NFC), so that one text in two encodings is one text; SQuAD's script, which
    saw ASCII nearly always, leaves that out. Typographic punctuation stays, as there. Of an answer that has
    articles or punctuation alone, such as `A` or `?`, SQuAD's script leaves nothing, so that it equals every
    other such answer and an empty one; here they stay then.

    Source: Rajpurkar et al. (2016), arXiv 1606.05250, `normalize_answer` of the official evaluation.
    """
    whole = unicodedata.normalize("NFC", text.lower())
    plain = whole.translate(_PUNCTUATION)
    words = _ARTICLES.sub(" ", plain).split() or plain.split() or whole.split()
    return " ".join(words)


def exact_match(answer: str, golds: Sequence[str]) -> bool:
    """Say whether an answer equals one of the gold answers after normalisation."""
    return normalise(answer) in {normalise(gold) for gold in golds}


def f1(answer: str, golds: Sequence[str]) -> float:
    """Return the best F1 over the gold answers, in [0, 1]: harmonic mean of precision and recall of words.

    Words are counted after normalisation, each as often as it occurs. Where the answer or a gold answer has
    no word, F1 is 1 if both have none and 0 otherwise.

    Args:
        answer: what was answered.
        golds: at least one right answer.

    Source: as `normalise`; answers without words as in SQuAD 2.0, arXiv 1806.03822.
    """
    return max(_f1(normalise(answer).split(), normalise(gold).split()) for gold in golds)


def _f1(answer: Sequence[str], gold: Sequence[str]) -> float:
    if not answer or not gold:
        return float(answer == gold)
    shared = (Counter(answer) & Counter(gold)).total()
    return 2 * shared / (len(answer) + len(gold))
