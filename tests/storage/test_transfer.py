"""Export and import: equal content, all or nothing; migrations of stored files."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from store_samples import episode, filled, leave_log, policy, run, same, stage

from sdar.schemas.errors import InputError, IntegrityError
from sdar.storage import import_store, open_store
from sdar.storage.migrate import CURRENT_VERSION, MIGRATIONS

VERSION_1 = Path(__file__).parent / "data" / "version1.duckdb"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A store with a blob and a pin in `store`, and its export in `out`."""
    path = tmp_path_factory.mktemp("template")
    store = filled(path / "store")
    (path / "weights").mkdir()
    (path / "weights" / "w.bin").write_bytes(bytes(range(256)))
    with store.writer("test"):
        digest = store.put_blob(path / "weights")
        store.commit(stage("update"), "policy", {"policy": [policy()]}, blob=digest)
        store.pin("p0")
    manifest = store.export(path / "out")
    assert manifest.tables["episode"] == 2
    assert manifest.blobs == (digest,)
    return path


@pytest.fixture
def exported(tmp_path, template):
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    return open_store(tmp_path / "store")


def test_an_import_over_an_empty_store_whose_making_was_killed(tmp_path, exported):
    new = tmp_path / "new"
    open_store(new)
    leave_log(new / "store.duckdb")
    import_store(tmp_path / "out", new)
    assert open_store(new).verify() == []


def test_an_import_removes_what_a_killed_one_left(tmp_path, exported):
    left = tmp_path / "new" / "blobs" / ".partial-0"
    left.mkdir(parents=True)
    manifest = import_store(tmp_path / "out", tmp_path / "new")
    assert [each.name for each in (tmp_path / "new" / "blobs").iterdir()] == [*manifest.blobs]


def test_a_store_comes_back_equal(tmp_path, exported):
    manifest = import_store(tmp_path / "out", tmp_path / "new")
    copy = open_store(tmp_path / "new", read_only=True)
    assert copy.verify() == []
    for name in set(manifest.tables) - {"_migration"}:
        everything = f'FROM "{name}"'
        assert copy.query(everything).equals(exported.query(everything)), name
    assert copy.stage_runs("r1") == exported.stage_runs("r1")
    collected = copy.find("key-collect")
    assert same(copy.episodes(collected.id), [episode("e1"), episode("e2", success=False)])
    assert (copy.blob(manifest.blobs[0]) / "w.bin").read_bytes() == bytes(range(256))
    with open_store(tmp_path / "new").writer("test"):
        pass
    assert copy.query("SELECT count(*) FROM token_gap")[0][0].as_py() == 6


def test_every_table_is_parquet(tmp_path, exported):
    files = {file.stem: pq.read_metadata(file).num_rows for file in (tmp_path / "out" / "tables").iterdir()}
    assert files == json.loads((tmp_path / "out" / "manifest.json").read_text())["tables"]
    assert files["turn"] == 4


def test_import_into_a_store_that_is_empty_only(tmp_path, exported):
    empty = open_store(tmp_path / "empty")
    with empty.writer("test"):
        pass
    assert empty.query("FROM run").num_rows == 0
    import_store(tmp_path / "out", tmp_path / "empty")
    assert open_store(tmp_path / "empty", read_only=True).query("FROM run").num_rows == 1
    with pytest.raises(InputError, match="already has 1 runs"):
        import_store(tmp_path / "out", tmp_path / "empty")
    with pytest.raises(InputError, match="is not empty"):
        exported.export(tmp_path / "out")


def test_nothing_stays_of_an_export_that_failed(tmp_path, exported):
    target = tmp_path / "again"
    (blob,) = (exported.path / "blobs").iterdir()
    content = (blob / "w.bin").read_bytes()
    (blob / "w.bin").write_bytes(b"damaged")
    with pytest.raises(IntegrityError, match="differ from its hash"):
        exported.export(target)
    assert not target.exists()
    target.mkdir()
    with pytest.raises(IntegrityError, match="differ from its hash"):
        exported.export(target)
    assert list(target.iterdir()) == []
    (blob / "w.bin").write_bytes(content)
    exported.export(target)
    assert (target / "manifest.json").read_bytes() == (tmp_path / "out" / "manifest.json").read_bytes()


def test_an_export_that_was_killed_is_told_from_other_files(tmp_path, exported):
    (tmp_path / "out" / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"is not empty.*remove it and repeat"):
        exported.export(tmp_path / "out")


def test_what_was_changed_is_not_imported(tmp_path, exported):
    out, table = tmp_path / "out", tmp_path / "out" / "tables" / "turn.parquet"
    original = table.read_bytes()
    changed = pq.read_table(table).to_pylist()
    changed[0]["action"] = "something else"
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * REPLACE ('x' AS action) FROM '{table}') TO '{tmp_path / 'changed.parquet'}'"
        )
    shutil.copy(tmp_path / "changed.parquet", table)
    with pytest.raises(IntegrityError, match="its rows differ from those that were stored"):
        import_store(out, tmp_path / "new")
    table.write_bytes(original)
    pq.write_table(pq.read_table(table).slice(0, 3), table)
    with pytest.raises(IntegrityError, match="table turn has 3 of 4 rows"):
        import_store(out, tmp_path / "new")
    table.unlink()
    with pytest.raises(InputError, match=r"turn\.parquet is missing"):
        import_store(out, tmp_path / "new")
    table.write_bytes(original)
    (blob,) = (out / "blobs").iterdir()
    (blob / "w.bin").write_bytes(b"damaged")
    with pytest.raises(IntegrityError, match="differ from its hash"):
        import_store(out, tmp_path / "new")
    assert not (tmp_path / "new" / "store.duckdb").exists()
    assert list((tmp_path / "new").glob(".partial*")) == []
    (out / "manifest.json").unlink()
    with pytest.raises(InputError, match="no whole export"):
        import_store(out, tmp_path / "new")


def test_a_newer_export_is_refused(tmp_path, exported):
    manifest = tmp_path / "out" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "schema_version": 99}))
    with pytest.raises(IntegrityError, match="schema version 99"):
        import_store(tmp_path / "out", tmp_path / "new")


def version_1(folder):
    folder.mkdir()
    shutil.copy(VERSION_1, folder / "store.duckdb")
    return folder


def test_a_stored_file_of_version_1_is_upgraded(tmp_path):
    reader = open_store(version_1(tmp_path / "old"), read_only=True)
    assert reader.schema_version() == 1
    assert reader.query("SELECT count(*) FROM token_gap")[0][0].as_py() == 6
    store = open_store(tmp_path / "old")
    assert store.schema_version() == CURRENT_VERSION
    applied = store.query("SELECT version FROM _migration ORDER BY version")["version"].to_pylist()
    assert applied == list(range(1, CURRENT_VERSION + 1))
    assert store.verify() == []
    assert store.runs() == [run()]
    collected = next(found for found in store.stage_runs("r1") if found.stage == "collect")
    assert same(store.episodes(collected.artifact_id), [episode("e1"), episode("e2", success=False)])
    with store.writer("test"):
        store.commit(stage("collect", round=2), "episodes", {"episode": [episode("e3")]})
        assert store.prune().removed == ()
    assert store.verify() == []


def test_an_older_store_can_be_read_verified_and_exported(tmp_path):
    (tmp_path / "old" / "blobs").mkdir(parents=True)
    shutil.copy(VERSION_1, tmp_path / "old" / "store.duckdb")
    store = open_store(tmp_path / "old", read_only=True)
    assert store.verify() == []
    with pytest.raises(InputError, match="sdar store migrate"):
        store.prune(dry_run=True)
    assert store.export(tmp_path / "out").schema_version == 1
    import_store(tmp_path / "out", tmp_path / "new")
    assert open_store(tmp_path / "new", read_only=True).schema_version() == CURRENT_VERSION


def test_migrations_are_never_edited():
    # A new migration is a new line here; a line that changes would leave stores that were made before behind.
    assert {file.name: hashlib.sha256(file.read_bytes()).hexdigest()[:16] for file in MIGRATIONS} == {
        "0001_initial.sql": "abef764e06e8f47f",
        "0002_prune.sql": "53a9a1be5723712a",
        "0003_scored_token.sql": "8fa196e17325f963",
        "0004_drift.sql": "b7d368bd8bad6492",
        "0005_methods.sql": "e2d77b807e689dd2",
        "0006_study.sql": "ddccd99660d3e61b",
        "0007_skill_stat.sql": "56437f2fdb5ea658",
        "0008_distill.sql": "4027bf7db62221b2",
        "0009_skill_turns.sql": "23dbef35d41bf269",
        "0010_gate_in_force.sql": "cdeb80f9d97b1bfa",
    }
