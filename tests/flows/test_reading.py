"""Commands that show what a store, a bank or a world holds, and those that shrink or move a store."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import get_args

import pyarrow.parquet as pq
import pytest
from store_samples import evaluation, filled, policy, run, stage

from sdar.flows import cli
from sdar.flows.commands import evaluate, options
from sdar.flows.commands.policy import find_policy
from sdar.schemas.records import Verdict
from sdar.skills.explain import shared_words
from sdar.skills.files import builtin_skills, load_skills
from sdar.storage import FORMS, Store, open_store
from sdar.storage.migrate import CURRENT_VERSION

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One run of one round with two scored episodes, and the weights of a policy."""
    made = filled(tmp_path / "store")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(bytes(1000))
    with made.writer("test"):
        blob = made.put_blob(tmp_path / "weights")
        made.commit(stage("update"), "policy", {"policy": [policy()]}, blob=blob)
        made.finish_run("r1", "done")
    return made


def read(capture: Capture, *arguments: object) -> str:
    capture.readouterr()
    code = cli.execute([str(argument) for argument in arguments])
    printed = capture.readouterr()
    assert code == 0, printed.err
    return printed.out


def refused(capture: Capture, *arguments: object) -> str:
    capture.readouterr()
    assert cli.execute([str(argument) for argument in arguments]) == 2
    return capture.readouterr().err


def test_sql_takes_a_file_and_writes_one(store: Store, tmp_path: Path, capsys: Capture) -> None:
    question, answer = tmp_path / "question.sql", tmp_path / "answer.parquet"
    question.write_text("-- how many?\nSELECT count(*) AS n FROM episode")
    where = ("--store", store.path)
    assert read(capsys, "sql", "--file", question, *where) == "n\n-\n2\n"
    assert read(capsys, "sql", "--file", question, *where, "--format", "parquet", "--out", answer) == ""
    assert pq.read_table(answer).to_pylist() == [{"n": 2}]
    assert "--out" in refused(capsys, "sql", "SELECT 1", "--format", "parquet", *where)
    assert "found a query and --tables" in refused(capsys, "sql", "SELECT 1", "--tables", *where)
    assert "cannot read" in refused(capsys, "sql", "--file", tmp_path / "none.sql", *where)


def test_sql_explains_every_column(store: Store, capsys: Capture) -> None:
    text = read(capsys, "sql", "--schema", "--store", store.path)
    assert "## token_gap (view)" in text
    assert "- `gap` DOUBLE: Teacher minus student log-prob" in text
    rows = json.loads(read(capsys, "sql", "--schema", "--format", "json", "--store", store.path))
    assert {"kind", "name", "column", "type", "meaning"} <= set(rows[0])


def test_formats_of_the_command_line_are_those_of_the_store() -> None:
    assert get_args(options.Format) == FORMS


def test_episodes_show_turns_tokens_gaps_and_skills(store: Store, capsys: Capture) -> None:
    listed = json.loads(read(capsys, "episodes", "list", "--format", "json", "--store", store.path))
    assert [(row["id"], row["success"], row["turns"]) for row in listed] == [
        ("e1", True, 2),
        ("e2", False, 2),
    ]
    failed = read(capsys, "episodes", "list", "--failed", "--format", "csv", "--store", store.path)
    assert failed.count("\n") == 2
    played = read(capsys, "episodes", "list", "--stage", "evaluate", "--format", "csv", "--store", store.path)
    assert played.count("\n") == 1
    text = read(capsys, "episodes", "show", "e1", "--store", store.path)
    assert "Goal: take the mug" in text
    assert "success. The environment reported that the goal was reached." in text
    assert "Skills of the teacher: name of s1 0.50, name of s2 -0.50" in text
    assert "turn 1  reward 1  (not understood)\n  > take\n" in text
    assert "'<7>'             +0.500  0.92" in text  # sigmoid(5 * 0.5) = 0.924
    assert "\x1b" not in text
    shown = json.loads(read(capsys, "episodes", "show", "e2", "--json", "--store", store.path))
    assert [len(turn["tokens"]) for turn in shown["turns"]] == [2, 1]
    error = refused(capsys, "episodes", "show", "e", "--store", store.path)
    assert "several episodes" in error
    assert "no episode" in refused(capsys, "episodes", "show", "x", "--store", store.path)


def test_episodes_show_a_gate_that_is_not_stored_by_token(tmp_path: Path, capsys: Capture) -> None:
    made = filled(tmp_path / "centred", {"sdar": {"gate": "centred_gap", "beta": 5.0}})
    text = read(capsys, "episodes", "show", "e1", "--store", made.path)
    assert "The gate centred_gap is not stored by token." in text
    assert "      '<7>'             +0.500  -\n" in text


def test_runs_are_a_tree_with_success_and_its_interval(store: Store, capsys: Capture) -> None:
    with store.writer("test"):
        point = {"branch": {"round": 1, "stage": "update"}}
        branch = {"sdar": {"gate": "half", "beta": 5.0}, "skills": {"allow_empty": True}, **point}
        store.begin_run(run("r2", branch, parent="r1", created="2026-01-03T00:00:00"))
        store.begin_run(run("r3", created="2026-01-02T00:00:00"))
    lines = read(capsys, "runs", "--store", store.path).splitlines()[1:]
    assert lines[0].split() == ["r1", "done", "1", *["25.0", "%", "[5.0,", "70.0]"] * 2]
    assert lines[1].startswith("  r2 ")
    assert lines[1].split() == [
        "r2",
        "running",
        "-",
        "-",
        "-",
        *["from", "update", "of", "round", "1:", "sdar.gate=half,", "skills.allow_empty=true"],
    ]
    assert lines[2].startswith("r3 ")
    rows = json.loads(read(capsys, "runs", "--json", "--store", store.path))
    assert [(row["run"], row["depth"]) for row in rows] == [("r1", 0), ("r2", 1), ("r3", 0)]
    assert rows[0]["best"] == {"round": 1, "success": 0.25, "low": 0.05, "high": 0.7}


def test_a_run_that_is_measured_with_skills_is_listed_with_that_success(
    tmp_path: Path, capsys: Capture
) -> None:
    made = filled(tmp_path / "skilled", {"evaluation": {"prompt": "skills"}})
    (row,) = json.loads(read(capsys, "runs", "--json", "--store", made.path))
    assert (row["last"]["success"], row["best"]["success"]) == (0.75, 0.75)
    (row,) = json.loads(read(capsys, "policy", "list", "--format", "json", "--store", made.path))
    assert row["success"] == 0.75


def test_policies_are_listed_with_the_success_of_their_own_run(tmp_path: Path, capsys: Capture) -> None:
    made = filled(tmp_path / "shared")
    elsewhere = evaluation(False).model_copy(update={"panel_id": "other", "success": 0.75})
    with made.writer("test"):
        for name in ("r2", "r3"):  # both begin with the same policy; r3 was not evaluated
            made.begin_run(run(name))
            made.reuse(stage("bootstrap", run_id=name, round=0), made.find("key-bootstrap"))
        made.commit(stage("evaluate", "elsewhere", run_id="r2"), "evaluation", {"evaluation": [elsewhere]})
    rows = json.loads(read(capsys, "policy", "list", "--format", "json", "--store", made.path))
    found = [(row["run_id"], row["id"], row["success"]) for row in rows]
    assert found == [("r1", "p0", 0.25), ("r2", "p0", 0.75), ("r3", "p0", None)]


def test_the_best_policy_is_that_of_the_run_whose_verdict_says_so(tmp_path: Path) -> None:
    made = filled(tmp_path / "shared")
    verdict = Verdict(
        round=1, stop=False, reason="continue", sentence="", best_policy="p0", best_round=0, best_success=0.25
    )
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(b"w")
    with made.writer("test"):
        blob = made.put_blob(tmp_path / "weights")
        made.commit(stage("bootstrap", round=0), "policy", {"policy": [policy()]}, blob)
        made.commit(stage("decide"), "verdict", {"verdict": [verdict]})
        made.begin_run(run("r2"))  # begins with that policy in another world, and has no verdict yet
        made.reuse(stage("bootstrap", run_id="r2", round=0), made.find("key-bootstrap"))
    assert find_policy(made, "best").run_id == "r1"
    assert find_policy(made, "last").run_id == "r2"
    assert evaluate._find(made, None).run_id == "r1"
    assert evaluate._find(made, "p0").run_id == "r2"


def test_prune_spares_what_is_pinned(store: Store, capsys: Capture) -> None:
    where = ("--store", store.path)
    with store.writer("test"):  # a later policy, so that p0 is neither the last nor the best
        later = policy().model_copy(update={"id": "p1", "parent": "p0"})
        (store.path / "w").mkdir()
        (store.path / "w" / "w.bin").write_bytes(b"later")
        store.commit(
            stage("update", round=2), "policy", {"policy": [later]}, store.put_blob(store.path / "w")
        )
    read(capsys, "store", "pin", "p0", "--note", "for the paper", *where)
    report = json.loads(read(capsys, "store", "prune", "--json", *where))
    assert (report["removed"], report["bytes_freed"]) == ([], 0)
    read(capsys, "store", "unpin", "p0", *where)
    assert "would go  " in read(capsys, "store", "prune", "--dry-run", *where)
    assert "1.0 kB freed, 1 kept." in read(capsys, "store", "prune", *where)
    listed = json.loads(read(capsys, "policy", "list", "--format", "json", *where))
    assert {row["id"]: bool(row["folder"]) for row in listed} == {"p0": False, "p1": True}
    assert "pruned" in read(capsys, "policy", "list", *where)
    assert "is whole" in read(capsys, "store", "verify", *where)
    assert "prune can keep best and last, found 'all'" in refused(
        capsys, "store", "prune", "--keep", "all", *where
    )


def test_a_store_moves_by_export_and_import(store: Store, tmp_path: Path, capsys: Capture) -> None:
    out, copy = tmp_path / "out", tmp_path / "copy"
    assert "1 blobs" in read(capsys, "store", "export", out, "--store", store.path)
    assert "not empty" in refused(capsys, "store", "export", out, "--store", store.path)
    read(capsys, "store", "import", out, "--store", copy)
    assert open_store(copy, read_only=True).stage_runs("r1") == store.stage_runs("r1")
    assert f"it had {CURRENT_VERSION}" in read(capsys, "store", "migrate", "--store", copy)
    assert read(capsys, "store", "snapshot", "--store", copy).strip() == str(copy / "snapshots/store.duckdb")


def test_a_second_writer_waits_when_it_is_told_to(
    store: Store, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with open_store(store.path).writer("another run"):
            held.set()
            free.wait(60)

    def begun(*_: object) -> None:
        raise RuntimeError("begun")

    monkeypatch.setattr("sdar.flows.commands.run._start", begun)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(60)
    timer = threading.Timer(0.3, free.set)
    try:
        assert cli.execute(["run", "--store", str(store.path)]) == 4
        assert "another run" in capsys.readouterr().err
        timer.start()
        assert cli.execute(["run", "--store", str(store.path), "--wait", "60"]) == 1
        assert "RuntimeError: begun" in capsys.readouterr().err
    finally:
        free.set()
        thread.join()


def test_skills_are_listed_shown_and_found_with_a_reason(capsys: Capture) -> None:
    listed = json.loads(read(capsys, "skills", "list", "--json"))
    assert {skill["name"] for skill in listed} == {skill.name for skill in builtin_skills("household")}
    assert "what-heats" in read(capsys, "skills", "list")
    assert "heat_and_place" in read(capsys, "skills", "show", "what-heats")
    assert "no skill 'what-hurts'; there are: " in refused(capsys, "skills", "show", "what-hurts")
    goal = "put two cups on the shelf"
    found = json.loads(read(capsys, "skills", "search", goal, "--json"))
    assert found[0]["score"] == max(hit["score"] for hit in found)
    assert any(hit["skill"] == "home-of-cup-mug-glass" and hit["shared"] == ["cups"] for hit in found)
    assert all(hit["shared"] for hit in found)
    assert "shares: cups" in read(capsys, "skills", "search", goal)
    assert "This goal finds no skill (strategy embedding, threshold" in read(
        capsys, "skills", "search", "xyzzy"
    )


def test_shared_words_leave_stop_words_out() -> None:
    skill = next(s for s in builtin_skills("household") if s.name == "home-of-cup-mug-glass")
    assert shared_words("Where are the Mugs and the kettle kept?", skill) == ["mugs", "kept"]


def test_a_handbook_is_a_bank_that_loads(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "my bank"
    text = read(capsys, "envs", "handbook", "--house", "3", "--out", out)
    assert f"--set env.house=3 --set 'skills.path={out}'" in text
    assert len(load_skills(out)) == 16
    assert "not empty" in refused(capsys, "envs", "handbook", "--out", out)
