"""The text of a SKILL.md file: what it must hold, read with the line of every fault.

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

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

MAX_NAME_CHARACTERS = 64
MAX_DESCRIPTION_CHARACTERS = 1024
MAX_BODY_CHARACTERS = 4000
REQUIRED_KEYS = ("name", "description")
# Keys of the open Agent Skills convention: kept in the file, and of no effect here except `metadata`.
OTHER_KEYS = ("metadata", "license", "compatibility", "allowed-tools", "version")
METADATA_KEYS = ("environment", "task_types")
ANY_ENVIRONMENT = "any"

_FENCE = "---"
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# With line separators and direction overrides, which show people another text than the model reads.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TEXT_TAG = "tag:yaml.org,2002:str"
# Above this likeness an unknown key is a slip of the pen rather than a key of somebody else.
_SLIP = 0.8


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a text; `line` counts from 1."""

    line: int
    message: str


@dataclass(frozen=True)
class Content:
    """What a SKILL.md says; no task types means that the skill is for all of them."""

    name: str
    description: str
    environment: str
    task_types: tuple[str, ...]
    body: str


@dataclass(frozen=True)
class Document:
    """A text cut at its fences: `front` starts on line 2, the body on line `body_line`."""

    front: yaml.Node | None
    front_text: str
    body: str
    body_line: int


def read_content(text: str, folder: str | None) -> Content | list[Problem]:
    """Return what a SKILL.md says, or everything that is wrong with it.

    Args:
        text: the whole file.
        folder: name of its folder, which must be the skill's name; None where there is no such folder.
    """
    lines = text.replace("\r\n", "\n")
    problems = list(_control_problems(lines))
    # Blanked out, because YAML would stop at the first one and hide the other faults.
    document = split(_CONTROL.sub(" ", lines))
    if isinstance(document, Problem):
        return [*problems, document]
    problems += [*_front_problems(document.front, folder), *_body_problems(document)]
    return problems or _content(document)


def split(text: str) -> Document | Problem:
    """Return the parts of a text whose lines end in a plain newline, or why it has none."""
    lines = text.split("\n")
    if lines[0].rstrip() != _FENCE:
        return Problem(1, f"the first line must be `{_FENCE}`, which opens the front matter")
    fences = [number for number, line in enumerate(lines[1:], 2) if line.rstrip() == _FENCE]
    if not fences:
        return Problem(len(lines), f"the front matter is not closed by a line `{_FENCE}`")
    end = fences[0]
    front_text = "\n".join(lines[1 : end - 1])
    front = _compose(front_text)
    if isinstance(front, Problem):
        return front
    return Document(front, front_text, "\n".join(lines[end:]).strip(), end + 1)


def entries(node: yaml.Node | None) -> dict[str, yaml.Node]:
    """Return the values of a mapping by key; none for a node that is no mapping."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {_key(key): value for key, value in node.value}


def name_fault(name: str) -> str | None:
    """Return what is wrong with the name of a skill, None if nothing is."""
    if not _NAME.fullmatch(name):
        return f"name {name!r} may hold lower-case letters, digits and single hyphens"
    if len(name) > MAX_NAME_CHARACTERS:
        return f"the name has {len(name)} characters; {MAX_NAME_CHARACTERS} are allowed"
    return None


def _compose(text: str) -> yaml.Node | Problem | None:
    # Nodes rather than values, because only nodes know their lines.
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or "not readable"
        hint = "put a text that holds a colon in quotes"
        return Problem(mark.line + 2 if mark else 2, f"front matter is not YAML: {reason}; {hint}")
    except RecursionError:
        return Problem(2, "front matter is nested too deeply")
    return node


def _content(document: Document) -> Content:
    front = entries(document.front)
    metadata = entries(front.get("metadata"))
    environment = metadata.get("environment")
    return Content(
        name=front["name"].value,
        description=_one_line(front["description"].value),
        environment=environment.value if environment is not None else ANY_ENVIRONMENT,
        task_types=_task_types(metadata.get("task_types")),
        body=document.body,
    )


def _task_types(node: yaml.Node | None) -> tuple[str, ...]:
    if isinstance(node, yaml.ScalarNode):
        # The open convention has texts only as metadata, where others write lists with commas.
        return tuple(re.findall(r"[^\s,]+", node.value))
    return tuple(item.value for item in node.value) if node is not None else ()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _control_problems(text: str) -> Iterator[Problem]:
    for number, line in enumerate(text.split("\n"), 1):
        found = _CONTROL.search(line)
        if found:
            yield Problem(number, f"control character U+{ord(found.group()):04X}; remove it")


def _body_problems(document: Document) -> Iterator[Problem]:
    if not document.body:
        yield Problem(document.body_line, "the body is empty; write what the model should know")
    if len(document.body) > MAX_BODY_CHARACTERS:
        size = len(document.body)
        yield Problem(
            document.body_line, f"the body has {size} characters; {MAX_BODY_CHARACTERS} are allowed"
        )


def _front_problems(node: yaml.Node | None, folder: str | None) -> Iterator[Problem]:
    if not isinstance(node, yaml.MappingNode):
        yield Problem(2, f"front matter must have the keys {', '.join(REQUIRED_KEYS)}")
        return
    yield from _key_problems(node)
    found = entries(node)
    for key in REQUIRED_KEYS:
        yield from _text_problems(found.get(key), key)
    yield from _name_problems(found.get("name"), folder)
    yield from _description_problems(found.get("description"))
    metadata = found.get("metadata")
    if isinstance(metadata, yaml.MappingNode):
        yield from _metadata_problems(metadata)
    elif metadata is not None:
        yield Problem(_line(metadata), f"metadata must hold keys such as {', '.join(METADATA_KEYS)}")


def _key_problems(node: yaml.MappingNode) -> Iterator[Problem]:
    allowed = (*REQUIRED_KEYS, *OTHER_KEYS)
    for key, _ in node.value:
        if _key(key) not in allowed:
            listed = ", ".join(allowed)
            yield Problem(
                _line(key), f"unknown key {_key(key)}; allowed: {listed}. Put others under metadata"
            )
    yield from _repeated_keys(node)
    for name in REQUIRED_KEYS:
        if name not in entries(node):
            yield Problem(_line(node), f"{name} is missing")


def _repeated_keys(node: yaml.MappingNode, prefix: str = "") -> Iterator[Problem]:
    seen: set[str] = set()
    for key, _ in node.value:
        if _key(key) in seen:
            yield Problem(_line(key), f"{prefix}{_key(key)} is given twice")
        seen.add(_key(key))


def _metadata_problems(node: yaml.MappingNode) -> Iterator[Problem]:
    for key, _ in node.value:
        # A misspelt task_types would turn the skill into one for all tasks without a word.
        meant = difflib.get_close_matches(_key(key), METADATA_KEYS, n=1, cutoff=_SLIP)
        if meant and _key(key) not in METADATA_KEYS:
            yield Problem(_line(key), f"unknown key metadata.{_key(key)}; write {meant[0]}")
    yield from _repeated_keys(node, "metadata.")
    found = entries(node)
    yield from _text_problems(found.get("environment"), "metadata.environment")
    types = found.get("task_types")
    if isinstance(types, yaml.SequenceNode):
        for item in types.value:
            yield from _text_problems(item, "an entry of metadata.task_types")
    elif isinstance(types, yaml.MappingNode):
        yield Problem(_line(types), "metadata.task_types must be a list such as [pick_and_place, pick_two]")
    else:
        yield from _text_problems(types, "metadata.task_types")


def _text_problems(node: yaml.Node | None, label: str) -> Iterator[Problem]:
    if node is None:
        return
    if not isinstance(node, yaml.ScalarNode):
        yield Problem(_line(node), f"{label} must be one text")
    elif not node.value.strip():
        yield Problem(_line(node), f"{label} is empty")
    elif node.tag != _TEXT_TAG:
        yield Problem(_line(node), f"{label} is {node.value}, not text; write it in quotes")
    elif _CONTROL.search(node.value):
        # Escapes in a quoted text become control characters only when YAML is read.
        yield Problem(_line(node), f"{label} holds an escaped control character; remove it")


def _name_problems(node: yaml.Node | None, folder: str | None) -> Iterator[Problem]:
    if not isinstance(node, yaml.ScalarNode) or node.tag != _TEXT_TAG or not node.value.strip():
        return
    fault = name_fault(node.value)
    if fault:
        yield Problem(_line(node), fault)
    if folder is not None and node.value != folder:
        yield Problem(
            _line(node), f"name {node.value!r} differs from its folder {folder!r}; rename one of them"
        )


def _description_problems(node: yaml.Node | None) -> Iterator[Problem]:
    if isinstance(node, yaml.ScalarNode) and len(_one_line(node.value)) > MAX_DESCRIPTION_CHARACTERS:
        size = len(_one_line(node.value))
        yield Problem(
            _line(node), f"the description has {size} characters; {MAX_DESCRIPTION_CHARACTERS} are allowed"
        )


def _key(node: yaml.Node) -> str:
    # A list or mapping as a key may hold itself, so it is never shown.
    return str(node.value) if isinstance(node, yaml.ScalarNode) else "that is no text"


def _line(node: yaml.Node) -> int:
    # The mark counts from 0 and the front matter starts on line 2.
    return int(node.start_mark.line) + 2
