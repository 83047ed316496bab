from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar.schemas.errors import InputError
from sdar.skills.embedders.tfidf import TfidfEmbedder
from sdar.skills.text import fold_plural, words


@pytest.mark.parametrize(
    ("singular", "plural"),
    [
        ("cup", "cups"),
        ("glass", "glasses"),
        ("knife", "knives"),
        ("shelf", "shelves"),
        ("peach", "peaches"),
        ("tomato", "tomatoes"),
        ("vase", "vases"),
        ("statue", "statues"),
        ("cheese", "cheeses"),
        ("box", "boxes"),
        ("shoe", "shoes"),
        ("stove", "stoves"),
        ("dish", "dishes"),
    ],
)
def test_a_plural_meets_its_singular(singular: str, plural: str) -> None:
    assert fold_plural(singular) == fold_plural(plural)


def test_folding_keeps_different_things_apart() -> None:
    things = ["glass", "gas", "pan", "pen", "pot", "potato", "bus", "bowl", "book", "cup", "shelf", "sofa"]
    assert len({fold_plural(thing) for thing in things}) == len(things)


def test_words_drop_stop_words_but_keep_what_a_task_is_about() -> None:
    assert words("Find two CUPS, and put them in the cabinet!") == ["find", "two", "cup", "put", "cabinet"]


def test_weights_by_hand() -> None:
    # Three texts; "red" is in two, "cup" and the pair "red cup" in one each.
    # Smoothed idf: ln((1 + 3) / (1 + df)) + 1.
    embedder = TfidfEmbedder.fit(["red cup", "red pan", "green tea"])
    vector = embedder.embed(["red cup"])[0]
    common, rare = math.log(4 / 3) + 1, math.log(4 / 2) + 1
    norm = math.sqrt(common**2 + 2 * rare**2)
    assert sorted(vector[vector > 0]) == pytest.approx(
        sorted([common / norm, rare / norm, rare / norm]), abs=1e-6
    )


def test_unknown_words_give_zero_vectors_and_no_texts_give_no_rows() -> None:
    embedder = TfidfEmbedder.fit(["red cup", "green tea"])
    assert not embedder.embed(["zebra", "the"]).any()
    assert embedder.embed([]).shape == (0, embedder.dimension)


@pytest.mark.parametrize("texts", [[], ["the of and"], [""]])
def test_a_bank_without_words_is_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="no words in them except stop words"):
        TfidfEmbedder.fit(texts)


TEXTS = st.lists(
    st.lists(st.sampled_from(["cup", "pan", "red", "tea", "green"]), min_size=1).map(" ".join), min_size=1
)


@settings(max_examples=30)
@given(TEXTS)
def test_unit_rows_that_do_not_depend_on_the_order_of_the_bank(texts: list[str]) -> None:
    vectors = TfidfEmbedder.fit(texts).embed(texts)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    again = TfidfEmbedder.fit(texts[::-1]).embed(texts)
    np.testing.assert_array_equal(again, vectors)


def test_a_repeated_word_counts_by_the_logarithm_of_its_count() -> None:
    # cup is there twice, pan once, each pair once, and every term is in one text: tf 1 + ln 2 against 1.
    embedder = TfidfEmbedder.fit(["cup pan cup", "tea"])
    vector = embedder.embed(["cup pan cup"])[0]
    assert vector.max() / vector[vector > 0].min() == pytest.approx(1 + math.log(2), abs=1e-5)
