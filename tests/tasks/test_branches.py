"""`sdar status`, `sdar stage` and `sdar runs` on a real finished run of two small rounds."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_runs import SmallRun

from sdar.flows import cli
from sdar.storage import Store, open_store
from sdar.tasks import rerun
from sdar.tasks.branches import read_history

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def store(finished: SmallRun, tmp_path: Path) -> Store:
    shutil.copytree(finished.store.path, tmp_path / "store")
    return open_store(tmp_path / "store")


def sdar(store: Store, *arguments: str) -> int:
    return cli.execute([*arguments, "--store", str(store.path)])


def facts(store: Store, capture: Capture, *arguments: str) -> Any:
    capture.readouterr()
    assert sdar(store, *arguments, "--json") == 0
    return json.loads(capture.readouterr().out)


def artifacts(store: Store, run_id: str) -> dict[tuple[int, str], str | None]:
    stored = read_history(store, store.run(run_id)).stored
    return {place: made.artifact_id for place, made in stored.items()}


def test_a_finished_run_is_fresh(store: Store, capsys: Capture) -> None:
    assert sdar(store, "status") == 0
    assert "16 fresh, 0 stale, 0 missing.\nrounds 0-2: fresh (16 stages)\n" in capsys.readouterr().out
    stages = facts(store, capsys, "status")["stages"]
    assert {stage["condition"] for stage in stages} == {"fresh"}


def test_pruned_files_show_as_missing(store: Store, capsys: Capture) -> None:
    with store.writer("test"):
        report = store.prune(["last"])
    assert report.removed
    assert sdar(store, "status") == 0
    text = capsys.readouterr().out
    assert "score                 missing\n    MISSING  its files are gone" in text


def test_a_stage_that_is_stored_is_reused_and_force_computes_it(store: Store, capsys: Capture) -> None:
    plan = facts(store, capsys, "stage", "retrieve", "--round", "2", "--dry-run")
    assert (plan["branch"], plan["stages"], plan["stale"]) == (False, [], [])
    again = facts(store, capsys, "stage", "retrieve", "--round", "2")
    assert again["run"] == plan["run"]
    (made,) = again["stages"]
    assert (made["reused"], made["artifact_id"]) == (True, plan["found"])
    outcome = facts(store, capsys, "stage", "retrieve", "--round", "2", "--force")
    assert outcome["stale"] == []
    (forced,) = outcome["stages"]
    assert (forced["reused"], forced["artifact_id"]) == (False, plan["found"])
    assert store.latest_run().status == "done"  # type: ignore[union-attr]


def test_other_settings_make_a_branch_that_shares_what_lies_before(
    store: Store, finished: SmallRun, capsys: Capture
) -> None:
    old = finished.session.run_id
    change = ("--set", "sdar.gate=half")
    planned = facts(store, capsys, "stage", "update", "--round", "2", *change, "--dry-run")
    assert len(store.runs()) == 1
    assert (planned["found"], planned["branch"]) == (None, True)
    assert [(state["round"], state["stage"]) for state in planned["stale"]] == [
        (2, "evaluate"),
        (2, "decide"),
    ]

    scored = facts(store, capsys, "stage", "score", "--round", "2", *change)
    branch = scored["run"]
    assert scored["stages"][0]["reused"]  # the gate enters the update, not the scores
    assert {found["run"] for found in scored["inputs"].values()} == {old}
    assert store.run(branch).parent == old
    assert store.run(branch).branch == (2, "score")
    assert store.run(branch).status == "interrupted"

    ended = facts(store, capsys, "stage", "update", "--round", "2", "--from-run", branch, "--downstream")
    assert [made["stage"] for made in ended["stages"]] == ["update", "evaluate", "decide"]
    assert not any(made["reused"] for made in ended["stages"])
    assert store.run(branch).status == "done"
    before, after = artifacts(store, old), artifacts(store, branch)
    assert before == finished.artifacts
    assert all(after[place] == before[place] for place in before if place[0] < 2)
    assert before[2, "score"] == after[2, "score"]
    assert before[2, "update"] != after[2, "update"]
    assert store.verify() == []

    compared = facts(store, capsys, "runs", "compare", old, branch)
    assert (compared["tasks"], compared["before_round"], compared["after_round"]) == (8, 2, 2)
    assert compared["low"] <= compared["difference"] <= compared["high"]
    kept = store.query("SELECT difference, verdict FROM comparison").to_pylist()
    assert {"difference": compared["difference"], "verdict": compared["verdict"]} in kept
    tree = {row["run"]: row for row in facts(store, capsys, "runs")}
    assert (tree[branch]["depth"], tree[branch]["changes"]) == (1, {"sdar.gate": "half"})
    assert facts(store, capsys, "status", "--run", branch)["stages"] != []
    assert sdar(store, "runs") == 0
    assert f"\n  {branch}  done" in capsys.readouterr().out


def test_a_branch_can_be_longer_than_its_run(store: Store, capsys: Capture) -> None:
    ended = facts(
        store, capsys, "stage", "decide", "--round", "2", "--set", "stop.rounds=4", "--downstream",
    )  # fmt: skip
    assert {made["round"] for made in ended["stages"]} == {2, 3, 4}
    assert store.run(ended["run"]).status == "done"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope", "--round", "2"], "round 2 has no stage 'nope'; allowed: collect, "),
        (["score", "--round", "9"], "score of round 9 needs update of round 8, "),
        (["score", "--round", "2", "--from-run", "r9"], "no run 'r9' in this store"),
        (["score", "--round", "2", "--set", "sdar.gaet=gap"], "Did you mean sdar.gate?"),
        (["score", "--round", "2", "--set", "method=grpo"], "allowed: the settings that it stands for"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_stored(
    finished: SmallRun, capsys: Capture, arguments: list[str], message: str
) -> None:
    before = finished.store.runs()
    assert sdar(finished.store, "stage", *arguments, "--dry-run") == 2
    assert message in capsys.readouterr().err
    assert finished.store.runs() == before


def test_a_new_version_of_a_stage_makes_later_stages_stale(
    store: Store, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = rerun.STAGES["score"]
    newer = {**rerun.STAGES, "score": replace(score, version=99)}
    monkeypatch.setattr(rerun, "STAGES", newer)
    stages = facts(store, capsys, "status")["stages"]
    stale = [(stage["round"], stage["stage"]) for stage in stages if stage["condition"] == "stale"]
    assert stale[:2] == [(1, "score"), (1, "update")]
    assert (2, "decide") in stale
    assert not any(number == 0 for number, _ in stale)
    causes = {reason["cause"] for stage in stages for reason in stage["reasons"]}
    assert causes == {"CODE", "INPUT"}
    assert sdar(store, "status") == 0
    assert f"CODE     version: {score.version} -> 99" in capsys.readouterr().out
