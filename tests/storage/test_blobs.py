"""Folders of files: stored once, whole or not at all."""

from __future__ import annotations

import shutil

import pytest

from sdar.schemas.errors import InputError, IntegrityError
from sdar.storage import blobs, folder_hash, open_store


@pytest.fixture
def folder(tmp_path):
    inner = tmp_path / "weights" / "tokenizer"
    inner.mkdir(parents=True)
    (inner.parent / "w.bin").write_bytes(bytes(range(256)) * 5000)
    (inner / "t.json").write_text("{}")
    return inner.parent


def test_stored_once_under_its_content(tmp_path, folder):
    store = open_store(tmp_path / "s")
    with store.writer("test"):
        digest = store.put_blob(folder)
        assert store.put_blob(folder) == digest
    assert [path.name for path in (tmp_path / "s" / "blobs").iterdir()] == [digest]
    assert (store.blob(digest) / "tokenizer" / "t.json").read_text() == "{}"
    assert folder_hash(store.blob(digest)) == digest == folder_hash(folder)


def test_a_folder_made_in_the_store_is_taken_as_it_is(tmp_path, folder):
    store = open_store(tmp_path / "s")
    with store.writer("test"):
        with store.scratch() as scratch:
            (scratch / "tokenizer").mkdir()
            for name in ("w.bin", "tokenizer/t.json"):
                (scratch / name).write_bytes((folder / name).read_bytes())
            written = (scratch / "w.bin").stat().st_ino
            digest = store.put_blob(scratch)
        with store.scratch() as unused:
            (unused / "w.bin").write_bytes(b"of a stage that failed")
        with store.scratch() as again:
            (again / "w.bin").write_bytes(b"other")
            second = store.put_blob(again)
    assert digest == folder_hash(folder) == folder_hash(store.blob(digest))
    assert (store.blob(digest) / "w.bin").stat().st_ino == written
    assert {path.name for path in (tmp_path / "s" / "blobs").iterdir()} == {digest, second}
    with pytest.raises(IntegrityError, match="writer"):
        store.scratch()


def test_a_damaged_blob_is_replaced_when_it_is_stored_again(tmp_path, folder):
    store = open_store(tmp_path / "s")
    with store.writer("test"):
        digest = store.put_blob(folder)
        (store.blob(digest) / "w.bin").write_bytes(b"cut off")
        with pytest.raises(IntegrityError, match="--force"):
            store.whole_blob(digest)
        assert store.put_blob(folder) == digest
        assert folder_hash(store.whole_blob(digest)) == digest
    with store.writer("test"):
        assert [path.name for path in (tmp_path / "s" / "blobs").iterdir()] == [digest]


def test_a_blob_that_another_process_stores_at_the_same_moment_is_taken(tmp_path, folder, monkeypatch):
    store, publish = open_store(tmp_path / "s"), blobs._publish

    def publish_after_another(partial, target):
        shutil.copytree(folder, target)
        publish(partial, target)

    monkeypatch.setattr(blobs, "_publish", publish_after_another)
    with store.writer("test"):
        digest = store.put_blob(folder)
    assert [path.name for path in (tmp_path / "s" / "blobs").iterdir()] == [digest]
    assert folder_hash(store.whole_blob(digest)) == digest


def test_hash_depends_on_names_and_bytes(folder):
    before = folder_hash(folder)
    (folder / "w.bin").rename(folder / "v.bin")
    renamed = folder_hash(folder)
    (folder / "v.bin").write_bytes(b"x")
    assert len({before, renamed, folder_hash(folder)}) == 3


def test_a_half_written_blob_is_never_picked_up(tmp_path, folder):
    store = open_store(tmp_path / "s")
    half = tmp_path / "s" / "blobs" / ".partial-killed"
    half.mkdir()
    (half / "w.bin").write_bytes(b"half")
    assert store.verify() == []
    with store.writer("test"):
        assert not half.exists()
        store.put_blob(folder)
    assert store.verify() == []


def test_nothing_to_store_and_nothing_found(tmp_path):
    store = open_store(tmp_path / "s")
    (tmp_path / "empty").mkdir()
    with store.writer("test"):
        for name in ("empty", "missing"):
            with pytest.raises(InputError, match="not a folder with files"):
                store.put_blob(tmp_path / name)
    with pytest.raises(IntegrityError, match="no blob"):
        store.blob("0" * 64)


def test_files_get_the_mode_that_the_umask_gives(tmp_path):
    """Some libraries write files that nobody else may read, whatever the user wants."""
    store = open_store(tmp_path / "s")
    (tmp_path / "usual").touch()
    with store.writer("test"), store.scratch() as scratch:
        (scratch / "w.bin").write_bytes(b"weights")
        (scratch / "w.bin").chmod(0o600)
        digest = store.put_blob(scratch)
    assert (store.blob(digest) / "w.bin").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_damaged_blob_is_refused_where_it_has_to_be_whole(tmp_path, folder):
    store = open_store(tmp_path / "s")
    with store.writer("test"):
        digest = store.put_blob(folder)
    assert store.whole_blob(digest) == store.blob(digest)
    (store.blob(digest) / "w.bin").write_bytes(b"")
    with pytest.raises(IntegrityError, match="differ from those that were stored"):
        store.whole_blob(digest)
