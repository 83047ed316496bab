"""Files beside a SKILL.md travel with it, and nothing travels that could do harm on the way."""

from __future__ import annotations

import hashlib
import os
import stat
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from bank_folders import skill

from sdar.schemas.errors import InputError
from sdar.skills import companions as limits
from sdar.skills.companions import Companion, companions, place_companions
from sdar.skills.exchange import export_skills, import_skills
from sdar.skills.files import load_files, load_skills


def beside(folder: Path) -> dict[str, bytes]:
    return {each.path: each.content for each in companions(folder)}


def test_companions_are_listed_with_their_hashes(tmp_path: Path) -> None:
    home = skill(tmp_path)
    for name in (".DS_Store", "__pycache__/a.pyc", ".git/config"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text("left behind")
    found = companions(home)
    assert [each.path for each in found] == ["notes.txt", "scripts/run.py"]
    assert found[0].digest == hashlib.sha256(b"mine").hexdigest()
    # They are no part of the skill: its id and what the teacher reads stay the same.
    (with_files,) = load_skills(tmp_path)
    (home / "notes.txt").write_text("other")
    assert load_skills(tmp_path) == [with_files]
    assert with_files.body == "In cabinet 3."


@pytest.mark.parametrize("out", ["copy", "copy.zip"])
def test_companions_go_out_and_come_back_to_the_byte(tmp_path: Path, out: str) -> None:
    home = skill(tmp_path / "bank")
    export_skills(load_files(tmp_path / "bank"), tmp_path / out)
    assert import_skills(tmp_path / out, tmp_path / "new").added == ("cups",)
    assert beside(tmp_path / "new" / "cups") == beside(home) != {}
    assert import_skills(tmp_path / out, tmp_path / "new").same == ("cups",)


def test_other_files_are_a_difference_and_old_ones_are_kept_aside(tmp_path: Path) -> None:
    old, new = skill(tmp_path / "old"), skill(tmp_path / "new")
    (old / "own.txt").write_text("only here")
    (new / "notes.txt").write_text("changed")
    with pytest.raises(InputError, match=r"cups: files\nNothing was written"):
        import_skills(tmp_path / "new", tmp_path / "old")
    done = import_skills(tmp_path / "new", tmp_path / "old", replace=True)
    assert done.kept is not None
    assert beside(old) == {**beside(new), "own.txt": b"only here"}
    assert beside(done.kept / "cups")["notes.txt"] == b"mine"


def test_links_and_special_files_are_refused_all_at_once(tmp_path: Path) -> None:
    home = skill(tmp_path / "bank")
    (tmp_path / "secret").mkdir()
    (home / "passwd").symlink_to("/etc/passwd")
    (home / "secret").symlink_to(tmp_path / "secret")
    os.mkfifo(home / "pipe")
    with pytest.raises(InputError) as caught:
        import_skills(tmp_path / "bank", tmp_path / "new")
    assert [line.strip().removeprefix(f"{home}/") for line in str(caught.value).splitlines()[1:4]] == [
        "passwd:1: is a link; put the file itself beside the skill",
        "pipe:1: is no plain file; remove it",
        "secret:1: is a link; put the file itself beside the skill",
    ]
    assert not (tmp_path / "new").exists()
    # A run reads the skills all the same: nothing beside them enters it.
    assert [found.name for found in load_skills(tmp_path / "bank")] == ["cups"]


def test_a_link_in_the_bank_leads_nothing_out_of_it(tmp_path: Path) -> None:
    skill(tmp_path / "source")
    home = skill(tmp_path / "bank")
    (home / "scripts" / "run.py").unlink()
    (home / "scripts").rmdir()
    (tmp_path / "outside").mkdir()
    (home / "scripts").symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match="is a link"):
        import_skills(tmp_path / "source", tmp_path / "bank", replace=True)
    with pytest.raises(InputError, match="leads out of the folder"):
        place_companions(home, [Companion("scripts/run.py", b"")])
    assert list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/x", "SKILL.md", ""])
def test_a_path_stays_inside_and_leaves_the_skill_alone(tmp_path: Path, path: str) -> None:
    home = skill(tmp_path)
    with pytest.raises(InputError, match=r"leads out of the folder of the skill, or is its SKILL\.md"):
        place_companions(home, [Companion(path, b"evil")])


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES", 10)
    monkeypatch.setattr(limits, "MAX_SKILL_BYTES", 13)
    monkeypatch.setattr(limits, "MAX_FILES", 1)
    home = skill(tmp_path)  # files of 4 and 11 bytes
    with pytest.raises(InputError, match=r"run.py:1: 11 bytes; at most 10 are allowed"):
        companions(home)
    monkeypatch.setattr(limits, "MAX_BYTES", 11)
    with pytest.raises(InputError) as caught:
        companions(home)
    assert "2 files beside SKILL.md; at most 1 are allowed" in str(caught.value)
    assert "15 bytes beside SKILL.md; at most 13 are allowed" in str(caught.value)


def test_bad_entries_of_an_archive_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("cups/SKILL.md", (skill(tmp_path / "x") / "SKILL.md").read_text())
        opened.writestr("cups/big.bin", b"0" * (limits.MAX_BYTES + 1))
        link = zipfile.ZipInfo("cups/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
        opened.writestr("cups/two", "a")
        with pytest.warns(UserWarning, match="Duplicate name"):
            opened.writestr("cups/two", "b")
    with pytest.raises(InputError) as caught:
        import_skills(tmp_path / "a.zip", tmp_path / "bank")
    for fault in ("big.bin:1: 1048577 bytes", "link:1: is a link", "two:1: is in the archive more than once"):
        assert fault in str(caught.value)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.text("abc", min_size=1, max_size=3).map(lambda name: f"d{name}/{name}.bin"),
        st.binary(max_size=64),
        max_size=4,
    )
)
def test_any_files_survive_an_archive(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    home = skill(folder / "bank")
    place_companions(home, [Companion(path, content) for path, content in files.items()])
    export_skills(load_files(folder / "bank"), folder / "a.zip")
    import_skills(folder / "a.zip", folder / "new")
    assert beside(folder / "new" / "cups") == beside(home)
