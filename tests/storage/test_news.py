"""What is told of a run while it computes, and who is said to write to a store."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from store_samples import child_environment

from sdar.schemas.counting import count
from sdar.storage import lock, news, open_store
from sdar.storage.news import News, read_news, told

NEWS = News(run_id="r1", round=2, rounds=9, stage="collect", plan=("collect", "update"), began="2026-01-01")


def test_news_are_there_while_the_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "EVERY_S", 0.0)
    with told(tmp_path, NEWS):
        assert [each.news for each in read_news(tmp_path)] == [NEWS]
        count(3, 8, "episodes")
        (heard,) = read_news(tmp_path)
        assert (heard.news.done, heard.news.total, heard.news.unit) == (3, 8, "episodes")
        assert heard.at == pytest.approx(os.stat(tmp_path / "live" / "r1.json").st_mtime)
    assert read_news(tmp_path) == []
    count(4, 8, "episodes")  # nobody listens any more
    assert read_news(tmp_path) == []


def test_counts_in_quick_succession_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(news, "EVERY_S", 3600.0)
    with told(tmp_path, NEWS):
        for done in range(100):
            count(done, 100, "rows")
        assert read_news(tmp_path)[0].news.total == 0


def test_news_go_when_a_stage_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a wire"), told(tmp_path, NEWS):
        raise ValueError("a wire came loose")
    assert list((tmp_path / "live").iterdir()) == []


def test_a_store_that_cannot_be_written_does_not_end_the_work(tmp_path: Path) -> None:
    (tmp_path / "live").write_text("in the way of the folder")
    with told(tmp_path, NEWS):
        count(1, 2, "steps")
    assert read_news(tmp_path) == []


def test_the_latest_news_come_first_and_others_are_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    folder.mkdir()
    for name, at in (("r1", 100), ("r2", 300), ("r3", 200)):
        file = folder / f"{name}.json"
        file.write_text(NEWS.model_copy(update={"run_id": name}).model_dump_json())
        os.utime(file, (at, at))
    (folder / "r4.json").write_text('{"of": "another version"}')
    assert [(each.news.run_id, each.at) for each in read_news(tmp_path)] == [
        ("r2", 300),
        ("r3", 200),
        ("r1", 100),
    ]


def test_the_owner_is_named_while_it_writes(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert store.owner() is None
    with store.writer("sdar run"):
        owner = store.owner()
        assert owner is not None
        assert (owner.pid, owner.command) == (os.getpid(), "sdar run")
        assert str(owner).startswith(f"process {os.getpid()} on ")
    assert store.owner() is None


def test_a_killed_owner_is_none(tmp_path: Path) -> None:
    open_store(tmp_path)
    script = (
        "import sys, time; from sdar.storage import open_store\n"
        "with open_store(sys.argv[1]).writer('doomed'): print('writing', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(),
    )
    assert child.stdout is not None
    with child:
        assert child.stdout.readline() == "writing\n"
        owner = open_store(tmp_path, read_only=True).owner()
        assert owner is not None
        assert owner.pid == child.pid
        child.kill()
    assert open_store(tmp_path, read_only=True).owner() is None


def test_an_owner_without_a_name_yet_is_another_process(tmp_path: Path) -> None:
    file = tmp_path / "store.lock"
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert str(lock.owner(file)) == "another process"
        handle.write(json.dumps({"of": "another version"}))
        handle.flush()
        assert str(lock.owner(file)) == "another process"


def test_a_glance_at_the_lock_refuses_no_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    glance = os.open(tmp_path / "store.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(glance, fcntl.LOCK_SH)
    monkeypatch.setattr(lock.time, "sleep", lambda _: os.close(glance))  # gone before the second try
    with store.writer("test"):
        assert store.owner() is not None


def test_a_quick_check_follows_references_and_hashes_nothing(tmp_path: Path) -> None:
    from store_samples import run, stage, task

    store = open_store(tmp_path / "store")
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "model.bin").write_bytes(b"weights")
    with store.writer("test"):
        store.begin_run(run())
        blob = store.put_blob(weights)
        store.commit(stage("panel"), "panel", {"panel": [task()]}, blob)
    (store.blob(blob) / "model.bin").chmod(0o644)
    (store.blob(blob) / "model.bin").write_bytes(b"WEIGHTS")
    assert store.verify(quick=True) == []
    assert len(store.verify()) == 1
    store.blob(blob).rename(tmp_path / "elsewhere")
    (fault,) = store.verify(quick=True)
    assert "lost its blob" in fault
