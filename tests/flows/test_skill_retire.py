"""`sdar skills retire` and `restore`: in a folder, and in the evolving bank of a run."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks"))
sys.path.insert(0, str(Path(__file__).parents[1] / "policy"))
sys.path.insert(0, str(Path(__file__).parents[1] / "skills"))

from bank_folders import skill
from small_runs import run_all, small_config
from tiny_policy import save_tiny_policy

from sdar.flows import cli
from sdar.storage import open_store

Capture = pytest.CaptureFixture[str]


def call(capture: Capture, code: int, *arguments: object) -> str:
    """Return what a command prints; on standard error if it must fail."""
    capture.readouterr()
    found = cli.execute(list(map(str, arguments)))
    printed = capture.readouterr()
    assert found == code, printed
    return printed.err if code else printed.out


def report(capture: Capture, *arguments: object) -> Any:
    return json.loads(call(capture, 0, *arguments, "--json"))


def test_a_folder_shows_who_is_retired_and_why(tmp_path: Path, capsys: Capture) -> None:
    for name in ("cups", "pans"):
        skill(tmp_path / "bank", name)
    bank = ("--bank", tmp_path / "bank")
    before = call(capsys, 0, "skills", "list", *bank)
    text = call(capsys, 0, "skills", "retire", "cups", "--reason", "They moved.", *bank)
    listed = report(capsys, "skills", "list", *bank)
    assert [(row["name"], row["retired"]) for row in listed] == [("cups", "They moved."), ("pans", None)]
    assert "retired: They moved." in call(capsys, 0, "skills", "list", *bank)
    assert "retired: They moved." in call(capsys, 0, "skills", "show", "cups", *bank)
    found = report(capsys, "skills", "search", "where are the cups and pans", *bank)
    assert [row["skill"] for row in found] == ["pans"]
    assert "is retired already" in call(capsys, 2, "skills", "retire", "cups", "--reason", "x", *bank)
    assert cli.execute(text.split("with: sdar ")[1].split()) == 0
    assert call(capsys, 0, "skills", "list", *bank) == before


def test_show_lists_the_files_beside_a_skill(tmp_path: Path, capsys: Capture) -> None:
    home = skill(tmp_path / "bank")
    shown = report(capsys, "skills", "show", "cups", "--bank", tmp_path / "bank")
    assert [(file["path"], file["bytes"]) for file in shown["files"]] == [
        ("notes.txt", 4),
        ("scripts/run.py", 11),
    ]
    text = call(capsys, 0, "skills", "show", "cups", "--bank", tmp_path / "bank")
    assert shown["files"][0]["sha256"] in text
    assert "Beside it, in no prompt:" in text
    (home / "link").symlink_to("/etc/passwd")
    assert "link:1: is a link" in call(capsys, 2, "skills", "show", "cups", "--bank", tmp_path / "bank")


def test_the_builtin_bank_is_copied_first(capsys: Capture) -> None:
    error = call(capsys, 2, "skills", "retire", "what-heats", "--reason", "x")
    assert "sdar skills export --out my-skills" in error


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a small run whose bank was distilled in round 1."""
    folder = tmp_path_factory.mktemp("evolving")
    changes = {
        "distill": {"every": 1, "trial_tasks": 6, "recheck": 0, "writer": "none", "lift_sample": 2},
        "stop": {"rounds": 1},
    }
    run_all(folder / "store", small_config(save_tiny_policy(folder / "policy"), changes))
    return folder / "store"


@pytest.fixture
def evolving(learnt: Path, tmp_path: Path) -> Path:
    """A copy of that store, to be changed."""
    return Path(shutil.copytree(learnt, tmp_path / "store"))


def test_a_run_goes_on_in_a_branch_that_names_the_decision(evolving: Path, capsys: Capture) -> None:
    here = ("--store", evolving)
    retire = ("skills", "retire", "what-heats", "--reason", "The stove, it broke.", *here)
    first = open_store(evolving, read_only=True).runs()[-1].id
    made = report(capsys, *retire, "--run", "latest")
    assert made["branch"]
    store = open_store(evolving, read_only=True)
    branch = store.runs()[-1]
    assert (made["run"], branch.parent) == (branch.id, first)
    places = {run.id: {(s.round, s.stage): s for s in store.stage_runs(run.id)} for run in store.runs()}
    old, new = (places[run][1, "distill"] for run in (first, branch.id))
    (gone,) = [state for state in store.skill_states(new.artifact_id) if state.retired]
    assert gone.reason == "Retired by hand: The stove, it broke."
    assert not any(state.retired for state in store.skill_states(old.artifact_id))
    assert new.config["distill.retire"] == "what-heats: The stove, it broke."
    (version,) = store.rows(new.artifact_id, "bank_version")
    assert version.parent == places[first][0, "bank"].artifact_id
    (row,) = [r for r in report(capsys, "skills", "stats", *here) if r["retired"]]
    assert (row["skill"], row["reason"]) == ("what-heats", "Retired by hand: The stove, it broke.")
    assert "is retired already" in call(capsys, 2, *retire, "--run", "latest")

    # Taken back, the bank is that of the first run: the same settings, hence the same artifact.
    call(capsys, 0, "skills", "restore", "what-heats", *here, "--run", "latest")
    store = open_store(evolving, read_only=True)
    back = {(s.round, s.stage): s for s in store.stage_runs(store.runs()[-1].id)}[1, "distill"]
    assert back.artifact_id == old.artifact_id


def test_what_a_run_cannot_do_says_why(evolving: Path, tmp_path: Path, capsys: Capture) -> None:
    run = ("--store", evolving, "--run", "latest")
    for arguments, told in (
        (("retire", "pans", "--reason", "x"), "no skill 'pans' in the bank of round 1"),
        (("retire", "what-heats", "--reason", "a; b"), "semicolon"),
        (("retire", "what-heats", "--reason", " "), "needs a reason"),
        (("retire", "what-heats", "--reason", "x", "--bank", tmp_path), "leave --bank"),
        (("restore", "what-heats", "--env", "trip"), "--env and --set out"),
        (("restore", "what-heats"), "is not retired in round 1; retired are: none"),
    ):
        assert told in call(capsys, 2, "skills", *arguments, *run)
    assert len(open_store(evolving, read_only=True).runs()) == 1
