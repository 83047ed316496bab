"""The pages of the reference, made from the code whenever the documentation is built.

Nothing here knows mkdocs: `PAGES` maps the path of a page to the function that writes its Markdown.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import duckdb
import typer

from sdar.flows.cli import app
from sdar.rl.methods import METHODS
from sdar.schemas.config import RunConfig
from sdar.schemas.resolve import Setting, settings
from sdar.storage import SCHEMA_QUERY, schema_text
from sdar.storage.migrate import migrate
from sdar.tasks.registry import IRRELEVANT, STAGES

QUERIES = Path(__file__).parent / "queries"


def commands() -> str:
    """Write every command of the `sdar` command line with its arguments and options."""
    group = typer.main.get_command(app)
    return "\n".join(["# Command line", "", group.help, "", group.epilog, "", *_commands("sdar", group)])


def _commands(name: str, command: Any) -> Iterator[str]:
    for child, inner in command.commands.items():
        path = f"{name} {child}"
        yield f"{'##' if name == 'sdar' else '###'} {path}\n"
        yield f"{_prose(inner.help)}\n"
        if hasattr(inner, "commands"):
            yield from _commands(path, inner)
            continue
        context = typer.Context(inner, info_name=path)
        yield f"```\n{inner.get_usage(context).removeprefix('Usage: ')}\n```\n"
        records = (parameter.get_help_record(context) for parameter in inner.params)
        yield _table(("option", "meaning"), ((f"`{name}`", text) for name, text in filter(None, records)))


def configuration() -> str:
    """Write every setting with its default, what it allows, its meaning and the stages that read it."""
    parts = [
        "# Settings",
        "",
        "Set one with `--set PATH=VALUE`, or many in a YAML or TOML file with `--config FILE`. Environments "
        "and methods set some otherwise than by the default: `sdar config show` prints what a run would use "
        "and who set it. A stage is computed again when a setting that it reads has changed.",
        "",
    ]
    sections: dict[str, list[Setting]] = {}
    for setting in settings():
        sections.setdefault(setting.path.rpartition(".")[0], []).append(setting)
    for section, members in sections.items():
        parts += [f"## {section or 'The run'}\n", f"{_about(section)}\n"]
        cells = (
            (f"`{row.path}`", f"`{json.dumps(row.default)}`", row.allowed, row.meaning, _readers(row.path))
            for row in members
        )
        parts.append(_table(("setting", "default", "allowed", "meaning", "read by"), cells))
    return "\n".join(parts)


def _about(section: str) -> str:
    """Return what a section of the configuration says of itself."""
    model: Any = RunConfig
    for name in filter(None, section.split(".")):
        model = model.model_fields[name].annotation
    return _prose(inspect.getdoc(model))


def _readers(path: str) -> str:
    names = [
        name
        for name, stage in STAGES.items()
        if any(path == read or path.startswith(f"{read}.") for read in stage.reads)
        or (path == "seed" and stage.seeded)
    ]
    return ", ".join(f"`{name}`" for name in names) or f"no stage: {IRRELEVANT.get(path, 'used by the loop')}"


def methods() -> str:
    """Write every training method with its source and the settings that it stands for."""
    parts = [
        "# Methods",
        "",
        "A method is a name for settings: `sdar run --method NAME`. What it does not set keeps its default. "
        "The formulas behind the settings are in [algorithms](../algorithms.md), what was measured with "
        "them in [results](../results.md).",
        "",
    ]
    for method in METHODS.values():
        values = [f"{path}={value}" for path, value in method.settings.items()] or ["(the defaults)"]
        parts += [f"## {method.name}\n", f"{method.summary}\n", f"Source: {method.source}.\n"]
        parts += ["```", *values, "```", ""]
    return "\n".join(parts)


def tables() -> str:
    """Write every view and table of the store with its columns, from a database that has the schema."""
    with duckdb.connect(":memory:") as connection:
        migrate(connection)
        text = schema_text(connection.sql(SCHEMA_QUERY).to_arrow_table())
    return f"""# Tables and views

Ask with `sdar sql`, from Python with `sdar.open_store`; `sdar sql --schema` prints what follows. How the
store works is in [the store](../store.md), questions with their SQL are under [queries](queries.md).

{text}"""


def queries() -> str:
    """Write the queries of `docs/queries`, each under the question in its first line."""
    parts = ["# Queries", "", "Questions that a store answers: `sdar sql --file docs/queries/NAME.sql`.", ""]
    for file in sorted(QUERIES.glob("*.sql")):
        text = file.read_text(encoding="utf-8").strip()
        question = text.partition("?")[0].removeprefix("-- ")
        parts += [f"## {question}?\n", f"`docs/queries/{file.name}`\n", f"```sql\n{text}\n```\n"]
    return "\n".join(parts)


PAGES: Mapping[str, Callable[[], str]] = {
    "reference/cli.md": commands,
    "reference/settings.md": configuration,
    "reference/methods.md": methods,
    "reference/tables.md": tables,
    "reference/queries.md": queries,
}


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Write a Markdown table; cells are text in which only code between backticks is marked."""
    lines = [head, tuple("---" for _ in head), *(tuple(_cell(cell) for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n" if len(lines) > 2 else ""


def _cell(text: str) -> str:
    return " ".join(_prose(text).split())


def _prose(text: str | None) -> str:
    """Return text whose characters mean themselves outside of backticks."""
    parts = (text or "").split("`")
    plain = (
        escape(part, quote=False).replace("*", "\\*").replace("[", "\\[").replace("|", "\\|")
        for part in parts[::2]
    )
    code = [*(f"`{part}`" for part in parts[1::2]), ""]
    return "".join(piece + marked for piece, marked in zip(plain, code, strict=True))
