"""Every command that a message, a help text or a document names exists, with the options it names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from sdar.flows.cli import app

ROOT = Path(__file__).parents[2]
ROOMS = ("flows", "tasks", "rl", "policy", "envs", "skills", "storage", "schemas")
GROUP, COMMAND = (
    typer.main.get_command(app),
    re.compile(r"(?:^|[`(:,] ?|see |with: )sdar((?: [a-z][^`\s]*)+[^`\n]*)", re.M),
)
# Prose about the program itself, which begins a sentence or a line of a docstring.
PROSE = re.compile(r"^(?: itself| is| opens| or) ?")


def messages(file: Path) -> Iterator[str]:
    """Text of a file in which commands are named; what an f-string fills in becomes X."""
    if file.suffix != ".py":
        yield file.read_text()
        return
    tree = ast.parse(file.read_text())
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "X" for part in node.values)  # type: ignore[misc]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.value


def commands(text: str) -> list[str]:
    """What follows `sdar` up to the end of the command: a backtick, a bracket, a comment or the line."""
    found = [match[1] for match in COMMAND.finditer(text)]
    return [re.split(r"[`#;)\n]|\. |, ", command)[0] for command in found if not PROSE.match(command)]


def fault(command: str) -> str | None:
    """Follow the words of a command through the groups; return what does not exist."""
    here = GROUP
    words = command.replace("'", " ").replace('"', " ").split()
    while words and hasattr(here, "commands") and not words[0].startswith("-"):
        if words[0] not in here.commands:
            return f"no command {words[0]!r}"
        here = here.commands[words.pop(0)]
    options = {name for parameter in here.params for name in parameter.opts}
    unknown = [word for word in re.findall(r"(?<!\S)--[a-z-]+", command) if word not in options]
    return f"no option {unknown[0]}" if unknown else None


FILES = [
    *(file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "docs").rglob("*.sql")),
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
]


def test_all_named_commands_exist() -> None:
    named = {
        (command, str(file.relative_to(ROOT)))
        for file in FILES
        for text in messages(file)
        for command in commands(text)
    }
    assert len(named) > 40
    assert [
        f"{place}: sdar{command}: {why}" for command, place in sorted(named) if (why := fault(command))
    ] == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Run `sdar stroe verify` now", "no command 'stroe'"),
        ("Go on: sdar run --resmue X --store X", "no option --resmue"),
        ("see `sdar store verfy`.", "no command 'verfy'"),
        ("or (sdar stage collect --round N --force); then", None),
        ("sdar sql 'SELECT * FROM run'", None),
    ],
)
def test_the_check_itself_can_fail(text: str, expected: str | None) -> None:
    (command,) = commands(text)
    assert fault(command) == expected
