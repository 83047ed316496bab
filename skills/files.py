"""SKILL.md files: one folder per skill, front matter that retrieval matches, a body that the model reads.

where-cups-are/SKILL.md
---
name: where-cups-are
description: Where to find the cup and the mug.
metadata:
  environment: household
  task_types: [pick_and_place, pick_two]
---
The cup and the mug are kept in cabinet 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from sdar.schemas.errors import InputError
from sdar.schemas.keys import content_hash
from sdar.schemas.records import Skill

FILE_NAME = "SKILL.md"
MAX_BODY_CHARACTERS = 4000
MAX_FILE_BYTES = 65536
FRONT_KEYS = ("name", "description", "metadata")
METADATA_KEYS = ("environment", "task_types")

_FENCE = "---"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_TEXT_TAG = "tag:yaml.org,2002:str"


@dataclass(frozen=True)
class Fault:
    """One thing wrong with one skill file; `line` counts from 1."""

    path: Path
    line: int
    message: str


@dataclass(frozen=True)
class _Problem:
    line: int
    message: str


@dataclass(frozen=True)
class _Document:
    front: yaml.Node | None
    body: str
    body_line: int


def load_skills(folder: Path) -> list[Skill]:
    """Return the skills of all `<folder>/<name>/SKILL.md` files, sorted by name.

    Args:
        folder: the bank. Files directly in it, and folders that start with `.` or `_`, are ignored.

    Raises:
        InputError: the folder is missing or holds no skill, or lists every fault of every file.
    """
    directories = _skill_folders(folder)
    if not directories:
        raise InputError(
            f"no skills in {folder}: expected one folder per skill, {folder}/<name>/{FILE_NAME}. "
            "Set skills.path to a folder that has some, or to `builtin`."
        )
    outcomes = [_load_file(directory / FILE_NAME, folder.resolve()) for directory in directories]
    faults = [fault for outcome in outcomes if not isinstance(outcome, Skill) for fault in outcome]
    if faults:
        raise _refusal(faults)
    return sorted((skill for skill in outcomes if isinstance(skill, Skill)), key=lambda skill: skill.name)


def parse_skill(text: str, path: Path) -> Skill:
    """Return the skill written in `text`.

    Args:
        text: the content of a SKILL.md file.
        path: where it came from; the name of its folder must be the name of the skill.

    Raises:
        InputError: lists every fault with its line.
    """
    outcome = _parse(text, path)
    if isinstance(outcome, Skill):
        return outcome
    raise _refusal(outcome)


def builtin_skills(environment: str) -> list[Skill]:
    """Return the bank that is shipped for an environment.

    Raises:
        InputError: none is shipped for it.
    """
    home = Path(__file__).resolve().parent
    shipped = sorted({file.parent.parent.name for file in home.glob(f"*/*/{FILE_NAME}")})
    if environment not in shipped:
        raise InputError(
            f"no built-in skills for the environment {environment!r}; "
            f"there are some for {', '.join(shipped)}. "
            f"Set skills.path to a folder of <name>/{FILE_NAME} files, or skills.strategy to none."
        )
    return load_skills(home / environment)


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
    names = [skill.name for skill in skills]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"the bank has more than one skill named {', '.join(repeated)}; names must be unique. "
            "Rename or remove the extra ones."
        )


def _skill_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder. Set skills.path to a folder of skills, or to `builtin`.")
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] not in "._")


def _load_file(path: Path, root: Path) -> Skill | list[Fault]:
    if not path.is_file():
        return [Fault(path, 1, f"file missing; each folder of a bank needs a {FILE_NAME}")]
    if not path.resolve().is_relative_to(root):
        return [Fault(path, 1, "leads out of the bank through a symlink; copy the file into the bank")]
    try:
        content = path.read_bytes()
    except OSError as error:
        return [Fault(path, 1, f"unreadable: {error.strerror}")]
    if len(content) > MAX_FILE_BYTES:
        return [Fault(path, 1, f"{len(content)} bytes; at most {MAX_FILE_BYTES} are allowed")]
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return [Fault(path, line, f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8")]
    return _parse(text, path)


def _parse(text: str, path: Path) -> Skill | list[Fault]:
    lines = text.replace("\r\n", "\n")
    problems = list(_control_problems(lines))
    # Blanked out, because YAML would stop at the first one and hide the other faults.
    document = _split(_CONTROL.sub(" ", lines))
    if isinstance(document, _Problem):
        problems.append(document)
    else:
        problems += [*_front_problems(document.front, path.parent.name), *_body_problems(document)]
        if not problems:
            return _skill(document)
    return [Fault(path, problem.line, problem.message) for problem in problems]


def _split(text: str) -> _Document | _Problem:
    lines = text.split("\n")
    if lines[0].rstrip() != _FENCE:
        return _Problem(1, f"the first line must be `{_FENCE}`, which opens the front matter")
    fences = [number for number, line in enumerate(lines[1:], 2) if line.rstrip() == _FENCE]
    if not fences:
        return _Problem(len(lines), f"the front matter is not closed by a line `{_FENCE}`")
    end = fences[0]
    front = _compose("\n".join(lines[1 : end - 1]))
    if isinstance(front, _Problem):
        return front
    return _Document(front, "\n".join(lines[end:]).strip(), end + 1)


def _compose(text: str) -> yaml.Node | _Problem | None:
    # Nodes rather than values, because only nodes know their lines.
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "not readable"
        hint = "put a text that holds a colon in quotes"
        return _Problem(mark.line + 2 if mark else 2, f"front matter is not YAML: {reason}; {hint}")
    except RecursionError:
        return _Problem(2, "front matter is nested too deeply")
    return node


def _skill(document: _Document) -> Skill:
    front = _entries(document.front)
    metadata = _entries(front["metadata"])
    return make_skill(
        name=front["name"].value,
        description=" ".join(front["description"].value.split()),
        environment=metadata["environment"].value,
        task_types=[item.value for item in metadata["task_types"].value],
        body=document.body,
        source="file",
    )


def _control_problems(text: str) -> Iterator[_Problem]:
    for number, line in enumerate(text.split("\n"), 1):
        found = _CONTROL.search(line)
        if found:
            yield _Problem(number, f"control character U+{ord(found.group()):04X}; remove it")


def _body_problems(document: _Document) -> Iterator[_Problem]:
    if not document.body:
        yield _Problem(document.body_line, "the body is empty; write what the model should know")
    if len(document.body) > MAX_BODY_CHARACTERS:
        size = len(document.body)
        yield _Problem(
            document.body_line, f"the body has {size} characters; {MAX_BODY_CHARACTERS} are allowed"
        )


def _front_problems(node: yaml.Node | None, folder: str) -> Iterator[_Problem]:
    if not isinstance(node, yaml.MappingNode):
        yield _Problem(2, f"front matter must have the keys {', '.join(FRONT_KEYS)}")
        return
    yield from _key_problems(node, FRONT_KEYS)
    entries = _entries(node)
    for key in ("name", "description"):
        yield from _text_problems(entries.get(key), key)
    yield from _name_problems(entries.get("name"), folder)
    metadata = entries.get("metadata")
    if isinstance(metadata, yaml.MappingNode):
        yield from _metadata_problems(metadata)
    elif metadata is not None:
        yield _Problem(_line(metadata), f"metadata must have the keys {', '.join(METADATA_KEYS)}")


def _metadata_problems(node: yaml.MappingNode) -> Iterator[_Problem]:
    yield from _key_problems(node, METADATA_KEYS, "metadata.")
    entries = _entries(node)
    yield from _text_problems(entries.get("environment"), "metadata.environment")
    types = entries.get("task_types")
    if types is None:
        return
    if not isinstance(types, yaml.SequenceNode) or not types.value:
        yield _Problem(_line(types), "metadata.task_types must be a list such as [pick_and_place, pick_two]")
        return
    for item in types.value:
        yield from _text_problems(item, "an entry of metadata.task_types")


def _key_problems(node: yaml.MappingNode, allowed: Sequence[str], prefix: str = "") -> Iterator[_Problem]:
    seen: set[str] = set()
    for key, _ in node.value:
        name = str(key.value)
        if name not in allowed:
            yield _Problem(_line(key), f"unknown key {prefix}{name}; allowed: {', '.join(allowed)}")
        elif name in seen:
            yield _Problem(_line(key), f"{prefix}{name} is given twice")
        seen.add(name)
    for name in allowed:
        if name not in seen:
            yield _Problem(_line(node), f"{prefix}{name} is missing")


def _text_problems(node: yaml.Node | None, label: str) -> Iterator[_Problem]:
    if node is None:
        return
    if not isinstance(node, yaml.ScalarNode):
        yield _Problem(_line(node), f"{label} must be one text")
    elif not node.value.strip():
        yield _Problem(_line(node), f"{label} is empty")
    elif node.tag != _TEXT_TAG:
        yield _Problem(_line(node), f"{label} is {node.value}, not text; write it in quotes")
    elif _CONTROL.search(node.value):
        # Escapes in a quoted text become control characters only when YAML is read.
        yield _Problem(_line(node), f"{label} holds an escaped control character; remove it")


def _name_problems(node: yaml.Node | None, folder: str) -> Iterator[_Problem]:
    if not isinstance(node, yaml.ScalarNode) or node.tag != _TEXT_TAG or not node.value.strip():
        return
    if not _NAME.fullmatch(node.value):
        yield _Problem(
            _line(node), f"name {node.value!r} may hold lower-case letters, digits and single hyphens"
        )
    if node.value != folder:
        yield _Problem(
            _line(node), f"name {node.value!r} differs from its folder {folder!r}; rename one of them"
        )


def _entries(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {str(key.value): value for key, value in node.value} if node is not None else {}


def _line(node: yaml.Node) -> int:
    # The mark counts from 0 and the front matter starts on line 2.
    return int(node.start_mark.line) + 2


def _refusal(faults: Sequence[Fault]) -> InputError:
    files = len({fault.path for fault in faults})
    listed = "\n".join(f"  {fault.path}:{fault.line}: {fault.message}" for fault in faults)
    return InputError(
        f"{len(faults)} fault(s) in {files} skill file(s):\n{listed}\n"
        "Correct them, then check again with `sdar skills list`."
    )
