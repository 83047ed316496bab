"""`sdar sql`, `sdar status`, `sdar store` and `sdar policy`: reading what a store holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdar.flows.commands.options import STORE, JsonOption, StoreOption
from sdar.flows.output import Format, render
from sdar.schemas.errors import ConfigError, IntegrityError

if TYPE_CHECKING:
    from sdar.storage import Store

store_app = typer.Typer(no_args_is_help=True, help="Look at a store and check it.")
policy_app = typer.Typer(no_args_is_help=True, help="Look at policies.")

_POLICIES = """
    SELECT DISTINCT p.id, p.round, s.run_id, p.method, p.parameters, e.success, e.low, e.high, a.blob
    FROM policy p JOIN artifact a ON a.id = p.artifact_id
    JOIN stage_run s ON s.artifact_id = p.artifact_id
    LEFT JOIN evaluation e ON e.policy_id = p.id AND NOT e.with_skills
    ORDER BY s.run_id, p.round, p.id"""
_RUNS = """
    SELECT r.id, r.created, r.method, r.seed, r.status, max(s.round) AS round,
        arg_max(s.stage, (s.round, s.rowid)) AS last_stage, round(sum(s.seconds), 1) AS seconds
    FROM run r LEFT JOIN stage_run s ON s.run_id = r.id GROUP BY ALL ORDER BY r.created DESC"""
_COUNTS = """
    SELECT (SELECT count(*) FROM run) AS runs, (SELECT count(*) FROM stage_run) AS stages,
        (SELECT count(DISTINCT id) FROM policy) AS policies, (SELECT count(*) FROM episode) AS episodes,
        (SELECT coalesce(sum(len(positions)), 0)::BIGINT FROM token_score) AS scored_tokens"""


def sql(
    query: Annotated[str, typer.Argument(help="One SELECT statement.")] = "",
    form: Annotated[Format, typer.Option("--format", help="How to write the result.")] = "table",
    tables: Annotated[bool, typer.Option("--tables", help="List the views and tables instead.")] = False,
    store: StoreOption = STORE,
) -> None:
    """Query the store with SQL; this works while a run is writing to it."""
    from sdar.storage import TABLES_QUERY

    if bool(query) == tables:
        found = "both a query and --tables" if tables else "neither a query nor --tables"
        raise ConfigError(
            f"`sdar sql` found {found}; allowed: one of them, for instance "
            "sdar sql 'SELECT * FROM round_summary'."
        )
    columns, rows = _read(_open(store), TABLES_QUERY if tables else query)
    typer.echo(render(columns, rows, form))


def status(
    form: Annotated[Format, typer.Option("--format", help="How to write the result.")] = "table",
    store: StoreOption = STORE,
) -> None:
    """List the runs of a store with how far each got."""
    columns, rows = _read(_open(store), _RUNS)
    typer.echo(render(columns, rows, form))


@store_app.command()
def info(store: StoreOption = STORE, json_: JsonOption = False) -> None:
    """Show where the store is, how big it is and how much is in it."""
    opened = _open(store)
    _, rows = _read(opened, _COUNTS)
    size = sum(path.stat().st_size for path in opened.path.rglob("*") if path.is_file())
    facts = {"path": str(opened.path), "schema": opened.schema_version(), "bytes": size, **rows[0]}
    if json_:
        typer.echo(render([], [facts], "json").removeprefix("[").removesuffix("]"))
        return
    for name, value in facts.items():
        typer.echo(f"{name:<14} {value}")


@store_app.command()
def verify(store: StoreOption = STORE) -> None:
    """Hash everything again and follow every reference; a fault gives exit code 5."""
    opened = _open(store)
    faults = opened.verify()
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise IntegrityError(
            f"the store {opened.path} has {len(faults)} faults:\n{listed}\n"
            "Next: restore the folder from a copy, or start a new store with --store."
        )
    typer.echo(f"The store {opened.path} is whole.")


@policy_app.command("list")
def list_policies(
    form: Annotated[Format, typer.Option("--format", help="How to write the result.")] = "table",
    store: StoreOption = STORE,
) -> None:
    """List the policies with success on the panel, its 95 % interval, and their folders."""
    opened = _open(store)
    columns, rows = _read(opened, _POLICIES)
    located = [{**row, "folder": str(opened.path / "blobs" / row["blob"])} for row in rows]
    shown = [{**row, "id": row["id"][:12]} for row in located] if form == "table" else located
    names = [name for name in columns if name != "blob"]
    if form == "table":
        typer.echo(f"Folders are below {opened.path / 'blobs'}; --format json gives whole ids and paths.")
        names = [*names, "blob"]
    else:
        names = [*names, "folder"]
    typer.echo(render(names, [{name: row[name] for name in names} for row in shown], form))


def _open(path: Path) -> Store:
    from sdar.storage import open_store

    return open_store(path, read_only=True)


def _read(store: Store, query: str) -> tuple[list[str], list[dict[str, Any]]]:
    table = store.query(query)
    names = [str(name) for name in table.column_names]
    return names, table.to_pylist()
