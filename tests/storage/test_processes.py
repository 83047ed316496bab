"""One writer, many readers, across processes and threads."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import duckdb
import pytest
from store_samples import child_environment, episode, filled, run, stage

from sdar.schemas.errors import InputError, StoreBusyError
from sdar.storage import database, open_store, snapshot
from sdar.storage.study import open_study_store

HOLD = """
import sys, time
from sdar.storage import open_store
with open_store(sys.argv[1]).writer("sdar run --rounds 3"):
    print("ready", flush=True)
    time.sleep(60)
"""
COMMIT = """
import sys
from sdar.storage import open_store
from store_samples import episode, stage
store = open_store(sys.argv[1])
print("ready", flush=True)
with store.writer("loop"):
    for number in range(1000):
        made = stage("collect", round=number, key=f"loop{number}")
        store.commit(made, "episodes", {"episode": [episode(f"x{number}")]})
        print(number, flush=True)
"""
READ = """
import duckdb, sys
with duckdb.connect(sys.argv[1], read_only=True):
    print("ready", flush=True)
    sys.stdin.read()
"""

WRITE = """
import duckdb, sys
print("ready", flush=True)
try:
    duckdb.connect(sys.argv[1])
    print("opened for writing")
except duckdb.IOException as error:
    print(error)
"""


def start(script: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, str(path)]
    child = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=child_environment()
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    return child


def test_second_writer_is_refused_until_the_first_is_killed(tmp_path):
    store = filled(tmp_path)
    with start(HOLD, tmp_path) as child:
        try:
            with pytest.raises(StoreBusyError, match=rf"process {child.pid} .*sdar run --rounds 3"):
                store.writer("second").__enter__()
            assert len(store.stage_runs("r1")) == 5
            assert store.query("SELECT count(*) FROM episode")[0][0].as_py() == 2
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
    with store.writer("second"):
        store.finish_run("r1", "done")
    assert store.run("r1").status == "done"


def test_a_killed_writer_loses_nothing_that_it_committed(tmp_path):
    store = filled(tmp_path)
    with start(COMMIT, tmp_path) as child:
        assert child.stdout is not None
        for _ in range(4):
            committed = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        child.wait()
    for number in range(committed + 1):
        found = store.find(f"loop{number}")
        assert found is not None
        assert [item.id for item in store.episodes(found.id)] == [f"x{number}"]
    assert store.verify() == []
    with store.writer("next"):
        store.finish_run("r1", "interrupted")
    assert store.query("SELECT status FROM run")[0][0].as_py() == "interrupted"


COMMIT_AND_DIE = """
import os, signal, sys
import sdar.storage.store as module
from sdar.storage import open_store
from store_samples import episode, stage
store = open_store(sys.argv[1])
print("ready", flush=True)
with store.writer("dies"):
    made = stage("collect", round=2, key="last")
    store.commit(made, "episodes", {"episode": [episode("x")]})
    with module.connection(store.path / "store.duckdb", read_only=False) as opened:
        opened.execute("UPDATE run SET status = 'failed'")  # is in the write-ahead log only
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_writer_publishes_what_a_killed_one_could_not(tmp_path):
    store = filled(tmp_path)
    with start(COMMIT_AND_DIE, tmp_path) as child:
        child.wait()
    assert (tmp_path / "store.duckdb.wal").exists()
    with store.writer("next"):
        pass
    assert store.query("SELECT count(*) FROM episode")[0][0].as_py() == 3
    assert store.query("SELECT status FROM run")[0][0].as_py() == "failed"


def test_what_has_not_changed_is_not_copied(tmp_path):
    store, published = filled(tmp_path), tmp_path / "snapshots" / "store.duckdb"
    with store.writer("changes nothing"):
        store.publish()
        first = published.stat()
    with open_store(tmp_path).writer("changes nothing"):
        pass
    assert published.stat().st_ino == first.st_ino
    with store.writer("changes something"):
        store.finish_run("r1", "failed")
    second, database = published.stat(), (tmp_path / "store.duckdb").stat()
    assert second.st_ino != first.st_ino
    assert (second.st_size, second.st_mtime_ns) == (database.st_size, database.st_mtime_ns)


def test_second_writer_in_the_same_process_is_refused(tmp_path):
    store = filled(tmp_path)
    with store.writer("first"), pytest.raises(StoreBusyError, match="first"):
        open_store(tmp_path).writer("second").__enter__()


def test_a_commit_waits_for_a_reader_of_the_database(tmp_path):
    store = filled(tmp_path)
    with start(READ, tmp_path / "store.duckdb") as child, store.writer("test"):
        assert child.stdin is not None
        threading.Timer(0.4, child.stdin.close).start()
        began = time.monotonic()
        store.finish_run("r1", "done")
        assert time.monotonic() - began > 0.3
        child.wait()
    assert store.run("r1").status == "done"


def test_a_reader_sees_each_stage_within_a_second(tmp_path):
    store = filled(tmp_path)
    reader = open_store(tmp_path, read_only=True)
    count = "SELECT count(*) FROM episode"
    with store.writer("test"):
        store.commit(stage("collect", round=2), "episodes", {"episode": [episode("e3")]})
        end = time.monotonic() + 5
        while reader.query(count)[0][0].as_py() != 3:
            assert time.monotonic() < end
            time.sleep(0.05)
        store.commit(stage("collect", round=3), "episodes", {"episode": [episode("e4")]})
        assert store.query(count)[0][0].as_py() == 4
        store.commit(stage("collect", round=4), "episodes", {"episode": [episode("e5")]})
        store.publish()
        assert reader.query(count)[0][0].as_py() == 5
        store.commit(stage("collect", round=5), "episodes", {"episode": [episode("e6")]})
    assert reader.query(count)[0][0].as_py() == 6


def test_an_open_query_does_not_hold_up_the_writer(tmp_path):
    store = filled(tmp_path)
    with start(READ, tmp_path / "snapshots" / "store.duckdb") as child, store.writer("test"):
        began = time.monotonic()
        store.finish_run("r1", "done")
        store.publish()
        assert time.monotonic() - began < 5
        assert child.stdin is not None
        child.stdin.close()
        child.wait()
    assert store.query("SELECT status FROM run")[0][0].as_py() == "done"


def test_threads_share_a_store(tmp_path):
    store = filled(tmp_path)
    seen: list[int] = []
    with store.writer("test"):

        def work(number: int) -> None:
            store.begin_run(run(f"thread{number}"))
            made = store.commit(
                stage("collect", run_id=f"thread{number}"), "episodes", {"episode": [episode(f"x{number}")]}
            )
            seen.extend(int(found.id[1:]) for found in store.episodes(made.id))

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(seen) == [0, 1, 2, 3]
    assert store.verify() == []


def test_a_snapshot_that_cannot_be_written_is_reported_at_the_end(tmp_path):
    store = filled(tmp_path)
    folder = tmp_path / "snapshots"
    (folder / "store.duckdb").unlink()
    folder.rmdir()
    folder.write_text("in the way")
    with pytest.raises(InputError, match="cannot publish a snapshot"), store.writer("test"):
        store.finish_run("r1", "done")
    assert store.run("r1").status == "done"
    folder.unlink()
    folder.mkdir()
    store.publish()  # no writer any more: another process may be changing the database
    assert list(folder.iterdir()) == []
    with store.writer("next"):
        pass
    assert store.query("SELECT status FROM run")[0][0].as_py() == "done"


def test_publishing_does_not_let_other_processes_write_meanwhile(tmp_path):
    """Closing the copied file would drop the lock of a database that this process has attached."""
    store = filled(tmp_path)
    with store.writer("test"):
        store.finish_run("r1", "done")
        assert store.run("r1").status == "done"  # which leaves the database attached
        store.publish()
        assert store.run("r1").status == "done"
        with start(WRITE, tmp_path / "store.duckdb") as child:
            assert child.stdout is not None
            assert "Could not set lock" in child.stdout.read()


@pytest.mark.parametrize("call", ["copy_file_range", None])
def test_a_copy_is_whole_also_where_the_system_cannot_copy_within_itself(tmp_path, monkeypatch, call):
    store = filled(tmp_path)
    if call is not None:
        monkeypatch.delattr(snapshot.os, call)
    with store.writer("test"):
        store.finish_run("r1", "failed")
    copies = [tmp_path / "store.duckdb", tmp_path / "snapshots" / "store.duckdb"]
    assert len({copy.read_bytes() for copy in copies}) == 1
    assert [path.name for path in (tmp_path / "snapshots").iterdir()] == ["store.duckdb"]


def test_files_are_readable_for_older_clients(tmp_path):
    filled(tmp_path)
    with duckdb.connect(tmp_path / "store.duckdb", read_only=True) as connection:
        (tags,) = connection.execute(
            "SELECT tags FROM duckdb_databases() WHERE database_name = 'store'"
        ).fetchone()
    assert tags["storage_version"].startswith("v1.5")


def test_a_writer_starts_one_duckdb_and_attaches_the_database_once_for_all_it_reads(tmp_path, monkeypatch):
    store, started, attached = filled(tmp_path), [], []
    connect, attach = duckdb.connect, database.Attachment._attach

    def counting(*args, **kwargs):
        started.append(args[0])
        return connect(*args, **kwargs)

    def counting_attached(attachment, access):
        if attachment._access != access:
            attached.append(access)
        return attach(attachment, access)

    monkeypatch.setattr(duckdb, "connect", counting)
    monkeypatch.setattr(database.Attachment, "_attach", counting_attached)
    with store.writer("test"):
        assert store.run("r1").status == "running"
        assert len(store.runs()) == 1
        store.finish_run("r1", "failed")
        assert store.run("r1").status == "failed"
        # Meanwhile another process may read the file too.
        with start(READ, tmp_path / "store.duckdb") as child:
            assert child.stdin is not None
            child.stdin.close()
            assert child.wait() == 0
    assert started == [":memory:"]
    assert attached == ["READ_ONLY", "READ_WRITE", "READ_ONLY"]
    store.runs()
    assert started == [":memory:", tmp_path / "store.duckdb"]


def test_what_failed_half_way_is_not_there_and_the_writer_goes_on(tmp_path):
    store = filled(tmp_path)

    def fail():
        with store._transaction() as opened:
            opened.execute("UPDATE run SET status = 'failed'")
            raise RuntimeError

    with store.writer("test"):
        with pytest.raises(RuntimeError):
            fail()
        assert store.run("r1").status == "running"
        store.finish_run("r1", "done")
    assert store.run("r1").status == "done"


def test_a_process_of_a_study_reads_and_leaves_the_file_to_the_others(tmp_path):
    filled(tmp_path)
    store = open_study_store(tmp_path)
    store.join()
    assert store.run("r1").status == "running"
    other = "import duckdb, sys; duckdb.connect(sys.argv[1]).close()"
    subprocess.run([sys.executable, "-c", other, str(tmp_path / "store.duckdb")], check=True)
