"""`sdar policy`: the policies of a store, and pretrained models as policies."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from sdar.flows.commands.options import (
    STORE,
    FormatOption,
    OutOption,
    StoreOption,
    read_store,
)
from sdar.flows.output import print_table

policy_app = typer.Typer(no_args_is_help=True, help="Look at policies; make one of a pretrained model.")

_POLICIES = """
    SELECT DISTINCT p.id, p.round, s.run_id, p.method, p.parameters, e.success, e.low, e.high, a.blob
    FROM policy p JOIN artifact a ON a.id = p.artifact_id
    JOIN stage_run s ON s.artifact_id = p.artifact_id
    LEFT JOIN evaluation e ON e.policy_id = p.id AND NOT e.with_skills
    ORDER BY s.run_id, p.round, p.id"""


@policy_app.command("list")
def list_policies(form: FormatOption = "table", out: OutOption = None, store: StoreOption = STORE) -> None:
    """List the policies with success on the panel, its 95 % interval, and their folders."""
    import pyarrow as pa

    opened = read_store(store)
    table = opened.query(_POLICIES)
    paths = [opened.path / "blobs" / (blob or "none") for blob in table["blob"].to_pylist()]
    folders = [str(path) if path.is_dir() else None for path in paths]  # weights may have been pruned
    if form == "table" and out is None:
        typer.echo("Whole ids and folders: --format json")
        ids = [identity[:12] for identity in table["id"].to_pylist()]
        kept = ["there" if folder else "pruned" for folder in folders]
        table = table.set_column(0, "id", pa.array(ids, pa.string()))
        table = table.append_column("files", pa.array(kept, pa.string()))
    else:
        table = table.append_column("folder", pa.array(folders, pa.string()))
    print_table(table.drop_columns(["blob"]), form, out)


@policy_app.command("import")
def import_policy(
    source: Annotated[Literal["smollm2"], typer.Option("--from", help="Model of an installed package.")],
    folder: Annotated[Path, typer.Option("--out", help="Folder for the policy.")],
) -> None:
    """Make a policy folder out of a pretrained chat model; any other Hugging Face folder needs no import."""
    from sdar.policy.smollm2 import import_smollm2

    import_smollm2(folder)
    path = shlex.quote(f"policy.path={folder}")
    typer.echo(f"Wrote {folder}. Use it with: sdar run --set {path} --set policy.max_tokens=2048")
