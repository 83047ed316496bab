"""`sdar evaluate`: one policy of a store on the frozen panel of its run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from sdar.flows.commands.options import STORE, JsonOption, StoreOption, WaitOption, change_store
from sdar.flows.display import cell
from sdar.flows.output import print_json
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import InputError
from sdar.schemas.records import PanelResult

if TYPE_CHECKING:
    from sdar.storage import Store

_POLICIES = """
    SELECT p.id, s.run_id, s.round FROM policy p JOIN stage_run s ON s.artifact_id = p.artifact_id
    JOIN run r ON r.id = s.run_id ORDER BY r.rowid DESC, s.round DESC"""
_BEST = """
    SELECT v.best_policy, s.run_id FROM verdict v JOIN stage_run s ON s.artifact_id = v.artifact_id
    JOIN run r ON r.id = s.run_id ORDER BY r.rowid DESC, s.round DESC LIMIT 1"""


@dataclass(frozen=True)
class _Found:
    """A policy and the run and round that made it."""

    id: str
    run_id: str
    round: int


def evaluate(
    policy: Annotated[
        str | None,
        typer.Option("--policy", metavar="ID", help="Id or its beginning; by default the best one."),
    ] = None,
    with_skills: Annotated[
        bool, typer.Option("--with-skills", help="Put retrieved skills into the prompt.")
    ] = False,
    store: StoreOption = STORE,
    wait: WaitOption = 0.0,
    json_: JsonOption = False,
) -> None:
    """Evaluate a policy on the panel of its run; the result is stored, and taken from there next time."""
    opened = change_store(store)
    found = _find(opened, policy)
    with opened.writer("sdar evaluate", wait):
        result = _execute(opened, found, "evaluate_with_skills" if with_skills else "evaluate")
    if json_:
        print_json(result.model_dump(mode="json"))
    else:
        typer.echo(_text(result, found))


def _find(store: Store, wanted: str | None) -> _Found:
    """Return the policy whose id begins with `wanted`, from the latest run that has it.

    Without an id it is the best one of the latest verdict, from the run of that verdict: another run may have
    begun with it, on another panel or none.
    """
    rows = store.query(_POLICIES).to_pylist()
    if wanted is None:
        best = store.query(_BEST).to_pylist()
        wanted = best[0]["best_policy"] if best else ""
        rows = [row for row in rows if not best or row["run_id"] == best[0]["run_id"]]
    rows = [row for row in rows if row["id"].startswith(wanted)]
    if len({row["id"] for row in rows}) != 1:
        amount = "no policy" if not rows else "several policies"
        raise InputError(
            f"{amount} in {store.path} with an id that begins with {wanted!r}; "
            f"allowed: the beginning of one id. `sdar policy list --store {store.path}` lists them."
        )
    return _Found(**rows[0])


def _execute(store: Store, found: _Found, stage: str) -> PanelResult:
    from sdar.tasks.session import Session, SystemClock

    status = store.run(found.run_id).status
    session = Session.start(store, RunConfig(), found.run_id, SystemClock())
    try:
        report = session.execute(stage, found.round)
    finally:
        session.finish(status)
    return store.evaluations(report.artifact_id)[0]


def _text(result: PanelResult, found: _Found) -> str:
    success = cell({"success": result.success, "low": result.low, "high": result.high}, "success")
    skills = "with" if result.with_skills else "without"
    types = "\n".join(f"  {name:<24} {won} of {total}" for name, (won, total) in result.by_type.items())
    return (
        f"Policy {found.id[:12]} of run {found.run_id}, round {found.round}, {skills} skills: "
        f"success {success} (95 % interval) on {result.episodes} tasks.\n{types}"
    )
