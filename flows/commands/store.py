"""`sdar store`: what a store holds, whether it is whole, how big it is, and moving it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from sdar.flows import completion
from sdar.flows.commands.options import (
    STORE,
    JsonOption,
    StoreOption,
    WaitOption,
    change_store,
    read_store,
)
from sdar.flows.output import print_json, size
from sdar.schemas.errors import IntegrityError

if TYPE_CHECKING:
    from sdar.storage import PruneReport
    from sdar.storage.prune import Keep

store_app = typer.Typer(no_args_is_help=True, help="Look at a store, check it, shrink it, move it.")

_COUNTS = """
    SELECT (SELECT count(*) FROM run) AS runs, (SELECT count(*) FROM stage_run) AS stages,
        (SELECT count(DISTINCT id) FROM policy) AS policies, (SELECT count(*) FROM episode) AS episodes,
        (SELECT coalesce(sum(len(positions)), 0)::BIGINT FROM token_score) AS scored_tokens"""


@store_app.command()
def info(store: StoreOption = STORE, json_: JsonOption = False) -> None:
    """Show where the store is, how big it is and how much is in it."""
    opened = read_store(store)
    counts = opened.query(_COUNTS).to_pylist()[0]
    used = sum(path.stat().st_size for path in opened.path.rglob("*") if path.is_file())
    facts = {"path": str(opened.path), "schema": opened.schema_version(), "bytes": used, **counts}
    if json_:
        print_json(facts)
        return
    for name, value in facts.items():
        typer.echo(f"{name:<14} {value}")


@store_app.command()
def verify(store: StoreOption = STORE) -> None:
    """Hash everything again and follow every reference; a fault gives exit code 5."""
    opened = read_store(store)
    faults = opened.verify()
    if faults:
        listed = "\n".join(f"  {fault}" for fault in faults)
        raise IntegrityError(
            f"the store {opened.path} has {len(faults)} faults:\n{listed}\n"
            "Next: restore the folder from a copy, or start a new store with --store."
        )
    typer.echo(f"The store {opened.path} is whole.")


@store_app.command()
def prune(
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", help="`best` or `last` of every run; by default both. Repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    wait: WaitOption = 0.0,
    store: StoreOption = STORE,
    json_: JsonOption = False,
) -> None:
    """Remove weights and score files that nobody needs; all rows stay, and pinned policies too."""
    from sdar.storage import KEEP

    chosen = cast("list[Keep]", keep) or KEEP  # prune itself says what is allowed
    if dry_run:
        report = read_store(store).prune(chosen, dry_run=True)
    else:
        opened = change_store(store)
        with opened.writer("sdar store prune", wait):
            report = opened.prune(chosen)
    if json_:
        print_json({**asdict(report), "bytes_freed": report.bytes_freed})
    else:
        typer.echo("\n".join(_pruned(report)))


def _pruned(report: PruneReport) -> Sequence[str]:
    word = "would go" if report.dry_run else "removed"
    lines = [f"{word}  {use.blob[:12]}  {use.kind:<12}  {size(use.bytes):>9}" for use in report.removed]
    lines += [
        f"kept     {use.blob[:12]}  {use.kind:<12}  {size(use.bytes):>9}  {', '.join(use.reasons)}"
        for use in report.kept
    ]
    verb = "would be freed" if report.dry_run else "freed"
    return [*lines, f"{size(report.bytes_freed)} {verb}, {len(report.kept)} kept."]


@store_app.command()
def pin(
    policy: Annotated[
        str, typer.Argument(help="Id of a policy, or its beginning.", autocompletion=completion.policies)
    ],
    note: Annotated[str, typer.Option("--note", help="Why it is kept.")] = "",
    wait: WaitOption = 0.0,
    store: StoreOption = STORE,
) -> None:
    """Keep the weights of a policy whatever is pruned."""
    opened = change_store(store)
    with opened.writer("sdar store pin", wait):
        found = opened.pin(policy, note)
    typer.echo(f"Policy {found} is pinned.")


@store_app.command()
def unpin(
    policy: Annotated[
        str, typer.Argument(help="Id of a policy, or its beginning.", autocompletion=completion.policies)
    ],
    wait: WaitOption = 0.0,
    store: StoreOption = STORE,
) -> None:
    """Take a pin off again; the next prune may remove the weights."""
    opened = change_store(store)
    with opened.writer("sdar store unpin", wait):
        opened.unpin(policy)
    typer.echo(f"No policy {policy} is pinned any more.")


@store_app.command()
def snapshot(wait: WaitOption = 0.0, store: StoreOption = STORE) -> None:
    """Publish the copy that queries read, needed only after a run was killed; print where it is."""
    opened = change_store(store)
    with opened.writer("sdar store snapshot", wait):
        opened.publish()
    typer.echo(str(opened.path / "snapshots" / "store.duckdb"))


@store_app.command()
def migrate(store: StoreOption = STORE) -> None:
    """Bring a store of an older version to the present schema."""
    before = read_store(store).schema_version()
    opened = change_store(store)
    typer.echo(f"The store {opened.path} has schema version {opened.schema_version()}; it had {before}.")


@store_app.command()
def export(
    folder: Annotated[Path, typer.Argument(help="New or empty folder.")],
    store: StoreOption = STORE,
) -> None:
    """Write every table as Parquet, and the files, into a folder that `sdar store import` reads."""
    manifest = read_store(store).export(folder)
    rows = sum(manifest.tables.values())
    typer.echo(f"Wrote {folder}: {rows} rows of {len(manifest.tables)} tables, {len(manifest.blobs)} blobs.")


@store_app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(help="What `sdar store export` wrote.")],
    store: StoreOption = STORE,
) -> None:
    """Make a store of an export, with every hash computed anew, or nothing at all."""
    from sdar.storage import import_store

    manifest = import_store(folder, store.absolute())
    rows = sum(manifest.tables.values())
    typer.echo(f"The store {store.absolute()} holds {rows} rows and {len(manifest.blobs)} blobs now.")
