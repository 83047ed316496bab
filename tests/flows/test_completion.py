"""What the Tab key offers, without a shell and in bash itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_samples import filled
from typer.main import get_command

from sdar.flows import cli
from sdar.flows.completion import take_setting
from sdar.schemas.config import RunConfig


def offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """What bash would be given, the last word being the one that is typed."""
    monkeypatch.setenv("_SDAR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "\n".join(["sdar", *words]))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    assert cli.execute([]) == 0
    return capsys.readouterr().out.split()


@pytest.mark.parametrize(
    ("typed", "words", "setting"),
    [
        (["run", "--set", "sdar.ga"], ["run", "--set", "sdar.ga"], None),
        (["run", "--set", "sdar.gate", "="], ["run", "--set", ""], "sdar.gate"),
        (["run", "--set", "sdar.gate", "=", "so"], ["run", "--set", "so"], "sdar.gate"),
        (["run", "--set", "a", "=", "1", "--set", "b"], ["run", "--set", "a=1", "--set", "b"], None),
        (["run", "--store", "=", "x"], ["run", "--store=x"], None),
    ],
)
def test_words_that_bash_takes_apart(typed: list[str], words: list[str], setting: str | None) -> None:
    environment = {
        "_SDAR_COMPLETE": "complete_bash",
        "COMP_WORDS": "\n".join(["sdar", *typed, "behind the cursor"]),
        "COMP_CWORD": str(len(typed)),
    }
    take_setting(environment)
    assert environment["COMP_WORDS"].split("\n") == ["sdar", *words]
    assert environment["COMP_CWORD"] == str(len(words))
    assert environment.get("_SDAR_COMPLETE_SETTING") == setting


def test_other_shells_are_left_alone() -> None:
    environment = {"_SDAR_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "sdar run --set sdar.gate=so"}
    before = dict(environment)
    take_setting(environment)
    assert environment == before


def test_commands_environments_and_methods(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert offered(monkeypatch, capsys, "wat") == ["watch"]
    assert offered(monkeypatch, capsys, "run", "--env", "tr") == ["trip"]
    assert offered(monkeypatch, capsys, "envs", "play", "web") == ["webshop"]
    assert offered(monkeypatch, capsys, "run", "--method", "sdar_paper_") == [
        "sdar_paper_entropy",
        "sdar_paper_soft_or",
    ]


def test_settings_and_their_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert offered(monkeypatch, capsys, "run", "--set", "sdar.sched") == [
        "sdar.schedule",
        "sdar.schedule_rounds",
    ]
    assert offered(monkeypatch, capsys, "run", "--set", "env.na")[:2] == [
        "env.name=alfworld",
        "env.name=gymnasium",
    ]
    beta = RunConfig().sdar.beta
    assert offered(monkeypatch, capsys, "run", "--set", "sdar.bet") == [f"sdar.beta={beta}"]
    assert offered(monkeypatch, capsys, "run", "--set", "policy.gradient_ch") == [
        "policy.gradient_checkpointing=true",
        "policy.gradient_checkpointing=false",
    ]
    assert offered(monkeypatch, capsys, "run", "--set", "no.such", "=", "x") == []
    assert offered(monkeypatch, capsys, "run", "--set", "sdar.gate", "=", "so") == ["soft_or"]


def test_no_help_has_an_apostrophe_which_zsh_would_leave_out() -> None:
    """Typer writes it as two, which end the quoted text and begin it again: `the tasks own`."""

    def texts(command: Any, name: str) -> Iterator[tuple[str, str]]:
        yield name, command.get_short_help_str()
        yield from ((f"{name} {each.name}", getattr(each, "help", None) or "") for each in command.params)
        for part, inner in getattr(command, "commands", {}).items():
            yield from texts(inner, f"{name} {part}")

    found = list(texts(get_command(cli.app), "sdar"))
    assert len(found) > 100
    assert [name for name, text in found if "'" in text] == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_zsh_and_fish_get_whole_words_with_their_meaning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shell: str
) -> None:
    monkeypatch.setenv("_SDAR_COMPLETE", f"complete_{shell}")
    monkeypatch.setenv("_TYPER_COMPLETE_FISH_ACTION", "get-args")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "sdar run --set sdar.gate=so")
    assert cli.execute([]) == 0
    shown = capsys.readouterr().out
    assert "sdar.gate=soft_or" in shown
    assert "Gate" in shown
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "sdar run --env tr")
    assert cli.execute([]) == 0
    assert len(capsys.readouterr().out.strip().splitlines()) == 1  # a longer meaning would be a second offer


def test_runs_and_policies_of_the_store_that_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = filled(tmp_path / "store")
    assert offered(monkeypatch, capsys, "run", "--store", str(store.path), "--resume", "") == ["r1"]
    assert offered(monkeypatch, capsys, "policy", "export", "--store", str(store.path), "") == [
        "best",
        "last",
        "p0",
    ]
    monkeypatch.setenv("SDAR_STORE", str(store.path))
    assert offered(monkeypatch, capsys, "status", "--run", "r") == ["r1"]
    monkeypatch.setenv("SDAR_STORE", str(tmp_path / "none"))
    assert offered(monkeypatch, capsys, "status", "--run", "") == []
    assert not (tmp_path / "none").exists()


def test_bash_itself(tmp_path: Path) -> None:
    """One press of the key in bash, with the function that is installed there; torch stays out of it."""
    program = tmp_path / "sdar"
    check = "atexit.register(lambda: open(sys.argv[0] + '.torch', 'w').write(str('torch' in sys.modules)))"
    program.write_text(
        f"#!{sys.executable}\nimport atexit, sys\n{check}\nfrom sdar.flows.cli import main\nmain()\n"
    )
    program.chmod(0o755)
    script = (
        'eval "$(_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION=1 sdar --show-completion bash)"\n'
        "COMP_WORDS=(sdar run --set sdar.gate = so) COMP_CWORD=5\n"
        '_sdar_completion sdar; echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=environment, check=False
    )
    assert (done.stdout, done.stderr) == ("soft_or\n", "")
    assert (tmp_path / "sdar.torch").read_text() == "False"
