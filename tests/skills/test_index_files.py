"""An index in a folder: read back as it was, brought up to date, and refused where it does not fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from sdar.schemas.errors import IntegrityError
from sdar.schemas.records import Skill
from sdar.skills.embedders.tfidf import TfidfEmbedder
from sdar.skills.files import builtin_skills
from sdar.skills.index import SkillIndex
from sdar.skills.index_files import CARD, IDS, INDEX, load_index, save_index
from sdar.skills.similarity import Similarity, embed_bank, refresh_index
from sdar.skills.text import TEXT_RULE, match_text

BANK = builtin_skills("household")
EMBEDDER = TfidfEmbedder.fit([match_text(skill) for skill in BANK])
REBUILD = "sdar skills index --rebuild"
GOALS = ["put two cups on the shelf", "heat an egg", "the of", "a"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_index(tmp_path, embed_bank(BANK, EMBEDDER).index, EMBEDDER)
    return tmp_path


def load(folder: Path, bank: list[Skill] = BANK, embedder: TfidfEmbedder = EMBEDDER) -> SkillIndex:
    return load_index(folder, embedder, REBUILD, [skill.id for skill in bank])


def test_read_back_it_finds_the_same_with_the_same_scores(folder: Path) -> None:
    direct, stored = embed_bank(BANK, EMBEDDER), load(folder)
    np.testing.assert_array_equal(stored.vectors(), direct.index.vectors())
    for goal in GOALS:
        assert Similarity.over(EMBEDDER, stored, BANK).nearest(goal, 6) == direct.nearest(goal, 6)


def test_positions_are_those_of_the_bank_whatever_its_order(folder: Path) -> None:
    turned = BANK[::-1]
    for goal in GOALS:
        here = Similarity.over(EMBEDDER, load(folder), turned).nearest(goal, 6)
        there = Similarity.over(EMBEDDER, load(folder), BANK).nearest(goal, 6)
        assert [turned[hit.position].id for hit in here] == [BANK[hit.position].id for hit in there]


def test_the_card_says_whose_vectors_these_are_and_bytes_repeat(folder: Path, tmp_path: Path) -> None:
    card = json.loads((folder / CARD).read_text())
    assert card | {"faiss": ""} == {
        "embedder": "tfidf", "fingerprint": EMBEDDER.fingerprint, "dimension": EMBEDDER.dimension,
        "normalised": True, "text": TEXT_RULE, "skills": 26, "kind": "flat", "faiss": "",
    }  # fmt: skip
    save_index(tmp_path / "again", load(folder), EMBEDDER)
    for name in (INDEX, IDS, CARD):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_cells_are_read_back(tmp_path: Path) -> None:
    skills = embed_bank(BANK, EMBEDDER).index
    cells = SkillIndex.build(skills.vectors(), skills.ids, approximate_from=20)
    save_index(tmp_path, cells, EMBEDDER)
    stored = load(tmp_path)
    assert stored.kind == "cells"
    query = EMBEDDER.embed([GOALS[0]])[0]
    assert stored.search(query, 3) == cells.search(query, 3)
    np.testing.assert_array_equal(stored.vectors(), cells.vectors())


def test_another_embedder_is_refused_with_the_command(folder: Path) -> None:
    other = TfidfEmbedder.fit(["red cup"])
    with pytest.raises(
        IntegrityError, match=r"made by the embedder 'tfidf'.*fingerprint.*dimension.*--rebuild"
    ):
        load(folder, embedder=other)
    with pytest.raises(IntegrityError, match="cannot be compared: it has fingerprint"):
        load(folder, embedder=replace(EMBEDDER, fingerprint="0" * 64))


def test_another_bank_is_refused(folder: Path) -> None:
    changed = [BANK[0].model_copy(update={"id": "f" * 16}), *BANK[1:]]
    with pytest.raises(IntegrityError, match=r"1 skill\(s\) are missing in it, and 1 are in it only"):
        load(folder, changed)


@pytest.mark.parametrize("name", [INDEX, IDS, CARD])
@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_damage_is_noticed(folder: Path, name: str, damage: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).unlink()
    if damage == "cut":
        (folder / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(IntegrityError, match=r"damaged.*Rebuild it with `sdar skills index --rebuild`"):
        load(folder)


def test_a_changed_text_rule_is_refused(folder: Path) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | {"text": "body"}))
    with pytest.raises(IntegrityError, match="text 'body', not 'name and description'"):
        load(folder)


class CountingEmbedder(TfidfEmbedder):
    """The real one, which notes what it is asked for."""

    asked: ClassVar[list[str]] = []

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.extend(texts)
        return super().embed(texts)


@pytest.mark.parametrize("removed", [0, 3])
def test_only_new_skills_are_embedded(removed: int) -> None:
    embedder = CountingEmbedder(EMBEDDER.vectorizer, EMBEDDER.fingerprint)
    old = embed_bank(BANK[:20], EMBEDDER).index
    embedder.asked.clear()
    bank = BANK[removed:]
    index = refresh_index(old, bank, embedder)
    assert embedder.asked == [match_text(skill) for skill in BANK[20:]]
    fresh = embed_bank(bank, EMBEDDER)
    for goal in GOALS:
        assert Similarity.over(EMBEDDER, index, bank).nearest(goal, 6) == fresh.nearest(goal, 6)


def test_an_unchanged_bank_keeps_its_index() -> None:
    old = embed_bank(BANK, EMBEDDER).index
    assert refresh_index(old, BANK[::-1], EMBEDDER) is old
