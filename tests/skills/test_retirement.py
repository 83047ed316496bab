"""A skill retired by hand leaves the bank's prompts, says why, and comes back as it was."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from bank_folders import skill

from sdar.schemas.config import RunConfig
from sdar.schemas.errors import InputError
from sdar.skills.exchange import export_skills, import_skills
from sdar.skills.files import load_files, load_skills
from sdar.skills.retirement import RETIRED, restore_skill, retire_skill, retirements
from sdar.tasks.bank import fingerprint, read_skills


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    for name in ("cups", "pans"):
        skill(tmp_path / "bank", name)
    return tmp_path / "bank"


def test_restoring_undoes_exactly(bank: Path) -> None:
    before, skills = contents(bank), load_skills(bank)
    assert retire_skill(bank, "cups", " They  moved.\n").read_text() == "They moved.\n"
    assert retirements(bank) == {"cups": "They moved."}
    assert load_skills(bank) == skills
    assert restore_skill(bank, "cups") == "They moved."
    assert contents(bank) == before
    assert retirements(bank) == {}


def test_a_run_reads_active_skills_only_and_notices_the_decision(bank: Path) -> None:
    config = RunConfig.model_validate({"skills": {"path": str(bank)}})
    before = fingerprint(config)
    retire_skill(bank, "cups", "They moved.")
    assert [each.name for each in read_skills(config)] == ["pans"]
    assert [each.name for each in read_skills(config, retired=True)] == ["cups", "pans"]
    assert fingerprint(config) != before
    restore_skill(bank, "cups")
    assert fingerprint(config) == before


def test_what_cannot_be_retired_or_restored_says_why(bank: Path) -> None:
    with pytest.raises(InputError, match="needs a reason"):
        retire_skill(bank, "cups", " ")
    with pytest.raises(InputError, match=r"cups of .* is not retired; no skill of it is"):
        restore_skill(bank, "cups")
    with pytest.raises(InputError, match="there are: cups, pans"):
        retire_skill(bank, "pots", "x")
    retire_skill(bank, "cups", "Old.")
    with pytest.raises(InputError, match="retired already: Old"):
        retire_skill(bank, "cups", "New.")
    with pytest.raises(InputError, match="retired are: cups"):
        restore_skill(bank, "pans")
    (bank / "cups" / RETIRED).write_bytes(b"a\n\xff")
    with pytest.raises(InputError, match=r"RETIRED.md:2: byte 0xff is not UTF-8"):
        retirements(bank)
    (bank / "cups" / RETIRED).write_bytes(b" \n")
    with pytest.raises(InputError, match=r"cups/RETIRED.md is empty; it must say why"):
        retirements(bank)


def test_the_decision_travels_with_the_skill(bank: Path, tmp_path: Path) -> None:
    retire_skill(bank, "cups", "Old.")
    export_skills(load_files(bank), tmp_path / "out.zip")
    import_skills(tmp_path / "out.zip", tmp_path / "new")
    assert retirements(tmp_path / "new") == {"cups": "Old."}
