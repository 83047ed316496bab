"""Skills come in whole or not at all, and go out so that they come back the same."""

from __future__ import annotations

import stat
import zipfile
from pathlib import Path

import pytest

from sdar.schemas.errors import InputError
from sdar.skills.exchange import export_skills, import_skills, read_source
from sdar.skills.files import load_files, load_skills
from sdar.skills.writing import REMOVED, remove_skills, stored_skill, write_skills


def text(name: str, body: str = "In cabinet 3.", extra: str = "license: MIT\n") -> str:
    return f"---\nname: {name}\ndescription: Where {name} are kept.\n{extra}---\n{body}\n"


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def bank(folder: Path, *names: str) -> Path:
    write_skills(folder, {name: text(name) for name in names})
    return folder


def archive(path: Path, entries: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in entries.items():
            opened.writestr(zipfile.ZipInfo(name), content)
    return path


@pytest.mark.parametrize("out", ["copy", "copy.zip"])
def test_what_goes_out_comes_back_the_same(tmp_path: Path, out: str) -> None:
    source = bank(tmp_path / "bank", "cups", "pans")
    export_skills(load_files(source), tmp_path / out)
    done = import_skills(tmp_path / out, tmp_path / "new")
    assert (done.added, done.replaced, done.same, done.kept) == (("cups", "pans"), (), (), None)
    assert tree(tmp_path / "new") == tree(source) == {f"{n}/SKILL.md": text(n) for n in ("cups", "pans")}
    assert import_skills(tmp_path / out, tmp_path / "new").same == ("cups", "pans")
    # Nothing temporary is left.
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["bank", out, "new"])
    with pytest.raises(InputError, match="is there already"):
        export_skills(load_files(source), tmp_path / out)


def test_equal_banks_are_equal_archives(tmp_path: Path) -> None:
    for number in "12":
        source = bank(tmp_path / number, "cups", "pans")
        export_skills(load_files(source), tmp_path / f"{number}.zip")
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()


def test_a_single_file_may_have_any_name_and_place(tmp_path: Path) -> None:
    file = tmp_path / "downloaded.md"
    file.write_text(text("cups"))
    assert import_skills(file, tmp_path / "bank").added == ("cups",)
    assert import_skills(tmp_path / "bank" / "cups", tmp_path / "other").added == ("cups",)


def test_an_archive_brings_the_files_of_its_skills_and_no_others(tmp_path: Path) -> None:
    made = archive(
        tmp_path / "a.zip",
        {
            "repo-main/": "",
            "repo-main/README.md": "read me",
            "repo-main/skills/cups/SKILL.md": text("cups"),
            "repo-main/skills/cups/scripts/run.sh": "echo",
            "repo-main/skills/cups/.git/config": "hidden",
            "repo-main/skills/cups/nested/SKILL.md": text("nested"),
            "repo-main/skills/cups/nested/own.txt": "of the nested one",
            "repo-main/.removed/0001/pans/SKILL.md": "broken",
            "__MACOSX/cups/SKILL.md": "broken",
        },
    )
    assert import_skills(made, tmp_path / "bank").added == ("cups", "nested")
    assert tree(tmp_path / "bank") == {
        "cups/SKILL.md": text("cups"),
        "cups/scripts/run.sh": "echo",
        "nested/SKILL.md": text("nested"),
        "nested/own.txt": "of the nested one",
    }


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("../cups/SKILL.md", "leads out of the archive"),
        ("a/../../cups/SKILL.md", "leads out of the archive"),
        ("/cups/SKILL.md", "leads out of the archive"),
        ("C:/cups/SKILL.md", "leads out of the archive"),
        ("..\\cups\\SKILL.md", "leads out of the archive"),
        ("a\nb/SKILL.md", "holds odd characters"),
        ("../notes.txt", "leads out of the archive"),
    ],
)
def test_one_entry_with_a_path_trick_refuses_the_archive(tmp_path: Path, name: str, fault: str) -> None:
    made = archive(tmp_path / "a.zip", {"cups/SKILL.md": text("cups"), name: text("cups")})
    with pytest.raises(InputError, match=fault):
        import_skills(made, tmp_path / "bank")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip"]


def test_links_and_oversized_entries_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as opened:
        link = zipfile.ZipInfo("cups/SKILL.md")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        opened.writestr(link, "/etc/passwd")
        opened.writestr("pans/SKILL.md", "x" * 65537)
    with pytest.raises(InputError) as caught:
        read_source(tmp_path / "a.zip")
    assert "cups/SKILL.md:1: is a link" in str(caught.value)
    assert "pans/SKILL.md:1: 65537 bytes; at most 65536 are allowed" in str(caught.value)


def test_an_entry_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.zip", {"pans/SKILL.md": "x" * 70000})
    data = made.read_bytes()
    honest, lie = (70000).to_bytes(4, "little"), (100).to_bytes(4, "little")
    assert data.count(honest) == 4  # the entry is stored: packed and plain size, in both headers
    made.write_bytes(data.replace(honest, lie))
    with pytest.raises(InputError, match=r"pans/SKILL.md:1: |no readable zip archive"):
        import_skills(made, tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_damaged_entry_is_refused_whatever_compressed_it(tmp_path: Path, method: int) -> None:
    made, name = tmp_path / "damaged.zip", "cups/SKILL.md"
    with zipfile.ZipFile(made, "w", method) as archive:
        archive.writestr(name, "---\nname: cups\ndescription: Where the cup is.\n---\nIn drawer 1.\n")
    content = bytearray(made.read_bytes())
    start = 30 + len(name)  # of what was compressed
    content[start + 4 : start + 30] = bytes(byte ^ 0xFF for byte in content[start + 4 : start + 30])
    made.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged.zip/cups/SKILL.md:1: cannot be unpacked"):
        import_skills(made, tmp_path / "bank")


def test_what_is_no_archive_and_no_source_says_what_is(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK no")
    (tmp_path / "empty").mkdir()
    for name, found in (
        ("a.zip", "no readable zip"),
        ("empty", "no SKILL.md in"),
        ("none", "does not exist"),
    ):
        with pytest.raises(InputError, match=rf"{found}.*Name a folder of <name>/SKILL.md files"):
            read_source(tmp_path / name)


def test_two_skills_of_one_name_are_refused(tmp_path: Path) -> None:
    made = archive(tmp_path / "a.zip", {"a/cups/SKILL.md": text("cups"), "b/cups/SKILL.md": text("cups")})
    with pytest.raises(InputError, match=r"name 'cups' is also that of .*a/cups/SKILL.md"):
        read_source(made)


def test_one_bad_file_keeps_all_out(tmp_path: Path) -> None:
    source = bank(tmp_path / "source", "cups", "pans")
    (source / "pans" / "SKILL.md").write_text("no front matter")
    with pytest.raises(InputError, match=r"pans/SKILL.md:1: the first line must be"):
        import_skills(source, tmp_path / "bank")
    assert not (tmp_path / "bank").exists()


def test_a_clash_names_the_difference_and_replacing_keeps_the_old_one(tmp_path: Path) -> None:
    own, source = bank(tmp_path / "own", "cups", "pans", "pots"), bank(tmp_path / "source", "pans", "spoons")
    write_skills(source, {"cups": text("cups", "In drawer 2."), "pots": text("pots", extra="license: BSD\n")})
    (own / "cups" / "notes.txt").write_text("mine")
    before = tree(own)
    with pytest.raises(InputError) as caught:
        import_skills(source, own)
    assert "2 skill(s)" in str(caught.value)
    assert "\n  cups: body\n  pots: other keys\n" in str(caught.value)
    assert tree(own) == before
    done = import_skills(source, own, replace=True)
    assert (done.added, done.replaced, done.same) == (("spoons",), ("cups", "pots"), ("pans",))
    assert done.kept == own / REMOVED / "0001"
    assert stored_skill(own, "cups") == load_files(own)[0]
    assert load_skills(own)[0].body == "In drawer 2."
    assert tree(own)["cups/notes.txt"] == "mine"
    assert tree(done.kept)["cups/SKILL.md"] == before["cups/SKILL.md"]
    # And back again.
    assert import_skills(done.kept, own, replace=True).replaced == ("cups", "pots")
    assert {name: content for name, content in tree(own).items() if name in before} == before


def test_removed_skills_stay_beside_the_bank_and_return(tmp_path: Path) -> None:
    own = bank(tmp_path / "own", "cups", "pans")
    (own / "cups" / "notes.txt").write_text("mine")
    before = tree(own / "cups")
    with pytest.raises(InputError, match=r"no skill 'knives' in .*there are: cups, pans"):
        remove_skills(own, ["cups", "knives"])
    kept = remove_skills(own, ["cups"])
    assert [skill.name for skill in load_skills(own)] == ["pans"]
    assert tree(kept / "cups") == before
    assert import_skills(kept, own).added == ("cups",)
    assert remove_skills(own, ["cups", "cups"]).name == "0002"


@pytest.mark.parametrize("name", ["../cups", "/cups", ".removed", "Cups", ""])
def test_a_name_never_leads_out_of_the_bank(tmp_path: Path, name: str) -> None:
    own = bank(tmp_path / "own", "cups")
    bank(tmp_path, "cups")
    for change in (lambda: remove_skills(own, [name]), lambda: write_skills(own, {name: "x"})):
        with pytest.raises(InputError, match="may hold lower-case letters"):
            change()
    assert sorted(tree(tmp_path)) == ["cups/SKILL.md", "own/cups/SKILL.md"]


def test_a_bank_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="cannot change the bank"):
        write_skills(tmp_path / "file" / "bank", {"cups": text("cups")})


def test_an_archive_with_too_many_entries_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sdar.skills.archive.MAX_ENTRIES", 1)
    made = archive(tmp_path / "a.zip", {"a/SKILL.md": text("a"), "b/SKILL.md": text("b")})
    with pytest.raises(InputError, match="2 entries; at most 1 are allowed"):
        read_source(made)
