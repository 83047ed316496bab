"""Banks on the disk: one folder per skill with a SKILL.md, read whole or refused with every fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdar.schemas.errors import InputError
from sdar.schemas.keys import content_hash
from sdar.schemas.records import Skill
from sdar.skills.markdown import Content, read_content

FILE_NAME = "SKILL.md"
MAX_FILE_BYTES = 65536


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one skill file; `line` counts from 1."""

    path: Path
    line: int
    message: str


@dataclass(frozen=True)
class SkillFile:
    """A SKILL.md that was read: the skill, and the text with the keys that no skill keeps."""

    path: Path
    text: str
    skill: Skill


@dataclass(frozen=True)
class BankFiles:
    """What a folder of skills holds, by name, and every fault of the other files."""

    files: tuple[SkillFile, ...]
    faults: tuple[Fault, ...]


def load_skills(folder: Path) -> list[Skill]:
    """Return the skills of all `<folder>/<name>/SKILL.md` files, sorted by name.

    Args:
        folder: the bank. Files directly in it, and folders that start with `.` or `_`, are ignored.

    Raises:
        InputError: the folder is missing or holds no skill, or lists every fault of every file.
    """
    return [file.skill for file in load_files(folder)]


def load_files(folder: Path) -> list[SkillFile]:
    """Return the skills of a folder with their texts, sorted by name; see `load_skills` for the errors."""
    bank = read_bank(folder)
    if bank.faults:
        raise refusal(bank.faults)
    return list(bank.files)


def read_bank(folder: Path) -> BankFiles:
    """Return the skills of a folder and the faults of those that cannot be read.

    Raises:
        InputError: the folder is missing or has no folder in it.
    """
    directories = _skill_folders(folder)
    if not directories:
        raise InputError(
            f"no skills in {folder}: expected one folder per skill, {folder}/<name>/{FILE_NAME}. "
            "Set skills.path to a folder that has some, or to `builtin`."
        )
    return gather(read_file(directory / FILE_NAME, folder.resolve()) for directory in directories)


def gather(outcomes: Iterable[SkillFile | list[Fault]]) -> BankFiles:
    """Return skills and faults apart, the skills sorted by name."""
    files: list[SkillFile] = []
    faults: list[Fault] = []
    for outcome in outcomes:
        if isinstance(outcome, SkillFile):
            files.append(outcome)
        else:
            faults += outcome
    return BankFiles(tuple(sorted(files, key=lambda file: file.skill.name)), tuple(faults))


def parse_skill(text: str, path: Path) -> Skill:
    """Return the skill written in `text`.

    Args:
        text: the content of a SKILL.md file.
        path: where it came from; the name of its folder must be the name of the skill.

    Raises:
        InputError: lists every fault with its line.
    """
    outcome = read_text(text, path, path.parent.name)
    if isinstance(outcome, SkillFile):
        return outcome.skill
    raise refusal(outcome)


def builtin_skills(environment: str) -> list[Skill]:
    """Return the bank that is shipped for an environment, `skills/<environment>/`; see `builtin_folder`."""
    return load_skills(builtin_folder(environment))


def builtin_folder(environment: str) -> Path:
    """Return the folder of the bank that is shipped for an environment.

    Raises:
        InputError: none is shipped for it.
    """
    home = Path(__file__).resolve().parent
    shipped = sorted({file.parent.parent.name for file in home.glob(f"*/*/{FILE_NAME}")})
    if environment not in shipped:
        raise InputError(
            f"no built-in skills for the environment {environment!r}; "
            f"there are some for {', '.join(shipped)}. "
            f"Set skills.path to a folder of <name>/{FILE_NAME} files, or to `empty` for none."
        )
    return home / environment


def make_skill(
    name: str,
    description: str,
    environment: str,
    task_types: Sequence[str],
    body: str,
    source: str,
    parents: Sequence[str] = (),
    version: int = 1,
) -> Skill:
    """Return a skill whose id is the content hash (16 hexadecimal digits) of all other fields."""
    fields = {
        "name": name,
        "description": description,
        "environment": environment,
        "task_types": list(task_types),
        "body": body,
        "source": source,
        "parents": list(parents),
        "version": version,
    }
    return Skill.model_validate({"id": content_hash(fields)[:16], **fields})


def refuse_duplicates(skills: Iterable[Skill]) -> None:
    """Check that no two skills of a bank share a name.

    Raises:
        InputError: lists the names that occur more than once.
    """
    counts = Counter(skill.name for skill in skills)
    repeated = sorted(name for name, count in counts.items() if count > 1)
    if repeated:
        raise InputError(
            f"the bank has more than one skill named {', '.join(repeated)}; names must be unique. "
            "Rename or remove the extra ones."
        )


def read_file(path: Path, root: Path, named: bool = True) -> SkillFile | list[Fault]:
    """Return one file as a skill, or all its faults.

    Args:
        path: the SKILL.md.
        root: resolved folder that the file must not lead out of.
        named: whether the name of its folder must be the skill's.
    """
    if not path.is_file():
        return [Fault(path, 1, f"file missing; each folder of a bank needs a {FILE_NAME}")]
    if not path.resolve().is_relative_to(root):
        return [Fault(path, 1, "leads out of the bank through a symlink; copy the file into the bank")]
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_FILE_BYTES else b""
    except OSError as error:
        return [Fault(path, 1, f"unreadable: {error.strerror}")]
    if size > MAX_FILE_BYTES:
        return [Fault(path, 1, f"{size} bytes; at most {MAX_FILE_BYTES} are allowed")]
    return read_bytes(content, path, path.absolute().parent.name if named else None)


def read_bytes(content: bytes, path: Path, folder: str | None) -> SkillFile | list[Fault]:
    """Return the bytes of a SKILL.md as a skill, or all its faults; see `read_text`."""
    text = text_of(content, path)
    return read_text(text, path, folder) if isinstance(text, str) else text


def text_of(content: bytes, path: Path) -> str | list[Fault]:
    """Return the bytes of a file as text, or why they are none: too many, or not UTF-8."""
    if len(content) > MAX_FILE_BYTES:
        return [Fault(path, 1, f"more than {MAX_FILE_BYTES} bytes")]
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return [Fault(path, line, f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8")]


def checked_text(content: bytes, path: Path) -> str:
    """Return the bytes of a file as text; `InputError` says why they are none, see `text_of`."""
    text = text_of(content, path)
    if isinstance(text, str):
        return text
    raise refusal(text)


def read_text(text: str, path: Path, folder: str | None) -> SkillFile | list[Fault]:
    """Return the text of a SKILL.md as a skill, or all its faults.

    Args:
        text: the whole file.
        path: what the faults name.
        folder: what the skill must be called; None allows any name.
    """
    content = read_content(text, folder)
    if isinstance(content, Content):
        return SkillFile(path, text, skill_of(content))
    return [Fault(path, problem.line, problem.message) for problem in content]


def skill_of(content: Content) -> Skill:
    """Return the skill that a file says."""
    return make_skill(
        name=content.name,
        description=content.description,
        environment=content.environment,
        task_types=content.task_types,
        body=content.body,
        source="file",
    )


def refusal(faults: Sequence[Fault]) -> InputError:
    """Return the error that lists faults with file and line."""
    files = len({fault.path for fault in faults})
    listed = "\n".join(f"  {fault.path}:{fault.line}: {fault.message}" for fault in faults)
    return InputError(
        f"{len(faults)} fault(s) in {files} skill file(s):\n{listed}\n"
        "Correct them, then check again with `sdar skills check`."
    )


def _skill_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Set skills.path to a folder of skills, or to `builtin`.")
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] not in "._")
