"""`sdar policy`: the policies of a store, and pretrained models as policies."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdar.flows import completion
from sdar.flows.commands.options import (
    LATEST,
    STORE,
    EnvOption,
    FileOption,
    FormatOption,
    JsonOption,
    OutOption,
    RunOption,
    SetOption,
    StoreOption,
    WaitOption,
    configuration,
    overrides,
    read_store,
)
from sdar.flows.commands.runs import CURVE
from sdar.flows.output import print_json, print_table
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import InputError
from sdar.schemas.records import PolicyRecord

if TYPE_CHECKING:
    from sdar.storage import Store

policy_app = typer.Typer(no_args_is_help=True, help="Look at policies; take them in and out of a store.")

_MADE = """
    SELECT p.id, s.run_id, s.round, a.blob FROM policy p JOIN stage_run s ON s.artifact_id = p.artifact_id
    JOIN artifact a ON a.id = p.artifact_id JOIN run r ON r.id = s.run_id
    ORDER BY r.rowid DESC, s.round DESC"""
_BEST = """
    SELECT s.run_id, v.best_policy FROM verdict v JOIN stage_run s ON s.artifact_id = v.artifact_id
    JOIN run r ON r.id = s.run_id ORDER BY r.rowid DESC, s.round DESC"""
_POLICIES = f"""
    WITH tested AS (
        SELECT run_id, policy_id, max_by(struct_pack(success, low, high), round) AS last
        FROM ({CURVE}) GROUP BY ALL)
    SELECT DISTINCT p.id, p.round, s.run_id, p.method, p.parameters, t.last.success, t.last.low, t.last.high,
        a.blob
    FROM policy p JOIN artifact a ON a.id = p.artifact_id
    JOIN stage_run s ON s.artifact_id = p.artifact_id
    LEFT JOIN tested t ON t.run_id = s.run_id AND t.policy_id = p.id
    ORDER BY s.run_id, p.round, p.id"""


@dataclass(frozen=True)
class FoundPolicy:
    """A policy, the run and round that made it, and the blob with its files."""

    id: str
    run_id: str
    round: int
    blob: str


def find_policy(store: Store, wanted: str, run_id: str | None = None) -> FoundPolicy:
    """Return one policy of a store.

    Args:
        store: where to look.
        wanted: `best` by the latest verdict, `last` of the latest run, or the beginning of an id.
        run_id: look in this run alone.

    Raises:
        InputError: no policy fits, or several do.
    """

    def rows(query: str) -> list[dict[str, Any]]:
        return [row for row in store.query(query).to_pylist() if run_id in (None, LATEST, row["run_id"])]

    made, start = rows(_MADE), wanted
    if wanted == "last":
        start = made[0]["id"] if made else ""
    elif wanted == "best":
        best = rows(_BEST)
        start = best[0]["best_policy"] if best else ""
        made = [row for row in made if best and row["run_id"] == best[0]["run_id"]]  # others may have it too
    fitting = [row for row in made if start and row["id"].startswith(start)]
    if len({row["id"] for row in fitting}) != 1:
        amount = "no policy" if not fitting else "several policies"
        raise InputError(
            f"{amount} in {store.path}{f', run {run_id}' if run_id else ''} for {wanted!r}; allowed: best "
            "(after an evaluation), last, or the beginning of one id. "
            f"`sdar policy list --store {store.path}` lists them."
        )
    return FoundPolicy(**fitting[0])


@policy_app.command("list")
def list_policies(form: FormatOption = "table", out: OutOption = None, store: StoreOption = STORE) -> None:
    """List the policies with success on the panel of their run, its 95 % interval, and their folders."""
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


@policy_app.command("export")
def export_policy(
    folder: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="New or empty folder.")],
    policy: Annotated[
        str,
        typer.Argument(
            metavar="[POLICY]",
            help="`best` by the panel, `last`, or the beginning of an id.",
            autocompletion=completion.policies,
        ),
    ] = "best",
    run: RunOption = None,
    store: StoreOption = STORE,
    json_: JsonOption = False,
) -> None:
    """Write a policy, its adapter added, as a folder that transformers and vLLM load as it is."""
    from sdar.policy.export import export_policy
    from sdar.policy.model import policy_id
    from sdar.tasks.stage import base_folder

    opened = read_store(store)
    found = find_policy(opened, policy, run)
    if not (opened.path / "blobs" / (found.blob or "none")).is_dir():
        again = "bootstrap" if found.round == 0 else "update"
        raise InputError(
            f"the weights of policy {found.id[:12]} are gone from {opened.path}, perhaps by a prune. "
            f"Next: sdar stage {again} --round {found.round} --from-run {found.run_id} --force"
        )
    warning = export_policy(opened.whole_blob(found.blob), folder, base_folder(opened, found.blob))
    written = policy_id(folder)
    if json_:
        result = {"policy": found.id, "run": found.run_id, "round": found.round, "folder": folder}
        print_json({**result, "written": written, "warning": warning})
        return
    added = "" if written == found.id else f" With its adapter added it is policy {written[:12]}."
    typer.echo(
        f"Wrote policy {found.id[:12]} of run {found.run_id}, round {found.round}, to {folder}.{added}"
    )
    if warning:
        typer.echo(f"Warning: {warning}", err=True)
    typer.echo(f"Serve it with: vllm serve {shlex.quote(str(folder))}")


@policy_app.command("import")
def import_policy(
    folder: Annotated[
        Path | None, typer.Argument(metavar="[FOLDER]", help="A Hugging Face causal LM, or an export.")
    ] = None,
    source: Annotated[
        Literal["smollm2"] | None, typer.Option("--from", help="Model of an installed package instead.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="With --from: folder for the policy.")] = None,
    env: EnvOption = None,
    config: FileOption = None,
    set_: SetOption = None,
    store: StoreOption = STORE,
    wait: WaitOption = 0.0,
    json_: JsonOption = False,
) -> None:
    """Check a model folder and put it into the store as a policy 0; with --from, write such a folder."""
    if (folder is None) == (source is None) or (source is None) != (out is None):
        raise InputError("give a FOLDER to put into the store, or --from and --out to write one.")
    if folder is None and out is not None:
        _write_smollm2(out)
        return
    assert folder is not None
    texts = [*_as_it_is(folder), *overrides(set_, env=env)]
    record, run_id = _store_policy(store, configuration(config, texts).config, wait)
    if json_:
        print_json({"policy": record.id, "run": run_id, "parameters": record.parameters})
        return
    typer.echo(f"Policy {record.id[:12]} ({record.parameters} weights) is in {store}, as run {run_id}.")
    typer.echo(f"Improve it with: sdar run --set {shlex.quote(texts[0])} --set {texts[1]} --store {store}")


def _write_smollm2(out: Path) -> None:
    from sdar.policy.smollm2 import import_smollm2

    import_smollm2(out)
    path = shlex.quote(f"policy.path={out}")
    typer.echo(f"Wrote {out}. Use it with: sdar run --set {path} --set policy.max_tokens=2048")


def _as_it_is(folder: Path) -> list[str]:
    """Return the settings under which a folder becomes a policy in the precision that it has."""
    from sdar.policy.model import DTYPES, policy_folder, stored_dtype

    whole = policy_folder(str(folder)).resolve()
    found = stored_dtype(whole)
    dtype = next((name for name, value in DTYPES.items() if value == found), "float32")
    return [f"policy.path={whole}", f"policy.dtype={dtype}", "stop.rounds=0"]


def _store_policy(path: Path, config: RunConfig, wait: float) -> tuple[PolicyRecord, str]:
    """Run the first stage of a run that has no other, and return the policy that it stores."""
    from sdar.storage import open_store
    from sdar.tasks.session import Session, SystemClock

    store = open_store(path)
    with store.writer("sdar policy import", wait):
        session = Session.start(store, config, None, SystemClock())
        try:
            report = session.execute("bootstrap", 0)
        except BaseException:
            session.finish("failed")
            raise
        session.finish("done")
    return store.policy(report.artifact_id), session.run_id
