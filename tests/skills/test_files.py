from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar.schemas.errors import InputError
from sdar.schemas.records import Skill
from sdar.skills.files import builtin_skills, load_skills, make_skill, parse_skill, refuse_duplicates

GOOD = """---
name: {name}
description: Where the cup is kept.
metadata:
  environment: household
  task_types: [pick_and_place, pick_two]
---

The cup is kept
in cabinet 3.
"""


def write(bank: Path, name: str, text: str) -> Path:
    file = bank / name / "SKILL.md"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return file


def faults_of(text: str, folder: str = "cups") -> list[str]:
    """Return the faults as `line: message`."""
    with pytest.raises(InputError) as caught:
        parse_skill(text, Path(folder) / "SKILL.md")
    prefix = f"  {folder}/SKILL.md:"
    return [line.removeprefix(prefix) for line in str(caught.value).split("\n") if line.startswith(prefix)]


def test_a_file_becomes_a_skill() -> None:
    skill = parse_skill(GOOD.format(name="cups"), Path("bank/cups/SKILL.md"))
    assert skill.model_dump(exclude={"id"}) == {
        "name": "cups",
        "description": "Where the cup is kept.",
        "environment": "household",
        "task_types": ("pick_and_place", "pick_two"),
        "body": "The cup is kept\nin cabinet 3.",
        "source": "file",
        "parents": (),
        "version": 1,
    }


def test_id_is_the_content_and_not_the_place_or_the_line_ends() -> None:
    text = GOOD.format(name="cups")
    here = parse_skill(text, Path("a/cups/SKILL.md"))
    assert here.id == parse_skill(text.replace("\n", "\r\n"), Path("b/cups/SKILL.md")).id
    assert here.id != parse_skill(text.replace("cabinet 3", "cabinet 4"), Path("a/cups/SKILL.md")).id
    assert len(here.id) == 16


@given(
    st.sampled_from(["name", "description", "environment", "body", "source"]), st.text(min_size=1, max_size=5)
)
def test_every_text_field_enters_the_id(field: str, value: str) -> None:
    def made(changed: dict[str, str]) -> Skill:
        fields = {"name": "", "description": "", "environment": "", "body": "", "source": ""} | changed
        return make_skill(
            fields["name"],
            fields["description"],
            fields["environment"],
            ["a"],
            fields["body"],
            fields["source"],
        )

    assert made({field: value}).id != made({}).id


def test_skills_come_sorted_and_other_files_are_ignored(tmp_path: Path) -> None:
    for name in ("pots", "cups"):
        write(tmp_path, name, GOOD.format(name=name))
    (tmp_path / "README.md").write_text("about this bank")
    (tmp_path / ".git").mkdir()
    assert [skill.name for skill in load_skills(tmp_path)] == ["cups", "pots"]


def test_all_faults_of_all_files_arrive_at_once(tmp_path: Path) -> None:
    write(tmp_path, "cups", GOOD.format(name="mugs").replace("Where the cup is kept.", "''"))
    write(tmp_path, "pans", "no front matter")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        load_skills(tmp_path)
    assert str(caught.value).split("\n") == [
        "4 fault(s) in 3 skill file(s):",
        f"  {tmp_path}/cups/SKILL.md:3: description is empty",
        f"  {tmp_path}/cups/SKILL.md:2: name 'mugs' differs from its folder 'cups'; rename one of them",
        f"  {tmp_path}/empty/SKILL.md:1: file missing; each folder of a bank needs a SKILL.md",
        f"  {tmp_path}/pans/SKILL.md:1: the first line must be `---`, which opens the front matter",
        "Correct them, then check again with `sdar skills check`.",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("name: cups", "name: 7", "2: name is 7, not text; write it in quotes"),
        ("name: cups", "name: [cups]", "2: name must be one text"),
        ("name: cups\n", "", "2: name is missing"),
        ("name: cups", "name: cups\nname: cups", "3: name is given twice"),
        (
            "name: cups",
            "title: x\nname: cups",
            "2: unknown key title; allowed: name, description, metadata, license, compatibility, "
            "allowed-tools, version. Put others under metadata",
        ),
        ("  task_types", "  task_type", "6: unknown key metadata.task_type; write task_types"),
        ("  task_types", "  environment: x\n  task_types", "6: metadata.environment is given twice"),
        (
            "[pick_and_place, pick_two]",
            "{a: b}",
            "6: metadata.task_types must be a list such as [pick_and_place, pick_two]",
        ),
        ("[pick_and_place, pick_two]", "", "6: metadata.task_types is empty"),
        (
            "Where the cup is kept.",
            "d" * 1025,
            "3: the description has 1025 characters; 1024 are allowed",
        ),
        ("cabinet 3", "cabinet \u202e3", "10: control character U+202E; remove it"),
        (
            "name: cups",
            "? &a [*a]\n: x\nname: cups",
            "2: unknown key that is no text; allowed: name, description, metadata, license, compatibility, "
            "allowed-tools, version. Put others under metadata",
        ),
        (
            "[pick_and_place, pick_two]",
            "[a, 1]",
            "6: an entry of metadata.task_types is 1, not text; write it in quotes",
        ),
        (
            "Where the cup is kept.",
            '"a\\x07b"',
            "3: description holds an escaped control character; remove it",
        ),
        ("cabinet 3", "cabinet\x1b 3", "10: control character U+001B; remove it"),
        (
            "The cup is kept\nin cabinet 3.\n",
            "  \n",
            "8: the body is empty; write what the model should know",
        ),
        ("The cup", "x" * 4001, "8: the body has 4023 characters; 4000 are allowed"),
        (
            "Where the cup",
            "Where: the cup",
            "3: front matter is not YAML: mapping values are not allowed here; "
            "put a text that holds a colon in quotes",
        ),
    ],
)
def test_each_fault_names_its_line(old: str, new: str, fault: str) -> None:
    text = GOOD.format(name="cups")
    assert old in text
    assert faults_of(text.replace(old, new)) == [fault]


@pytest.mark.parametrize("name", ["Cups", "cups_1", "-cups", "a--b", "../cups"])
def test_a_name_is_lower_case_words_with_hyphens(name: str) -> None:
    fault = f"2: name {name!r} may hold lower-case letters, digits and single hyphens"
    assert fault in faults_of(GOOD.format(name=name))


def test_a_name_has_64_characters_at_most() -> None:
    name = "a" * 65
    assert faults_of(GOOD.format(name=name), name) == ["2: the name has 65 characters; 64 are allowed"]
    assert parse_skill(GOOD.format(name=name[1:]), Path(name[1:]) / "SKILL.md").name == name[1:]


def test_skills_of_the_open_convention_are_read_as_they_are() -> None:
    text = """---
name: pdf-forms
description: Fill in forms.
license: Apache-2.0
compatibility: Needs a printer.
allowed-tools: Bash(git:*) Read
version: 2
metadata:
  author: somebody
  tags: [a, {b: c}]
---
Use a pen.
"""
    skill = parse_skill(text, Path("pdf-forms/SKILL.md"))
    assert (skill.environment, skill.task_types, skill.version) == ("any", (), 1)
    bare = parse_skill("---\nname: a\ndescription: b\n---\nc", Path("a/SKILL.md"))
    assert (bare.environment, bare.task_types, bare.body) == ("any", (), "c")


@pytest.mark.parametrize("types", ["[a_b, c]", '"a_b, c"', "a_b c"])
def test_task_types_may_be_a_list_or_a_text(types: str) -> None:
    text = GOOD.format(name="cups").replace("[pick_and_place, pick_two]", types)
    assert parse_skill(text, Path("cups/SKILL.md")).task_types == ("a_b", "c")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("---\nname: cups", "2: the front matter is not closed by a line `---`"),
        ("---\n---\nbody", "2: front matter must have the keys name, description"),
        ("---\n" + "[" * 5000 + "\n---\nbody", "2: front matter is nested too deeply"),
    ],
)
def test_broken_front_matter(text: str, fault: str) -> None:
    assert faults_of(text) == [fault]


@given(st.text(max_size=200) | st.text(alphabet="ab:-[]{}&*!|>'\"# \n", max_size=40))
def test_any_other_front_matter_ends_in_an_input_error(text: str) -> None:
    with pytest.raises(InputError, match=r"cups/SKILL.md:\d+: "):
        parse_skill(f"---\n{text}\n---\nSome body.", Path("cups/SKILL.md"))


def test_a_symlink_must_stay_in_the_bank(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", "cups", GOOD.format(name="cups"))
    (tmp_path / "bank").mkdir()
    (tmp_path / "bank" / "cups").symlink_to(outside.parent)
    with pytest.raises(InputError, match=r"cups/SKILL.md:1: leads out of the bank through a symlink"):
        load_skills(tmp_path / "bank")


def test_the_bank_itself_may_be_a_symlink(tmp_path: Path) -> None:
    write(tmp_path / "real", "cups", GOOD.format(name="cups"))
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert [skill.name for skill in load_skills(tmp_path / "link")] == ["cups"]


def test_bytes_that_are_not_utf8_and_files_too_large(tmp_path: Path) -> None:
    write(tmp_path, "cups", "").write_bytes(b"---\nname: \xff")
    write(tmp_path, "pans", "x" * 65537)
    with pytest.raises(InputError) as caught:
        load_skills(tmp_path)
    assert "cups/SKILL.md:2: byte 0xff is not UTF-8" in str(caught.value)
    assert "pans/SKILL.md:1: 65537 bytes; at most 65536 are allowed" in str(caught.value)


def test_a_missing_or_empty_bank_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        load_skills(tmp_path / "nowhere")
    with pytest.raises(InputError, match="expected one folder per skill"):
        load_skills(tmp_path)


@pytest.mark.parametrize("environment", ["moon", "..", "", "__pycache__"])
def test_builtin_names_what_is_shipped(environment: str) -> None:
    with pytest.raises(InputError, match=r"there are some for .*household"):
        builtin_skills(environment)


def test_duplicate_names_are_refused() -> None:
    skills: list[Skill] = [make_skill("cups", "d", "e", ["t"], body, "file") for body in ("one", "two")]
    refuse_duplicates(skills[:1])
    with pytest.raises(InputError, match="more than one skill named cups"):
        refuse_duplicates(skills)


def test_the_example_of_the_documentation_is_a_skill() -> None:
    page = (Path(__file__).parents[2] / "docs" / "skills.md").read_text(encoding="utf-8")
    example = page.split("```markdown\n")[1].split("```")[0]
    skill = parse_skill(example, Path("home-of-cup-mug-glass/SKILL.md"))
    assert skill.body == "The cup, the mug and the glass are kept in cabinet 3."
