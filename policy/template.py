"""What stands between the texts of a conversation, taken from a chat template by rendering it.

The template is rendered with sentinels in place of the texts, and what lies between them are its fixed
strings. Only a template that is uniform can be appended to: after each answer the same string, before each
answer the same string.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdar.schemas.errors import InputError

JINJA, CONFIG = "chat_template.jinja", "tokenizer_config.json"
SENTINELS = ("SYSTEM-0", "USER-0", "ANSWER-0", "USER-1", "ANSWER-1", "USER-2")
ROLES = ("system", "user", "assistant", "user", "assistant", "user")
DATE = "{% macro strftime_now(form) %}26 Jul 2024{% endmacro %}"
"""Before templates that print the date, as prompts must not change overnight: the fixed day of Llama 3.1."""

Message = dict[str, str]
Render = Callable[[Sequence[Message]], str]
"""Renders messages and what asks for the next answer; `TemplateError` when the template refuses."""


@dataclass(frozen=True)
class ChatTemplate:
    """The fixed strings of a chat template.

    Attributes:
        before_system: up to the system text.
        after_system: from there to the first user text.
        before_user: up to the first user text where there is no system message.
        folds: there are no system messages: system text becomes the beginning of the first user text.
        ask: from a user text to the answer.
        answered: from an answer to the next user text; begins with the end-of-turn token.
        reasoning: the end of `ask` that the template shows before the newest answer alone, such as an empty
            `<think>` block. In a row it stays before every answer, as it was when the answer was sampled.
    """

    before_system: str
    after_system: str
    before_user: str
    folds: bool
    ask: str
    answered: str
    reasoning: str


def read_template(folder: Path) -> str | None:
    """Return the chat template of a model folder, or None where it has none.

    Of several named templates it is the one called `default`.
    """
    if (folder / JINJA).is_file():
        return (folder / JINJA).read_text(encoding="utf-8")
    found = tokenizer_settings(folder).get("chat_template")
    if isinstance(found, list):
        named = {each.get("name"): each.get("template") for each in found if isinstance(each, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def tokenizer_settings(folder: Path) -> dict[str, object]:
    """Return what tokenizer_config.json of a model folder holds; nothing where there is none.

    Raises:
        InputError: it is no JSON object.
    """
    path = folder / CONFIG
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is no JSON ({error}); copy the model's folder anew") from error
    if not isinstance(found, dict):
        raise InputError(
            f"{path} holds a {type(found).__name__}, not an object; copy the model's folder anew"
        )
    return found


def pinned(template: str) -> str:
    """Return a template that prints the same date every day."""
    return DATE + template if "strftime_now" in template else template


def conversation(system: str, users: Sequence[str], answers: Sequence[str]) -> list[Message]:
    """Return the messages of a conversation that ends with a user's; an empty system text is no message."""
    messages = [{"role": "system", "content": system}] if system else []
    for index, text in enumerate(users):
        messages.append({"role": "user", "content": text})
        if index < len(answers):
            messages.append({"role": "assistant", "content": answers[index]})
    return messages


def derive(render: Render, name: str) -> ChatTemplate:
    """Return the fixed strings of a template.

    Args:
        render: renders messages with it.
        name: of the model, for errors.

    Raises:
        InputError: the template refuses a plain conversation, or is not uniform.
    """
    from jinja2 import TemplateError

    messages = [{"role": r, "content": text} for r, text in zip(ROLES, SENTINELS, strict=True)]
    try:
        found = _between(render(messages), SENTINELS)
    except TemplateError:  # there are templates that refuse system messages
        found = None
    try:
        plain = _between(render(messages[1:]), SENTINELS[1:])
    except TemplateError as error:
        raise InputError(f"the chat template of {name} refuses users and assistants: {error}") from error
    if plain is None:
        raise InputError(f"the chat template of {name} drops or repeats messages; it cannot be appended to")
    before_user, *after = plain
    before_system, after_system = found[:2] if found else ("", "")
    ask, answered, again, last, newest = after[0], after[1], after[2], after[3], after[4]
    if again != ask or last != answered or not newest.startswith(ask) or (found and found[2:] != after):
        raise InputError(
            f"the chat template of {name} shows turns in different ways ({ask!r}, {again!r} and {newest!r} "
            f"before answers; {answered!r} and {last!r} after them), so a row cannot be appended to; "
            "allowed: templates that are alike for every turn"
        )
    reasoning = newest.removeprefix(ask)
    if reasoning and not reasoning.strip().startswith("<think>"):
        raise InputError(
            f"the chat template of {name} puts {reasoning!r} before the newest answer alone; "
            "allowed there: nothing, or a <think> block"
        )
    return ChatTemplate(before_system, after_system, before_user, found is None, newest, answered, reasoning)


def _between(text: str, sentinels: Sequence[str]) -> list[str] | None:
    """Return what stands before, between and after texts that occur once each in this order, else None."""
    found = []
    for sentinel in sentinels:
        before, there, text = text.partition(sentinel)
        if not there:
            return None
        found.append(before)
    pieces = [*found, text]
    return None if any(sentinel in piece for piece in pieces for sentinel in sentinels) else pieces
