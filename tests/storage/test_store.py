"""Runs, stages, atomicity, what is refused, and verification."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap

import duckdb
import pytest
from store_samples import (
    child_environment,
    episode,
    filled,
    leave_log,
    policy,
    run,
    same,
    scores,
    stage,
    task,
)

from sdar.schemas.errors import InputError, IntegrityError
from sdar.storage import open_store


def counts(store):
    tables = ("artifact", "stage_run", "episode", "turn", "lineage")
    return [store.query(f"SELECT count(*) FROM {name}")[0][0].as_py() for name in tables]


def test_rows_of_a_run(tmp_path):
    store = filled(tmp_path)
    names = [found.stage for found in store.stage_runs("r1")]
    assert names == ["bootstrap", "collect", "retrieve", "score", "evaluate"]
    by_stage = {found.stage: found.artifact_id for found in store.stage_runs("r1")}
    assert same(store.episodes(by_stage["collect"]), [episode("e1"), episode("e2", success=False)])
    assert store.policy(by_stage["bootstrap"]) == policy()
    assert [task.id for task in store.tasks(by_stage["collect"])] == ["t1"]
    assert store.latest_run() == run()
    with pytest.raises(IntegrityError, match="holds 0 policies"):
        store.policy(by_stage["collect"])
    with pytest.raises(InputError, match="no artifact nothing"):
        store.episodes("nothing")


def test_runs_keep_the_order_in_which_they_began_when_the_clock_is_set_back(tmp_path):
    store = filled(tmp_path)
    with store.writer("test"):
        store.begin_run(run("r0", created="2025-12-31T23:59:59"))
        store.finish_run("r1", "done")
    assert [each.id for each in store.runs()] == ["r1", "r0"]
    assert store.latest_run().id == "r0"


def test_stage_run_round_trip(tmp_path):
    store = filled(tmp_path)
    given = stage("collect", round=2, config={"a.b": [1, None]}, summary={"success": 0.5, "note": "n"})
    with store.writer("test"):
        made = store.commit(given, "episodes", {"episode": [episode("e7")]})
    expected = given.model_copy(update={"artifact_id": made.id, "status": "done"})
    assert store.stage_runs("r1")[-1] == expected
    assert store.artifact(made.id).summary == {"success": 0.5, "note": "n"}


def test_a_failing_commit_leaves_nothing(tmp_path):
    store = filled(tmp_path)
    before = counts(store)
    with store.writer("test"):
        with pytest.raises(IntegrityError, match="inputs that the store does not hold: missing"):
            store.commit(
                stage("collect", round=2, inputs={"policy": "missing"}),
                "episodes",
                {"episode": [episode("new")]},
            )
        with pytest.raises(InputError, match="no run 'r9'"):
            store.commit(stage("collect", run_id="r9"), "episodes", {"episode": [episode("new")]})
        with pytest.raises(IntegrityError, match="no table nonsense"):
            store.commit(stage("collect", round=2), "episodes", {"nonsense": []})
        with pytest.raises(IntegrityError, match="no blob"):
            store.commit(stage("collect", round=2), "episodes", {}, blob="0" * 64)
    assert counts(store) == before
    assert store.find("key-collect") is not None


def test_equal_content_is_stored_once_and_reused(tmp_path):
    store = filled(tmp_path)
    found = store.find("key-collect")
    assert found is not None
    assert store.find("unknown") is None
    before = counts(store)
    with store.writer("test"):
        store.begin_run(run("r2", parent="r1", created="2026-01-02T00:00:00"))
        store.reuse(stage("collect", run_id="r2", seconds=0.0), found)
        again = store.commit(
            stage("score", key="other", run_id="r2"),
            "scores",
            {"token_score": [scores("e1"), scores("e2", (-0.5, -0.5, -0.5))]},
        )
    collect, score = store.stage_runs("r2")
    assert (collect.artifact_id, collect.reused_from, collect.status) == (found.id, "r1", "done")
    assert again.id == store.stage_runs("r1")[3].artifact_id == score.artifact_id
    after = counts(store)
    assert (after[0], after[2], after[3]) == (before[0], before[2], before[3])
    assert after[1] == before[1] + 2
    assert [found.id for found in store.runs()] == ["r1", "r2"]


def test_resuming_keeps_the_stage_as_it_was_computed(tmp_path):
    store = filled(tmp_path)
    before = store.stage_runs("r1")
    found = store.find("key-collect")
    with store.writer("test"):
        store.begin_run(run())
        store.reuse(stage("collect", seconds=0.0), found)
    assert store.stage_runs("r1") == before


def test_a_stage_run_is_replaced(tmp_path):
    store = filled(tmp_path)
    with store.writer("test"):
        store.commit(stage("score", key="forced"), "scores", {"token_score": [scores("e1")]})
    found = [item for item in store.stage_runs("r1") if item.stage == "score"]
    assert [item.key for item in found] == ["forced"]
    assert store.query("SELECT count(*) FROM lineage WHERE stage = 'score'")[0][0].as_py() == 0


def test_run_status(tmp_path):
    store = filled(tmp_path)
    with store.writer("test"):
        store.finish_run("r1", "failed")
        assert store.run("r1").status == "failed"
        store.begin_run(run())
        assert store.run("r1").status == "running"
        with pytest.raises(IntegrityError, match="another method, seed or configuration"):
            store.begin_run(run(seed=1))


def test_writing_needs_the_writer(tmp_path):
    store = filled(tmp_path / "s")
    with pytest.raises(IntegrityError, match=r"store\.writer"):
        store.commit(stage("collect"), "episodes", {})
    with pytest.raises(IntegrityError, match=r"store\.writer"):
        store.put_blob(tmp_path)
    with (
        pytest.raises(InputError, match="reading only"),
        open_store(tmp_path / "s", read_only=True).writer("x"),
    ):
        pass


def test_places_that_are_no_store(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        open_store(tmp_path / "file")
    with pytest.raises(InputError, match="no store in"):
        open_store(tmp_path / "missing", read_only=True)
    assert not (tmp_path / "missing").exists()
    with pytest.raises(InputError, match="cannot use"):
        open_store(tmp_path / "file" / "below")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "store.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(IntegrityError, match="damaged or no DuckDB file"):
        open_store(tmp_path / "broken")


def test_verify_needs_no_folder_of_blobs(tmp_path):
    store = filled(tmp_path)
    with store.writer("test"):
        blob = store.put_blob(tmp_path / "snapshots")
        store.commit(stage("score", round=7), "scores", {"token_score": [scores("e1")]}, blob)
    shutil.rmtree(tmp_path / "blobs")
    [fault] = store.verify()
    assert f"lost its blob {blob}" in fault


HEADERS = 3 * 4096
"""Bytes at the beginning of a DuckDB file that say where its blocks are."""


def cut_off(file):
    os.truncate(file, HEADERS + 1)


def overwrite(file):
    with file.open("r+b") as stream:
        stream.seek(HEADERS)
        stream.write(b"x" * (file.stat().st_size - HEADERS))


@pytest.mark.parametrize("hurt", [cut_off, overwrite])
def test_damage_is_named_with_what_mends_it(tmp_path, hurt):
    store = filled(tmp_path)
    expected = counts(store)
    hurt(tmp_path / "snapshots" / "store.duckdb")
    with pytest.raises(IntegrityError, match="sdar store snapshot"):
        counts(store)
    (tmp_path / "snapshots" / "store.duckdb").unlink()
    with store.writer("sdar store snapshot"):
        pass
    assert counts(store) == expected
    hurt(tmp_path / "store.duckdb")
    with pytest.raises(IntegrityError, match=r"damaged or no DuckDB file.*snapshots/store\.duckdb"):
        open_store(tmp_path).verify()
    shutil.copy(tmp_path / "snapshots" / "store.duckdb", tmp_path / "store.duckdb")
    assert open_store(tmp_path).verify() == []
    assert counts(store) == expected


def test_a_damaged_log_of_the_database_is_named_with_what_mends_it(tmp_path):
    expected = counts(filled(tmp_path))
    database, log = tmp_path / "store.duckdb", tmp_path / "store.duckdb.wal"
    leave_log(database)
    with log.open("r+b") as file:  # the end of a file whose pages a power cut left empty
        file.truncate(log.stat().st_size - 8)
        file.truncate(log.stat().st_size + 8)
    with pytest.raises(IntegrityError, match=r"snapshots/store\.duckdb .* remove store\.duckdb\.wal"):
        open_store(tmp_path)
    shutil.copy(tmp_path / "snapshots" / "store.duckdb", database)
    log.unlink()
    assert open_store(tmp_path).verify() == []
    assert counts(open_store(tmp_path)) == expected


def test_a_lost_database_is_not_replaced_by_an_empty_one(tmp_path):
    expected = counts(filled(tmp_path))
    (tmp_path / "store.duckdb").unlink()
    for read_only in (True, False):
        with pytest.raises(IntegrityError, match="holds the last published state"):
            open_store(tmp_path, read_only=read_only)
    shutil.copy(tmp_path / "snapshots" / "store.duckdb", tmp_path / "store.duckdb")
    assert counts(open_store(tmp_path)) == expected


def test_newer_store_is_refused(tmp_path):
    filled(tmp_path)
    with duckdb.connect(tmp_path / "store.duckdb") as connection:
        connection.execute("INSERT INTO _migration VALUES (99, now())")
    for read_only in (True, False):
        with pytest.raises(IntegrityError, match=r"schema version 99.*pip install --upgrade sdar"):
            open_store(tmp_path, read_only=read_only)


def test_full_disk_is_named_and_loses_nothing(tmp_path):
    store = filled(tmp_path)
    before = counts(store)
    # A limit on the size of files fails writes in the same place as a full disk does.
    script = """
        import resource, sys
        from store_samples import episode, stage
        from sdar.schemas.errors import InputError
        from sdar.storage import open_store
        store = open_store(sys.argv[1])
        episodes = [episode(f"x{i}").model_copy(update={"error": str(i) * 4000}) for i in range(400)]
        with store.writer("test"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
            try:
                store.commit(stage("collect", round=2), "episodes", {"episode": episodes})
            except InputError as error:
                print(error.exit_code, error)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=child_environment())
    assert done.stdout.startswith("2 no room left to write")
    assert counts(open_store(tmp_path)) == before


def test_verify_finds_every_kind_of_fault(tmp_path):
    store = filled(tmp_path / "s")
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "w.bin").write_bytes(b"0123456789")
    with store.writer("test"):
        digest = store.put_blob(weights)
        made = store.commit(stage("update"), "policy", {"policy": [policy()]}, blob=digest)
    assert store.verify() == []
    file = store.blob(digest) / "w.bin"
    file.write_bytes(b"0123456780")
    assert [fault for fault in store.verify() if digest in fault and "differ" in fault]
    assert len(store.verify()) == 1
    file.unlink()
    file.parent.rmdir()
    assert store.find("key-update") is None
    assert store.verify() == [f"artifact {made.id} (policy) lost its blob {digest}."]
    collect = next(found for found in store.stage_runs("r1") if found.stage == "collect")
    with duckdb.connect(tmp_path / "s" / "store.duckdb") as connection:
        connection.execute("DELETE FROM token_score WHERE episode_id = 'e2'")
        connection.execute("UPDATE turn SET action = 'x' WHERE episode_id = 'e2'")
        connection.execute("UPDATE lineage SET input_id = 'gone' WHERE role = 'contexts'")
    found = "\n".join(store.verify())
    assert "table token_score has 1 of 2 rows" in found
    assert f"artifact {collect.artifact_id} (episodes): its rows differ" in found
    assert "lineage r1/1/score names contexts gone" in found
    assert len(store.verify()) == 4


def test_tasks_of_a_panel(tmp_path):
    store = filled(tmp_path)
    with store.writer("test"):
        made = store.commit(stage("panel", round=0), "panel", {"panel": [task("t9"), task("t3")]})
    assert store.tasks(made.id) == [task("t9"), task("t3")]
    assert store.query("SELECT tasks, types FROM panel").to_pylist() == [{"tasks": 2, "types": "pick"}]


def test_what_is_reused_never_counts_as_computed_even_when_its_maker_has_moved_on(tmp_path):
    store = filled(tmp_path)
    found = store.find("key-collect")
    with store.writer("test"):
        for name in ("r2", "r3"):
            store.begin_run(run(name))
        assert store.reuse(stage("collect", run_id="r2"), found).reused_from == "r1"
        store.commit(stage("collect", "other settings"), "episodes", {"episode": [episode("e3")]})
        assert store.reuse(stage("collect", run_id="r3"), found).reused_from == "r1"
