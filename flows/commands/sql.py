"""`sdar sql`: questions to the store."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sdar.flows.commands.options import STORE, FormatOption, OutOption, StoreOption, read_store
from sdar.flows.output import print_table
from sdar.schemas.errors import ConfigError, InputError


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT statement.")] = "",
    file: Annotated[Path | None, typer.Option("--file", help="Read the statement from a file.")] = None,
    tables: Annotated[bool, typer.Option("--tables", help="List the views and tables instead.")] = False,
    schema: Annotated[
        bool, typer.Option("--schema", help="Explain every column of every view and table instead.")
    ] = False,
    form: FormatOption = "table",
    out: OutOption = None,
    store: StoreOption = STORE,
) -> None:
    """Query the store with SQL; this works while a run is writing to it."""
    from sdar.storage import SCHEMA_QUERY, TABLES_QUERY, schema_text

    given = {"a query": bool(query), "--file": file is not None, "--tables": tables, "--schema": schema}
    if sum(given.values()) != 1:
        found = " and ".join(name for name, there in given.items() if there) or "none of them"
        raise ConfigError(
            f"`sdar sql` takes one of {', '.join(given)}; found {found}. For instance: "
            "sdar sql 'SELECT * FROM round_summary'"
        )
    text = TABLES_QUERY if tables else SCHEMA_QUERY if schema else _read(file) if file else query
    result = read_store(store).query(text)
    if schema and form == "table" and out is None:
        typer.echo(schema_text(result), nl=False)
        return
    print_table(result, form, out)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot read {file} ({error}); --file needs a text file with one statement."
        ) from error
