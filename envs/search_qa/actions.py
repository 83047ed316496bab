"""The two actions, and how the world answers them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sdar.envs.search_qa.records import Hit

WELCOME = "You may search the library."
INVALID = "Invalid action. Write <search>query</search> or <answer>text</answer>."
NOTHING = "<information>Nothing found.</information>"

_ACTION = re.compile(r"<(search|answer)>(.*?)</\1>", re.DOTALL)
_THOUGHT_END = "</think>"


@dataclass(frozen=True)
class Action:
    """What was asked for, and the query or the answer."""

    kind: Literal["search", "answer"]
    text: str


def parse_action(text: str) -> Action | None:
    """Return the first complete action after the last `</think>`, or None where there is none.

    Text around it does not count, nor does an action of blanks.

    Args:
        text: all that the policy wrote in a turn.
    """
    found = _ACTION.search(text.rpartition(_THOUGHT_END)[2])
    if found is None or not (content := " ".join(found[2].split())):
        return None
    return Action("search" if found[1] == "search" else "answer", content)


def search_for(query: str) -> str:
    """Return the text of a search."""
    return f"<search>{query}</search>"


def answer_with(text: str) -> str:
    """Return the text of an answer."""
    return f"<answer>{text}</answer>"


def information(hits: Iterable[Hit]) -> str:
    """Return found passages as Search-R1 shows them, one a line."""
    lines = [
        f"Doc {rank}(Title: {_line(hit.passage.title)}) {_line(hit.passage.text)}\n"
        for rank, hit in enumerate(hits, 1)
    ]
    return f"<information>{''.join(lines)}</information>" if lines else NOTHING


def _line(text: str) -> str:
    return " ".join(text.split())
