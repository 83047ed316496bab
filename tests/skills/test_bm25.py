from __future__ import annotations

import pytest

from sdar.skills.bm25 import score_texts, word_weights

TEXTS = ["apple, apple and pear", "a pear and a plum", "fig"]


def test_scores_by_hand() -> None:
    """Lengths 3, 2 and 1, mean 2, without stop words; `pear` is in two of three texts, the rest in one.

    Rarity: apple ln(1 + 2.5/1.5) = 0.980829, pear ln(1 + 1.5/2.5) = 0.470004. Text 0 has the damping
    1.2 * (0.25 + 0.75 * 3/2) = 1.65, text 1 has 1.2: apple counts 2 * 2.2 / (2 + 1.65) = 1.205479 in text 0,
    pear 2.2 / 2.65 = 0.830189 in text 0 and 2.2 / 2.2 = 1 in text 1.
    """
    scores = score_texts(word_weights(TEXTS), "two apples or the pears")
    assert scores == pytest.approx({0: 1.182369 + 0.390192, 1: 0.470004}, abs=2e-6)


def test_a_word_of_the_query_counts_once_and_unknown_words_not_at_all() -> None:
    weights = word_weights(TEXTS)
    assert score_texts(weights, "pear pear pears kiwi") == score_texts(weights, "pear")
    assert score_texts(weights, "kiwi") == {}


def test_a_word_that_all_texts_hold_still_counts() -> None:
    assert score_texts(word_weights(["pear", "pear"]), "pear") == pytest.approx(
        {0: 0.182322, 1: 0.182322}, abs=1e-6
    )


def test_no_texts_and_texts_without_words_are_never_found() -> None:
    assert score_texts(word_weights([]), "pear") == {}
    assert score_texts(word_weights(["the", "pear"]), "the pear").keys() == {1}
