"""`sdar skills add, edit, remove, import, export, check`: what they change, print and refuse."""

from __future__ import annotations

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from sdar.flows import cli
from sdar.skills.files import builtin_skills, load_skills

Capture = pytest.CaptureFixture[str]
SKILL = """---
name: cups
description: Where cups are.
license: MIT
metadata:
  environment: household
  task_types: [pick_two]
---
In cabinet 3.
"""


def call(capture: Capture, code: int, *arguments: object) -> str:
    """Return what a command prints; on standard error if it must fail."""
    capture.readouterr()
    found = cli.execute(["skills", *map(str, arguments)])
    printed = capture.readouterr()
    assert found == code, printed
    return printed.err if code else printed.out


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """A bank with one skill."""
    folder = tmp_path / "bank"
    (folder / "cups").mkdir(parents=True)
    (folder / "cups" / "SKILL.md").write_text(SKILL)
    return folder


def report(capture: Capture, *arguments: object) -> Any:
    return json.loads(call(capture, 0, *arguments, "--json"))


def test_another_environment_brings_its_bank(tmp_path: Path, capsys: Capture) -> None:
    assert report(capsys, "list", "--env", "trip") == report(capsys, "list", "--set", "env.name=trip")
    name = builtin_skills("trip")[0].name
    assert report(capsys, "show", name, "--env", "trip")["environment"] == "trip"
    assert report(capsys, "search", "Book a hotel.", "--env", "trip") != report(
        capsys, "search", "Book a hotel."
    )
    assert report(capsys, "index", "--env", "trip")["skills"] == len(builtin_skills("trip"))
    new = ("--bank", tmp_path / "new", "--env", "webshop")
    added = report(capsys, "add", "pans", *new, "--description", "Pans.", "--body", "Cheap.")
    assert added["environment"] == "webshop"
    assert report(capsys, "check", *new)["warnings"] == []
    assert report(capsys, "edit", "pans", *new, "--body", "Dear.")["body"] == "Dear."
    assert report(capsys, "retire", "pans", *new, "--reason", "Sold.")["outcome"] == "retired"
    assert report(capsys, "restore", "pans", *new)["outcome"] == "restored"
    exported = report(capsys, "export", "--env", "trip", "--out", tmp_path / "trip")["skills"]
    assert len(exported) == len(builtin_skills("trip"))
    assert len(report(capsys, "import", tmp_path / "trip", *new)["added"]) == len(exported)
    assert report(capsys, "remove", "pans", *new)["removed"] == ["pans"]


def test_no_skill_goes_where_none_is_read(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    new = ("add", "pans", "--description", "Pans.", "--body", "Here.")
    assert "'empty' stands for no skills" in call(capsys, 2, *new, "--bank", "empty")
    assert not (tmp_path / "empty").exists()


def test_bytes_that_are_not_utf_8_are_refused(tmp_path: Path, capsys: Capture) -> None:
    new = ("add", "pans", "--bank", tmp_path / "new", "--description", "Pans \udcff.", "--body", "Here.")
    assert "SKILL.md:3: byte 0xff is not UTF-8" in call(capsys, 2, *new)
    assert not (tmp_path / "new").exists()


def test_a_bank_begins_with_its_first_skill(tmp_path: Path, capsys: Capture) -> None:
    new = ("add", "pans", "--bank", tmp_path / "new", "--description", "Pans: where?", "--body", "Here.")
    made = report(capsys, *new, "--task-type", "pick_two", "--task-type", "heat_and_place")
    (skill,) = load_skills(tmp_path / "new")
    assert (made["outcome"], made["id"]) == ("added", skill.id)
    assert (skill.description, skill.body, skill.environment) == ("Pans: where?", "Here.", "household")
    assert skill.task_types == ("pick_two", "heat_and_place")
    assert "sdar skills edit pans" in call(capsys, 2, *new)
    assert [row["name"] for row in report(capsys, "list", "--bank", tmp_path / "new")] == ["pans"]
    assert "Here." in call(capsys, 0, "show", "pans", "--set", f"skills.path={tmp_path / 'new'}")


def test_what_add_cannot_use_changes_nothing(bank: Path, tmp_path: Path, capsys: Capture) -> None:
    pans = ("add", "pans", "--bank", bank)
    (tmp_path / "SKILL.md").write_text(SKILL)
    assert "needs --description and --body" in call(capsys, 2, *pans, "--body", "Here.")
    assert "leave --description" in call(capsys, 2, *pans, "--from", tmp_path / "x", "--body", "b")
    assert "name 'cups' differs from" in call(capsys, 2, *pans, "--from", tmp_path / "SKILL.md")
    assert "cannot read" in call(capsys, 2, *pans, "--from", tmp_path / "none")
    assert "4001 characters" in call(capsys, 2, *pans, "--description", "d", "--body", "x" * 4001)
    assert "U+001B" in call(capsys, 2, *pans, "--description", "d", "--body", "\x1b[2J")
    assert "lower-case" in call(capsys, 2, "add", "../pans", "--bank", bank, "--from", tmp_path / "SKILL.md")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["SKILL.md", "SKILL.md", "bank", "cups"]


@pytest.mark.parametrize("command", [("add", "x"), ("edit", "what-heats"), ("remove", "what-heats")])
def test_the_builtin_bank_is_copied_and_not_changed(command: tuple[str, ...], capsys: Capture) -> None:
    assert "sdar skills export --out my-skills" in call(capsys, 2, *command)
    assert "sdar skills export --out my-skills" in call(capsys, 2, "import", "x", "--bank", "builtin")


def test_edit_replaces_parts_and_keeps_other_keys(bank: Path, capsys: Capture) -> None:
    call(capsys, 0, "edit", "cups", "--bank", bank, "--body", "In drawer 1.", "--task-type", "heat_and_place")
    expected = SKILL.replace("cabinet 3", "drawer 1").replace("pick_two", "heat_and_place")
    assert (bank / "cups" / "SKILL.md").read_text() == expected
    assert "description is empty" in call(capsys, 2, "edit", "cups", "--bank", bank, "--description", " ")
    assert "there are: cups" in call(capsys, 2, "edit", "pans", "--bank", bank, "--body", "x")
    assert (bank / "cups" / "SKILL.md").read_text() == expected


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make standard input a terminal, as it is for a person."""
    ours, theirs = os.openpty()
    with os.fdopen(theirs) as screen:
        monkeypatch.setattr(sys, "stdin", screen)
        monkeypatch.delenv("VISUAL", raising=False)
        yield monkeypatch
    os.close(ours)


def test_an_editor_works_on_a_copy(
    bank: Path, tmp_path: Path, capsys: Capture, terminal: pytest.MonkeyPatch
) -> None:
    file = bank / "cups" / "SKILL.md"
    terminal.setenv("TMPDIR", str(tmp_path / "copies"))
    terminal.setattr("tempfile.tempdir", None)
    (tmp_path / "copies").mkdir()
    terminal.setenv("EDITOR", "true")
    assert "stays as it was" in call(capsys, 0, "edit", "cups", "--bank", bank)
    terminal.setenv("EDITOR", "sed -i s/Where/There/")
    call(capsys, 0, "edit", "cups", "--bank", bank)
    assert file.read_text() == SKILL.replace("Where", "There")
    terminal.setenv("EDITOR", "false")
    assert "the editor 'false' failed" in call(capsys, 2, "edit", "cups", "--bank", bank)
    assert list((tmp_path / "copies").iterdir()) == []


def test_an_edit_with_faults_changes_nothing_and_is_not_lost(
    bank: Path, capsys: Capture, terminal: pytest.MonkeyPatch
) -> None:
    terminal.setenv("EDITOR", "sed -i s/name:/nom:/")
    error = call(capsys, 2, "edit", "cups", "--bank", bank)
    assert (bank / "cups" / "SKILL.md").read_text() == SKILL
    assert "SKILL.md:2: unknown key nom" in error
    copy = Path(error.split("--from ")[1].split(" ")[0])
    copy.write_text(SKILL.replace("cabinet", "drawer"))
    call(capsys, 0, "edit", "cups", "--bank", bank, "--from", copy)
    assert load_skills(bank)[0].body == "In drawer 3."


def test_an_edit_does_not_overwrite_that_of_somebody_else(
    bank: Path, tmp_path: Path, capsys: Capture, terminal: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "editor.sh"
    other.write_text(f"sed -i s/cabinet/shelf/ {bank}/cups/SKILL.md; sed -i s/cabinet/drawer/ $1")
    terminal.setenv("EDITOR", f"sh {other}")
    assert "changed by somebody else" in call(capsys, 2, "edit", "cups", "--bank", bank)
    assert load_skills(bank)[0].body == "In shelf 3."


def test_without_a_terminal_or_an_editor_the_options_are_named(
    bank: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDITOR", "true")
    monkeypatch.delenv("VISUAL", raising=False)
    assert "no terminal. Give the change with --description" in call(
        capsys, 2, "edit", "cups", "--bank", bank
    )
    monkeypatch.delenv("EDITOR")
    assert "neither VISUAL nor EDITOR" in call(capsys, 2, "edit", "cups", "--bank", bank)


def test_removed_skills_come_back_with_the_printed_command(bank: Path, capsys: Capture) -> None:
    done = report(capsys, "remove", "cups", "--bank", bank)
    assert "no skills in" in call(capsys, 2, "list", "--bank", bank)
    assert cli.execute(done["restore"].split(" ")[1:]) == 0
    assert (bank / "cups" / "SKILL.md").read_text() == SKILL


def test_skills_travel_in_an_archive(bank: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "two.zip"
    call(capsys, 0, "export", "--out", out, "what-heats", "what-cools")
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["what-cools/SKILL.md", "what-heats/SKILL.md"]
    added = report(capsys, "import", out, "--bank", bank)["added"]
    assert added == ["what-cools", "what-heats"]
    assert "the same     2  what-cools, what-heats" in call(capsys, 0, "import", out, "--bank", bank)
    assert "no skill x in the bank" in call(capsys, 2, "export", "--out", tmp_path / "y", "x", "what-heats")
    assert "is there already" in call(capsys, 2, "export", "--out", out)


def test_a_copy_of_the_builtin_bank_is_the_same_bank(tmp_path: Path, capsys: Capture) -> None:
    call(capsys, 0, "export", "--out", tmp_path / "mine")
    assert load_skills(tmp_path / "mine") == builtin_skills("household")


def test_a_replaced_skill_is_kept_aside(bank: Path, tmp_path: Path, capsys: Capture) -> None:
    new = tmp_path / "SKILL.md"
    new.write_text(SKILL.replace("cabinet", "drawer"))
    error = call(capsys, 2, "import", new, "--bank", bank)
    assert "cups: body\nNothing was written" in error
    text = call(capsys, 0, "import", new, "--replace", "--bank", bank)
    assert load_skills(bank)[0].body == "In drawer 3."
    assert cli.execute(text.split("with: sdar ")[1].split()) == 0
    assert load_skills(bank)[0].body == "In cabinet 3."


def test_a_clean_bank_is_counted(capsys: Capture) -> None:
    found = report(capsys, "check")
    assert len(found["skills"]) == 26
    assert (found["faults"], found["warnings"], found["policy"]) == ([], [], "starter")
    assert all(0 < skill["tokens"] <= 160 and skill["fits"] for skill in found["skills"])
    text = call(capsys, 0, "check", "--set", "skills.budget=1")
    assert "26 skills in" in text
    assert "26 too large for skills.budget 1 alone" in text


def test_check_warns_of_what_is_allowed_and_odd(bank: Path, capsys: Capture) -> None:
    for name, old, new in (
        ("mugs", "In cabinet 3.", "in  cabinet 3."),
        ("pans", "In cabinet 3.\n", "Elsewhere.\n"),
        ("pots", "environment: household", "environment: moon"),
    ):
        (bank / name).mkdir()
        text = SKILL.replace("name: cups", f"name: {name}").replace(old, new)
        text = text.replace("pick_two", "pick_tow") if name == "pans" else text
        (bank / name / "SKILL.md").write_text(text)
    first, second, third = report(capsys, "check", bank)["warnings"]
    assert first == "cups, mugs, pots have the same body; remove all but one"
    assert second.startswith("pans: household has no tasks of type pick_tow; it has clean_and_place, ")
    assert third == "pots is for the environment moon, not household"
    assert f"Warning: {first}." in call(capsys, 0, "check", bank)


def test_check_lists_every_fault(bank: Path, capsys: Capture) -> None:
    (bank / "pans").mkdir()
    (bank / "cups" / "SKILL.md").write_text(SKILL.replace("name: cups", "name: mugs\nname: mugs"))
    error = call(capsys, 2, "check", "--bank", bank)
    assert "3 fault(s) in 2 skill file(s)" in error
    assert "cups/SKILL.md:3: name is given twice" in error
    capsys.readouterr()
    assert cli.execute(["skills", "check", str(bank), "--json"]) == 2
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert [fault["line"] for fault in faults] == [3, 3, 1]
    assert "give one of them" in call(capsys, 2, "check", bank, "--bank", bank)
