"""`sdar skills index`: what it shows, and that a folder is brought up to date or refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sdar.flows import cli

POLICY = ("--set", "skills.embedder=policy")


def skill(bank: Path, name: str) -> None:
    folder = bank / name
    folder.mkdir(parents=True)
    text = f"---\nname: {name}\ndescription: Where the {name} is.\nmetadata:\n  environment: household\n"
    (folder / "SKILL.md").write_text(f"{text}  task_types: []\n---\nIt is here.\n")


def run(capture: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capture.readouterr()
    code = cli.execute(["skills", "index", *arguments])
    printed = capture.readouterr()
    return code, printed.out, printed.err


def facts(capture: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, _ = run(capture, *arguments, "--json")
    assert code == 0
    return json.loads(out)  # type: ignore[no-any-return]


def test_a_bank_without_skills_has_nothing_to_embed(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, told = run(capsys, "--set", "skills.path=empty")
    assert code == 2
    assert "there is nothing to embed. The bank has no skill" in told


def test_the_index_of_the_configured_bank_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    shown = facts(capsys)
    assert (shown["embedder"], shown["skills"], shown["kind"]) == ("tfidf", 26, "flat")
    assert "fingerprint  " + shown["fingerprint"] in run(capsys)[1]


def test_a_folder_is_brought_up_to_date(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    bank, out = tmp_path / "bank", tmp_path / "index"
    skill(bank, "cup")
    skill(bank, "pan")
    given = ("--bank", str(bank), "--out", str(out), *POLICY)
    assert facts(capsys, *given)["embedded"] == 2
    assert facts(capsys, *given)["embedded"] == 0
    skill(bank, "egg")
    grown = facts(capsys, *given)
    assert (grown["embedded"], grown["skills"], grown["folder"]) == (1, 3, str(out))


def test_an_index_of_another_embedder_is_refused_until_it_is_rebuilt(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = ("--out", str(tmp_path / "index"))
    facts(capsys, *given)
    code, _, error = run(capsys, *given, *POLICY)
    assert code == 5
    assert "made by the embedder 'tfidf'" in error
    assert "--rebuild" in error
    assert facts(capsys, *given, *POLICY, "--rebuild")["embedder"] == "policy"


def test_an_unknown_embedder_is_a_fault_of_the_configuration(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, error = run(capsys, "--set", "skills.embedder=tfdif")
    assert code == 2
    assert "skills.embedder: found 'tfdif' (from the command line)" in error
    assert "tfidf, minilm, policy or an existing folder" in error
