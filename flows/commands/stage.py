"""`sdar stage`: one stage again from stored inputs, with other settings in a branch of the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdar.flows import completion
from sdar.flows.commands.options import (
    STORE,
    DevicesOption,
    JsonOption,
    SetOption,
    StoreOption,
    WaitOption,
    change_store,
    find_run,
    overrides,
    read_store,
    resume_command,
)
from sdar.flows.commands.status import reason_text
from sdar.flows.output import print_json
from sdar.flows.progress import Progress, accounted, recorded
from sdar.schemas.lineage import RunRecord, RunStatus, StageRun
from sdar.schemas.resolve import change

if TYPE_CHECKING:
    from sdar.storage import Store
    from sdar.tasks.registry import Place
    from sdar.tasks.rerun import Forecast
    from sdar.tasks.session import Session, StageReport
    from sdar.tasks.staleness import StageState


@dataclass(frozen=True)
class _Wish:
    """What the command line asks for."""

    place: Place
    run: str | None
    changes: list[str]
    force: bool
    downstream: bool


@dataclass
class _Outcome:
    """What came of it, or what would come of it; `executed` has the facts of each stage, in order."""

    run_id: str
    plan: Forecast
    executed: dict[Place, dict[str, Any]] = field(default_factory=dict)
    stale: tuple[StageState, ...] = ()


def stage(
    name: Annotated[str, typer.Argument(help="Name of the stage, for instance score.")],
    round_: Annotated[int, typer.Option("--round", min=0, help="Its round.")],
    from_run: Annotated[
        str | None,
        typer.Option(
            "--from-run",
            metavar="ID",
            help="Whose artifacts; by default the latest run.",
            autocompletion=completion.runs,
        ),
    ] = None,
    set_: SetOption = None,
    force: Annotated[bool, typer.Option("--force", help="Compute it even if its result is stored.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")] = False,
    downstream: Annotated[
        bool, typer.Option("--downstream", help="Go on with all later stages to the end of the run.")
    ] = False,
    wait: WaitOption = 0.0,
    store: StoreOption = STORE,
    json_: JsonOption = False,
    devices: DevicesOption = None,
) -> None:
    """Run one stage again from stored inputs; with --set it begins a branch, and the old run stays."""
    wish = _Wish((round_, name), from_run, overrides(set_, devices=devices), force, downstream)
    if dry_run:
        opened = read_store(store)
        record, plan = _plan(opened, wish)
        outcome = _Outcome(record.id, plan, stale=_later(opened, plan, None))
    else:
        progress = Progress(store)
        with accounted(progress):
            opened = change_store(store)
            with opened.writer("sdar stage", wait):
                outcome = _execute(opened, wish, progress, as_json=json_)
    if json_:
        print_json({"dry_run": dry_run, **_facts(outcome)})
    else:
        for line in _end(opened, wish, outcome, dry_run=dry_run):
            typer.echo(line)


def _plan(store: Store, wish: _Wish) -> tuple[RunRecord, Forecast]:
    from sdar.envs.registry import KINDS
    from sdar.tasks.branches import read_history
    from sdar.tasks.rerun import check_place, forecast

    record = find_run(store, wish.run)
    history = read_history(store, record)
    check_place(history.configs[0], wish.place)
    config = change(history.config(wish.place), wish.changes, KINDS)
    return record, forecast(store, record, history, wish.place, config, force=wish.force)


def _execute(store: Store, wish: _Wish, progress: Progress, *, as_json: bool) -> _Outcome:
    from sdar.tasks.rerun import begin_rerun, downstream
    from sdar.tasks.session import SystemClock

    record, plan = _plan(store, wish)
    session = begin_rerun(store, record, plan, SystemClock())
    progress.run_id = session.run_id
    outcome = _Outcome(session.run_id, plan)
    if not as_json:
        typer.echo("\n".join(_begin(session.run_id, record.id, plan)))
    ends: RunStatus = "done" if wish.downstream else "interrupted" if plan.branches else record.status
    with recorded(session, ends):
        report = session.execute(wish.place[1], wish.place[0], force=wish.force)
        _note(session, outcome, report, as_json=as_json)
        for number, name in downstream(session, wish.place) if wish.downstream else ():
            _note(session, outcome, session.execute(name, number), as_json=as_json)
        if not wish.downstream:
            outcome.stale = _later(store, plan, session.done[wish.place])
    return outcome


def _note(session: Session, outcome: _Outcome, report: StageReport, *, as_json: bool) -> None:
    """Take up a stage that was executed, and before it the inputs that had lost their files."""
    for place, made in session.done.items():
        if place in outcome.executed:
            continue
        reused = report.reused and place == (report.round, report.stage)
        outcome.executed[place] = {**made.model_dump(mode="json"), "reused": reused}
        done = f"run {report.origin}" if reused else f"{made.seconds:.1f} s"
        if not as_json:
            word = "reused" if reused else "computed"
            typer.echo(f"{word:<9} {made.stage} of round {made.round}: key {made.key[:12]}, {done}")


def _later(store: Store, plan: Forecast, done: StageRun | None) -> tuple[StageState, ...]:
    from sdar.tasks.rerun import later_stale

    return later_stale(store, plan, done)


def _begin(run_id: str, parent: str, plan: Forecast) -> Iterator[str]:
    if plan.branches:
        yield f"Run {run_id}: a branch of {parent}, sharing the {plan.shared} stages before."
    else:
        yield f"Run {run_id}, with its own settings."
    for role, made in plan.inputs.items():
        origin = made.reused_from or made.run_id
        yield f"input     {made.stage} of round {made.round} ({role}): key {made.key[:12]}, run {origin}"
    for state in plan.unsure:
        reasons = "; ".join(reason_text(reason) for reason in state.reasons)
        yield f"Warning: the input {state.stage} of round {state.round} is stale: {reasons}"


def _end(store: Store, wish: _Wish, outcome: _Outcome, *, dry_run: bool) -> Iterator[str]:
    number, name = wish.place
    if dry_run:
        yield from _begin("(new)" if outcome.plan.branches else outcome.run_id, outcome.run_id, outcome.plan)
        found = outcome.plan.found
        would = f"would take artifact {found[:12]} for" if found else "would compute"
        yield f"{would} {name} of round {number}"
    if wish.downstream:
        yield "would go on to the end of the run" if dry_run else f"Run {outcome.run_id} is at its end."
        return
    yield f"stale     {_places(outcome.stale)}"
    if not dry_run and (outcome.stale or outcome.plan.branches):
        later = "Go on with it" if outcome.plan.branches else "Bring it up to date"
        yield f"{later}: {resume_command(outcome.run_id, store.path)}"


def _places(states: Sequence[StageState]) -> str:
    """Return stages and their rounds as text, those of the same rounds together."""
    rounds: dict[str, list[int]] = {}
    for state in states:
        rounds.setdefault(state.stage, []).append(state.round)
    names: dict[str, list[str]] = {}
    for stage, numbers in rounds.items():
        names.setdefault(_ranges(sorted(numbers)), []).append(stage)
    return "; ".join(f"{', '.join(stages)} of {numbers}" for numbers, stages in names.items()) or "nothing"


def _ranges(numbers: Sequence[int]) -> str:
    """Return round numbers in ascending order as text: `round 3`, `rounds 4-7, 9`."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1] = [found[-1][0], number]
        else:
            found.append([number])
    word = "round" if len(numbers) == 1 else "rounds"
    return f"{word} {', '.join('-'.join(map(str, ends)) for ends in found)}"


def _facts(outcome: _Outcome) -> dict[str, Any]:
    plan = outcome.plan
    return {
        "run": outcome.run_id,
        "branch": plan.branches,
        "inputs": {
            role: {"round": made.round, "stage": made.stage, "key": made.key, "run": made.reused_from or run}
            for role, made in plan.inputs.items()
            for run in [made.run_id]
        },
        "found": plan.found,
        "stages": list(outcome.executed.values()),
        "stale": [asdict(state) for state in outcome.stale],
    }
