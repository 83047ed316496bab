"""`sdar runs`: the runs of a store as a tree of branches, and two of them against each other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

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
from sdar.flows.display import cell
from sdar.flows.output import aligned, print_json
from sdar.flows.report.texts import settings
from sdar.schemas.lineage import RunRecord
from sdar.schemas.resolve import changes

if TYPE_CHECKING:
    from sdar.storage import Store
    from sdar.tasks.compare import Compared

runs_app = typer.Typer(help="List the runs of a store, or compare two.")

Row = dict[str, Any]

_STAGES = """
    SELECT run_id, max(round) AS round, round(sum(seconds) FILTER (reused_from IS NULL), 1) AS seconds
    FROM stage_run GROUP BY run_id"""
CURVE = """
    SELECT s.run_id, s.round, e.policy_id, e.success, e.low, e.high
    FROM stage_run s JOIN evaluation e ON e.artifact_id = s.artifact_id JOIN run r ON r.id = s.run_id
    WHERE s.stage = 'evaluate'
        AND e.with_skills = coalesce(r.config->>'$.evaluation.prompt' = 'skills', false)"""
"""The evaluations that the verdicts are about: without skills, unless `evaluation.prompt` is `skills`."""

_COLUMNS = ("run", "status", "round", "last success", "best success", "branch")


@runs_app.callback(invoke_without_command=True)
def runs(context: typer.Context, store: StoreOption = STORE, json_: JsonOption = False) -> None:
    """List the runs, branches below the run that they began in, with success on the panel (95 % interval)."""
    if context.invoked_subcommand is not None:
        return
    rows = _tree(read_store(store))
    if json_:
        print_json(rows)
        return
    typer.echo(aligned(_COLUMNS, [_line(row) for row in rows]))


@runs_app.command()
def compare(
    before: Annotated[
        str, typer.Argument(help="Id of the run to compare with.", autocompletion=completion.runs)
    ],
    after: Annotated[
        str, typer.Argument(help="Id of the run that is compared.", autocompletion=completion.runs)
    ],
    at: Annotated[
        Literal["last", "best"],
        typer.Option("--at", help="Which evaluations; the best of many is flattered by chance."),
    ] = "last",
    wait: WaitOption = 0.0,
    store: StoreOption = STORE,
    json_: JsonOption = False,
) -> None:
    """Pair two runs task by task on the panel that both played; the difference is stored in the second."""
    from sdar.tasks.compare import compare_runs

    opened = change_store(store)
    first, second = opened.run(before), opened.run(after)
    with opened.writer("sdar runs compare", wait):
        compared = compare_runs(opened, first, second, at, datetime.now(UTC))
    if json_:
        rounds = {"before_round": compared.before_round, "after_round": compared.after_round}
        print_json({**compared.result.model_dump(mode="json"), **rounds, "tasks": compared.tasks})
    else:
        typer.echo(_verdict(before, after, compared))


def _verdict(before: str, after: str, compared: Compared) -> str:
    result = compared.result
    points = f"{100 * result.difference:+.1f} points [{100 * result.low:+.1f}, {100 * result.high:+.1f}]"
    relation = "from" if result.verdict == "not distinguishable" else "than"
    return (
        f"{after} (round {compared.after_round}) is {result.verdict} {relation} "
        f"{before} (round {compared.before_round}):\n"
        f"success {points} on the same {compared.tasks} tasks (paired bootstrap, 95 % interval)."
    )


def _tree(store: Store) -> list[Row]:
    """Return one row per run, each run before its branches; `depth` counts the runs above it."""
    records = store.runs()
    facts = {row["run_id"]: row for row in store.query(_STAGES).to_pylist()}
    curves: dict[str, list[Row]] = {}
    for row in store.query(f"SELECT * EXCLUDE (policy_id) FROM ({CURVE}) ORDER BY round").to_pylist():
        curves.setdefault(row.pop("run_id"), []).append(row)

    def below(parent: RunRecord | None, depth: int) -> Iterator[Row]:
        for record in records:
            if record.parent == (parent.id if parent else None):
                curve = curves.get(record.id, [])
                yield _row(record, parent, facts.get(record.id, {}), curve) | {"depth": depth}
                yield from below(record, depth + 1)

    return list(below(None, 0))


def _row(record: RunRecord, parent: RunRecord | None, facts: Row, curve: list[Row]) -> dict[str, Any]:
    return {
        "run": record.id,
        "parent": record.parent,
        "branch": record.branch,
        "changes": changes(parent.settings, record.settings) if parent else {},
        "created": record.created,
        "method": record.method,
        "seed": record.seed,
        "status": record.status,
        "round": facts.get("round"),
        "seconds": facts.get("seconds"),
        "last": curve[-1] if curve else None,
        "best": max(curve, key=lambda row: row["success"], default=None),
    }


def _line(row: Row) -> list[str]:
    branch = ""
    if row["branch"]:
        number, stage = row["branch"]
        branch = f"from {stage} of round {number}: {settings(row['changes'])}"
    name = f"{'  ' * row['depth']}{row['run']}"
    success = [cell(row[which] or {}, "success") for which in ("last", "best")]
    return [name, row["status"], cell(row, "round"), *success, branch]
