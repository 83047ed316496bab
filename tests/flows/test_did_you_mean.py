"""Mistyped words are answered with the word that was meant; what a terminal can show is respected."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.text import Text
from store_samples import filled

from sdar.flows import cli
from sdar.flows.terminal import console_for, is_terminal
from sdar.schemas.near import did_you_mean, nearest


def test_the_nearest_word() -> None:
    assert nearest("hosehold", ["household", "webshop"]) == "household"
    assert nearest("x", ["household", "webshop"]) == ""
    assert did_you_mean("hosehold", ["household"]) == " Did you mean household?"
    assert did_you_mean("hosehold", []) == ""


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["wacth"], "'watch'"),
        (["skills", "serch"], "'search'"),
        (["run", "--rouns", "2"], "--rounds"),
        (["run", "--env", "hosehold"], "household"),
        (["run", "--method", "gpro"], "grpo"),
        (["run", "--set", "sdar.gaet=gap"], "sdar.gate"),
        (["run", "--set", "sdar.gate=entrpy"], "entropy"),
        (["envs", "play", "hosehold"], "household"),
        (["skills", "show", "what-heat"], "Did you mean what-heats?"),
    ],
)
def test_a_slip_of_the_finger(capsys: pytest.CaptureFixture[str], words: list[str], meant: str) -> None:
    assert cli.execute(words) in (2, 3)
    assert meant in capsys.readouterr().err


def test_ids_of_runs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    store = filled(tmp_path / "store")
    with store.writer("test"):
        store.begin_run(store.run("r1").model_copy(update={"id": "20260101-000000-sdar-seed0"}))
    assert cli.execute(["status", "--run", "20260101-00000-sdar-seed0", "--store", str(store.path)]) == 2
    assert "Did you mean 20260101-000000-sdar-seed0?" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_no_colour_where_none_is_wanted(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    console_for(stream).print(Text("text", style="red"))
    assert ("\x1b[31m" in stream.getvalue()) is coloured
    assert is_terminal(stream) is (variables.get("TERM") != "dumb")
    assert not is_terminal(io.StringIO())
