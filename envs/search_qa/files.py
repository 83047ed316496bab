"""A corpus and its questions from JSONL files, read whole or refused with every fault.

corpus.jsonl     {"id": "7", "title": "Elmford", "text": "Elmford lies on the Aller."}
questions.jsonl  {"id": "q1", "question": "Where is Elmford?", "answers": ["on the Aller"], "dataset": "mine"}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sdar.envs.search_qa.records import Passage, Question
from sdar.schemas.errors import InputError

CORPUS, QUESTIONS = "corpus.jsonl", "questions.jsonl"
SHOWN = 20
"""Most faults that one message lists."""

Item = TypeVar("Item", Passage, Question)


@dataclass(frozen=True)
class _Line:
    path: Path
    number: int
    value: dict[str, Any]

    def fault(self, message: str) -> str:
        return f"{self.path}:{self.number}: {message}"


def read_library(folder: Path, with_corpus: bool) -> tuple[tuple[Passage, ...], tuple[Question, ...]]:
    """Return the passages and the questions of a folder, in the order of their files.

    Keys that are not named in this module's description are ignored, blank lines too.

    Args:
        folder: holds corpus.jsonl and questions.jsonl, in UTF-8.
        with_corpus: False where a remote server has the corpus; then corpus.jsonl is not read.

    Raises:
        InputError: a file is missing or empty, or lists the faults of both files, each with its line.
    """
    faults: list[str] = []
    passages = _read(folder / CORPUS, _passage, faults) if with_corpus else []
    questions = _read(folder / QUESTIONS, _question, faults)
    if faults:
        more = f"\nand {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise InputError(
            f"{len(faults)} fault(s) in the library {folder}:\n" + "\n".join(faults[:SHOWN]) + more + "\n"
            'Allowed: a JSON object a line, {"id", "title", "text"} in corpus.jsonl and '
            '{"id", "question", "answers", "dataset"} in questions.jsonl. Repair them, or leave env.data '
            "empty for a generated library"
        )
    return tuple(passages), tuple(questions)


def _read(path: Path, make: Callable[[_Line, list[str]], Item | None], faults: list[str]) -> list[Item]:
    before = len(faults)
    items: list[Item] = []
    lines: dict[str, int] = {}
    for line in _lines(path, faults):
        item = make(line, faults)
        if item is None:
            continue
        if item.id in lines:
            faults.append(line.fault(f"id {item.id!r} is also that of line {lines[item.id]}"))
        lines.setdefault(item.id, line.number)
        items.append(item)
    if not items and len(faults) == before:
        faults.append(f"{path}: there is nothing in it")
    return items


def _lines(path: Path, faults: list[str]) -> Iterator[_Line]:
    try:
        rows = path.read_bytes().split(b"\n")
    except OSError as error:
        faults.append(f"{path}: {error.strerror or error}")
        return
    for number, row in enumerate(rows, 1):
        try:
            text = row.decode("utf-8-sig" if number == 1 else "utf-8")
            if not text.strip():
                continue
            value = json.loads(text)
        except (ValueError, RecursionError) as error:
            faults.append(f"{path}:{number}: no JSON in UTF-8: {error}")
            continue
        if isinstance(value, dict):
            yield _Line(path, number, value)
        else:
            faults.append(f"{path}:{number}: a {type(value).__name__} instead of an object")


def _passage(line: _Line, faults: list[str]) -> Passage | None:
    found = _texts(line, ("id", "title", "text"), faults)
    return Passage(found["id"], found["title"], found["text"]) if found else None


def _question(line: _Line, faults: list[str]) -> Question | None:
    found = _texts(line, ("id", "question", "dataset"), faults)
    answers = line.value.get("answers")
    if not isinstance(answers, list) or not answers or not all(map(_is_text, answers)):
        faults.append(line.fault("answers must be a list of one or more texts that are not blank"))
        return None
    if not found:
        return None
    return Question(found["id"], found["question"], tuple(answers), found["dataset"])


def _texts(line: _Line, names: tuple[str, ...], faults: list[str]) -> dict[str, str]:
    """Return the named texts, stripped, or nothing if one of them is missing, blank or no text."""
    bad = [name for name in names if not _is_text(line.value.get(name))]
    if bad:
        faults.append(line.fault(f"{', '.join(bad)} must be text that is not blank"))
        return {}
    return {name: line.value[name].strip() for name in names}


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
