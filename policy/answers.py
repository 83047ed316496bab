"""What a sampled completion says to the world: the rules by which an action is found in it.

Reasoning is everything up to the last `</think>`; it never reaches the world. With `plain` all the rest is
the action. With `tagged` the rest must hold exactly one `<action>...</action>` with something in it; text
around it is ignored. A completion that breaks the rules is an invalid turn. The world still hears it, so that
a step passes and the answer is in its own words, but behind a mark with which it cannot be mistaken for an
action: whoever forgets the tags gets nothing done.
"""

from __future__ import annotations

from dataclasses import dataclass

from sdar.schemas.config import ActionFormat

THINK, THOUGHT = "<think>", "</think>"
OPEN, CLOSE = "<action>", "</action>"


@dataclass(frozen=True)
class Answer:
    """The `action` for the world; `fault` is empty, or what is wrong with the form of the completion."""

    action: str
    fault: str = ""

    def heard(self, observation: str) -> str:
        """Return the observation for the policy: that of the world, behind what was wrong with the form."""
        return f"Your answer was not understood: {self.fault}.\n{observation}" if self.fault else observation


def read_answer(text: str, form: ActionFormat) -> Answer:
    """Return the action in a completion, or the whole completion behind a mark that names its fault.

    Args:
        text: the completion, without its end token.
        form: how actions are given.
    """
    rest = text.rpartition(THOUGHT)[2]
    if THINK in rest:
        return _faulty(f"{THINK} is not closed", text)
    if form == "plain":
        return Answer(rest.strip())
    fault = _fault(rest)
    if fault:
        return _faulty(fault, text)
    return Answer(rest.partition(OPEN)[2].partition(CLOSE)[0].strip())


def _fault(text: str) -> str:
    """Return what is wrong with the tags of a tagged answer, or nothing."""
    opened, closed = text.count(OPEN), text.count(CLOSE)
    if not opened:
        return f"there is no {OPEN}...{CLOSE}"
    if opened > 1 or closed > 1:
        return f"there is more than one {OPEN}...{CLOSE}"
    _, _, rest = text.partition(OPEN)
    inside, found, _ = rest.partition(CLOSE)
    if not found:
        return f"{OPEN} is not closed"
    return "" if inside.strip() else f"{OPEN} is empty"


def _faulty(fault: str, text: str) -> Answer:
    return Answer(f"[{fault}] {text}", fault)
