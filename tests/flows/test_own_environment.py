"""The environment that docs/environments.md shows is installed, listed, checked, played and trained for."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from documented_world import SHELVES, install_documented

from sdar.envs.registry import environment_config, environment_factory
from sdar.flows import cli
from sdar.tasks import starter

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    site.mkdir()
    install_documented(site)
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "warehouse", raising=False)


def sdar(capsys: Capture, *arguments: object) -> str:
    code = cli.execute([str(each) for each in arguments])
    told = capsys.readouterr()
    assert code == 0, told.out + told.err
    return told.out


def test_it_is_listed_checked_and_played(capsys: Capture) -> None:
    rows = {row["name"]: row for row in json.loads(sdar(capsys, "envs", "list", "--json"))}
    assert rows["warehouse"]["state"] == "installed"
    assert sdar(capsys, "envs", "check", "warehouse").endswith("warehouse: no faults\n")
    told = sdar(capsys, "envs", "play", "warehouse", "--expert", "--task", "0")
    assert "> look on shelf 11\nthe lamps are on shelf 11\n[reward 1]\n" in told  # the red lamps
    assert "the goal is reached, 1 actions, return 1." in told


def test_its_settings_and_skills_reach_a_run(capsys: Capture) -> None:
    shown = json.loads(sdar(capsys, "config", "show", "--env", "warehouse", "--json"))
    assert (shown["env"]["max_steps"], shown["policy"]["path"]) == (4, "bootstrap")
    skills = json.loads(sdar(capsys, "skills", "list", "--set", "env.name=warehouse", "--json"))
    assert {skill["name"] for skill in skills} == {f"home-of-{thing}" for thing in SHELVES}


def test_its_demonstrations_know_the_shelf_only_when_they_are_told() -> None:
    world = environment_factory("warehouse")(environment_config("warehouse"))
    told = [world.demonstration(index, 1, 1.0) for index in range(200)]  # type: ignore[attr-defined]
    untold = [world.demonstration(index, 1, 0.0) for index in range(200)]  # type: ignore[attr-defined]
    for shown in told:
        assert shown.turns[-1].action.removeprefix("look ") + "." in shown.block
        assert [turn.learn for turn in shown.turns] == [False] * (len(shown.turns) - 1) + [True]
    lengths = [len(shown.turns) for shown in untold]
    # Shelves are tried in random order and the fourth try is the last: 3/12 end before it.
    assert sum(length < 4 for length in lengths) == pytest.approx(50, abs=20)
    assert {shown.block for shown in untold} == {""}


def test_a_starter_is_made_and_measured(
    capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter, "TOKENIZER_DEMONSTRATIONS", 50)
    small = ["warmstart.steps=2", "warmstart.batch=2", "warmstart.hidden=16", "warmstart.layers=1"]
    small += ["warmstart.vocabulary=512", "evaluation.panel_size=4", "policy.threads=1"]
    settings = [part for text in small for part in ("--set", text)]
    out = tmp_path / "starter"
    told = sdar(capsys, "bootstrap", "--env", "warehouse", "--out", out, *settings)
    assert f"Use it with: sdar run --env warehouse --set policy.path={out}" in told
    log = json.loads((out / "training.json").read_text())
    assert log["environment"]["name"] == "warehouse"
    assert [(row["tasks_of"], row["skills"], row["tasks"]) for row in log["measured"]] == [
        ("panel", "without", 4),
        ("panel", "with", 4),
    ]
