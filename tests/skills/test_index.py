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


def unit_rows(n: int, seed: int = 0, d: int = 16) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def names(n: int, seed: int = 0) -> list[str]:
    return [f"{number:04d}" for number in np.random.default_rng(seed + 1).permutation(n)]


def found(index: SkillIndex, query: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
    return [(index.ids[hit.position], hit.score) for hit in index.search(query, k)]


@pytest.mark.parametrize("limit", [1000, 90, 40], ids=["flat", "becomes cells", "cells"])
def test_adding_equals_building_anew(limit: int) -> None:
    rows, ids = unit_rows(120), names(120)
    whole = SkillIndex.build(rows, ids, limit)
    before = SkillIndex.build(rows[:70], ids[:70], limit)
    grown = before.add(rows[70:100], ids[70:100], limit).add(rows[100:], ids[100:], limit)
    assert (grown.kind, grown.ids) == (whole.kind, whole.ids)
    np.testing.assert_array_equal(grown.vectors(), rows)
    for query in unit_rows(10, seed=5):
        assert found(grown, query, 7) == found(whole, query, 7)
    assert len(before.ids) == before.faiss.ntotal == 70


@pytest.mark.parametrize("limit", [1000, 40], ids=["flat", "cells"])
def test_the_order_of_the_bank_does_not_matter(limit: int) -> None:
    rows, ids = unit_rows(120), names(120)
    shuffled = np.random.default_rng(3).permutation(120)
    other = SkillIndex.build(rows[shuffled], [ids[at] for at in shuffled], limit)
    index = SkillIndex.build(rows, ids, limit)
    for query in unit_rows(10, seed=5):
        assert found(index, query, 5) == found(other, query, 5)


def test_cells_find_most_of_what_is_nearest_and_score_it_alike() -> None:
    # 40 clusters of 25: what is near lies in one cell, as in a bank about a few subjects.
    centres = unit_rows(40, d=32)
    rows = np.repeat(centres, 25, axis=0) + 0.3 * unit_rows(1000, seed=1, d=32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    exact, cells = SkillIndex.build(rows, names(1000)), SkillIndex.build(rows, names(1000), 500)
    assert (exact.kind, cells.kind) == ("flat", "cells")
    shared = 0
    for query in rows[::50]:
        right, got = dict(found(exact, query, 10)), dict(found(cells, query, 10))
        shared += len(right.keys() & got.keys())
        assert all(abs(right[name] - got[name]) < 2e-6 for name in right.keys() & got.keys())
    assert shared >= 0.95 * 10 * 20


def test_a_search_for_much_of_the_bank_looks_into_all_cells() -> None:
    rows, ids = unit_rows(200), names(200)
    exact, cells = SkillIndex.build(rows, ids), SkillIndex.build(rows, ids, 100)
    query = unit_rows(1, seed=9)[0]
    assert [name for name, _ in found(cells, query, 200)] == [name for name, _ in found(exact, query, 200)]


def test_ties_at_the_cut_of_cells_are_broken_by_id() -> None:
    rows, ids = unit_rows(300), names(300)
    rows[::10] = rows[0]  # 30 equal ones, of which 4 have a place
    cells = SkillIndex.build(rows, ids, 100)
    assert [name for name, _ in found(cells, rows[0], 4)] == sorted(ids[::10])[:4]


def test_what_cannot_be_added_is_refused() -> None:
    index = SkillIndex.build(vectors([[1, 0]]), ["a"])
    with pytest.raises(IntegrityError, match=r"shape \(1, 3\) to an index of dimension 2.*--rebuild"):
        index.add(vectors([[1, 0, 0]]), ["b"])
    with pytest.raises(IntegrityError, match="2 skills with 1 different ids"):
        index.add(vectors([[0, 1]]), ["a"])
    with pytest.raises(IntegrityError, match="2 skills with 1 different ids"):
        SkillIndex.build(vectors([[1, 0], [0, 1]]), ["a", "a"])
