from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sdar.schemas.errors import IntegrityError
from sdar.skills.index import Hit, SkillIndex


def vectors(rows: list[list[float]]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32)


def test_hits_by_hand() -> None:
    index = SkillIndex.build(vectors([[1, 0], [0.6, 0.8], [0, 1]]), ["a", "b", "c"])
    assert index.search(vectors([[0.8, 0.6]])[0], 2) == [Hit(1, 0.96), Hit(0, 0.8)]


def test_k_above_the_size_returns_everything_once() -> None:
    index = SkillIndex.build(vectors([[1, 0], [0, 1]]), ["a", "b"])
    assert [hit.position for hit in index.search(vectors([[0, 1]])[0], 50)] == [1, 0]


def test_an_empty_bank_has_no_hits() -> None:
    index = SkillIndex.build(np.zeros((0, 3), dtype=np.float32), [])
    assert index.search(np.ones(3, dtype=np.float32), 4) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_the_threads_of_torch_are_left_alone(threads: int) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        index = SkillIndex.build(vectors([[1, 0], [0, 1]]), ["a", "b"])
        index.search(vectors([[0, 1]])[0], 1)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


# Few distinct vectors make ties the rule; a permutation of the ids decides among them.
TIED = st.lists(st.sampled_from([(1.0, 0.0), (0.0, 1.0), (0.6, 0.8)]), min_size=1, max_size=60)


@settings(max_examples=60)
@given(TIED, st.integers(1, 20), st.integers(0, 2**16))
def test_ties_are_broken_by_id_and_none_is_lost(rows: list[tuple[float, float]], k: int, seed: int) -> None:
    ids = [f"{number:03d}" for number in np.random.default_rng(seed).permutation(len(rows))]
    bank, query = np.array(rows, dtype=np.float32), np.array([0.6, 0.8], dtype=np.float32)
    exact = np.round((bank @ query).astype(np.float64), 6)
    expected = sorted(range(len(rows)), key=lambda at: (-exact[at], ids[at]))[:k]
    hits = SkillIndex.build(bank, ids).search(query, k)
    assert [hit.position for hit in hits] == expected
    np.testing.assert_allclose([hit.score for hit in hits], exact[expected], atol=1e-6)


@settings(max_examples=20)
@given(st.integers(1, 40), st.integers(1, 10), st.integers(0, 2**16))
def test_same_hits_as_a_full_sort(n: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bank = rng.standard_normal((n, 8)).astype(np.float32)
    bank /= np.linalg.norm(bank, axis=1, keepdims=True)
    query = bank[0]
    hits = SkillIndex.build(bank, [f"{at:03d}" for at in range(n)]).search(query, k)
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(bank @ query)[::-1][:k], atol=1e-6)
    assert hits[0].position == 0


def test_what_does_not_fit_is_refused() -> None:
    index = SkillIndex.build(vectors([[1, 0]]), ["a"])
    with pytest.raises(IntegrityError, match=r"shape \(3,\), the index holds vectors of dimension 2"):
        index.search(np.ones(3, dtype=np.float32), 1)
    with pytest.raises(IntegrityError, match="NaN or infinity"):
        index.search(vectors([[np.nan, 0]])[0], 1)
    with pytest.raises(IntegrityError, match="NaN or infinity"):
        SkillIndex.build(vectors([[np.inf, 0]]), ["a"])
    with pytest.raises(IntegrityError, match=r"shape \(1, 2\) for 2 skills"):
        SkillIndex.build(vectors([[1, 0]]), ["a", "b"])
