"""SKILL.md texts for people: a new one from its parts, and one with parts changed and all else kept."""

from __future__ import annotations

import json
from collections.abc import Sequence

import yaml

from sdar.schemas.errors import InputError
from sdar.skills.markdown import Content, Problem, entries, split


def compose_text(content: Content) -> str:
    """Return the text of a new SKILL.md; it is not checked here."""
    lines = [
        "---",
        f"name: {_scalar(content.name)}",
        f"description: {_scalar(content.description)}",
        "metadata:",
        f"  environment: {_scalar(content.environment)}",
    ]
    if content.task_types:
        lines.append(f"  task_types: {_list(content.task_types)}")
    return "\n".join([*lines, "---", content.body.strip(), ""])


def changed_text(
    text: str,
    description: str | None = None,
    body: str | None = None,
    task_types: Sequence[str] | None = None,
) -> str:
    """Return a SKILL.md with some parts replaced; other keys and their order stay.

    Args:
        text: the file as it is.
        description: the new one; None keeps it.
        body: the new one; None keeps it.
        task_types: the new ones, none for a general skill; None keeps them.

    Raises:
        InputError: the text has no front matter that could be kept.
    """
    document = split(text.replace("\r\n", "\n"))
    if isinstance(document, Problem) or not isinstance(document.front, yaml.MappingNode):
        raise InputError(
            "the front matter of the skill cannot be read, so no part of it can be replaced. "
            "Give the whole file with --from, or correct it in an editor."
        )
    front = document.front_text.rstrip()
    changes = []
    if description is not None:
        changes.append(_change(document.front, front, "description", _scalar(description)))
    if task_types is not None:
        changes.append(_task_types_change(document.front, front, _list(task_types)))
    # From the end, so that earlier places stay valid.
    for start, end, new in sorted(changes, reverse=True):
        front = front[:start] + new + front[end:]
    return f"---\n{front}\n---\n{document.body if body is None else body.strip()}\n"


_Change = tuple[int, int, str]


def _task_types_change(node: yaml.MappingNode, front: str, types: str) -> _Change:
    metadata = entries(node).get("metadata")
    if isinstance(metadata, yaml.MappingNode) and metadata.value:
        return _change(metadata, front, "task_types", types)
    return _change(node, front, "metadata", f"{{task_types: {types}}}")


def _change(mapping: yaml.MappingNode, front: str, name: str, new: str) -> _Change:
    """Return the change that gives a key of a mapping another value, or adds it before the first key."""
    for key, value in mapping.value:
        if key.value == name:
            start, end = key.end_mark.index, min(value.end_mark.index, len(front))
            # What is in block style ends before the next key, line break and indent included.
            rest = front[start:end]
            return start, end, f": {new}{rest[len(rest.rstrip()) :]}"
    if not mapping.value:
        return mapping.start_mark.index, mapping.end_mark.index, f"{{{name}: {new}}}"
    first = mapping.value[0][0].start_mark
    separator = ", " if mapping.flow_style else "\n" + " " * first.column
    return first.index, first.index, f"{name}: {new}{separator}"


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_scalar, texts))}]"


def _scalar(text: str) -> str:
    """Return a text as YAML, in quotes only where it would be read as something else."""
    folded = " ".join(text.split())
    try:
        plain = yaml.safe_load(f"[{folded}]\n") == [folded] and yaml.safe_load(f"k: {folded}\n") == {
            "k": folded
        }
    except (yaml.YAMLError, ValueError, RecursionError):
        plain = False
    return folded if plain else json.dumps(folded, ensure_ascii=False)
