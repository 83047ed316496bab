"""One stage again: what it would reuse, what it computes, and what no longer holds afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError, InputError, SdarError
from sdar.schemas.lineage import RunRecord, StageRun
from sdar.schemas.near import did_you_mean
from sdar.storage import Store
from sdar.storage.migrate import CURRENT_VERSION
from sdar.tasks.branches import History, begin_branch, files_there
from sdar.tasks.registry import STAGES, Place, order, plan
from sdar.tasks.session import Clock, Session
from sdar.tasks.stage import read_fields, source_hash, stage_seed
from sdar.tasks.staleness import Present, StageState, present_key, stage_states

EXTRA = ("evaluate", "evaluate_with_skills")
"""Stages that any round can have, planned or not."""


@dataclass(frozen=True)
class Forecast:
    """What a rerun of one stage starts from.

    Attributes:
        place: round and stage.
        config: the settings that it uses.
        history: of the run, or of the branch that it makes.
        branches: whether it makes a branch.
        inputs: the stored stage runs that it reads, by role.
        unsure: states of those inputs that are stale themselves.
        found: id of the stored result that it takes; None when it computes.
    """

    place: Place
    config: RunConfig
    history: History
    branches: bool
    inputs: Mapping[str, StageRun]
    unsure: tuple[StageState, ...]
    found: str | None

    @property
    def shared(self) -> int:
        """How many stages the branch takes over from its parent; 0 without a branch."""
        earlier = sum(order(known) < order(self.place) for known in self.history.stored)
        return earlier if self.branches else 0


def run_states(store: Store, history: History) -> list[StageState]:
    """Return the state of every stage of the rounds that a run has begun, in the order of execution."""
    rounds = range(max((number for number, _ in history.stored), default=-1) + 1)
    planned = {(number, stage) for number in rounds for stage in plan(history.configs[0], number)}
    schema = (store.schema_version(), CURRENT_VERSION)
    return stage_states(
        sorted(planned | set(history.stored), key=order),
        history.stored,
        lambda place: _present(store, history, place, schema),
    )


def forecast(
    store: Store, run: RunRecord, history: History, place: Place, config: RunConfig, *, force: bool
) -> Forecast:
    """Say what running a stage again would do; nothing is changed.

    Args:
        store: open for reading at least.
        run: the run whose artifacts are used.
        history: of that run.
        place: round and stage.
        config: the settings to use; others than those of the run mean a branch.
        force: compute it in any case.

    Raises:
        ConfigError: the round has no such stage.
        InputError: an input was never computed.
    """
    check_place(config, place)
    branches = config != history.config(place)
    if branches:
        history = history.with_branch(config, place)
    places = history.input_places(place)
    _check_inputs(store, run, place, [*places.values()], history)
    states = {state.place: state for state in run_states(store, history)}
    present = _present(store, history, place, (CURRENT_VERSION, CURRENT_VERSION))
    found = None if force else store.find(present_key(place[1], present))
    return Forecast(
        place=place,
        config=config,
        history=history,
        branches=branches,
        inputs={role: history.stored[made] for role, made in places.items()},
        unsure=tuple(states[made] for made in places.values() if states[made].condition == "stale"),
        found=found.id if found else None,
    )


def begin_rerun(store: Store, run: RunRecord, plan: Forecast, clock: Clock) -> Session:
    """Return the session in which to execute what was forecast, in a new branch if it makes one."""
    if plan.branches:
        run = begin_branch(store, run, plan.config, plan.place, clock.now())
    return Session.start(store, plan.config, run.id, clock)


def downstream(session: Session, place: Place) -> Iterator[Place]:
    """Yield the places after `place` up to the one whose verdict ends the run; execute each one."""
    number = place[0]
    while session.verdict is None or not session.verdict.stop:
        planned = ((number, stage) for stage in session.plan(number))
        yield from (each for each in planned if order(each) > order(place))
        number += 1


def later_stale(store: Store, plan: Forecast, done: StageRun | None) -> tuple[StageState, ...]:
    """Return the stale stages after the one that was run again, in a branch those that it has to compute.

    Args:
        store: open for reading at least.
        plan: what was forecast.
        done: the stage run that came of it; None before it is executed.
    """
    stored = {**plan.history.stored, plan.place: done} if done else plan.history.stored
    states = run_states(store, replace(plan.history, stored=stored))
    return tuple(s for s in states if order(s.place) > order(plan.place) and s.condition == "stale")


def check_place(config: RunConfig, place: Place) -> None:
    """Raise `ConfigError` unless a round has a stage of that name, planned or extra."""
    number, stage = place
    allowed = [*plan(config, number), *(extra for extra in EXTRA if extra not in plan(config, number))]
    if stage not in allowed:
        raise ConfigError(
            f"round {number} has no stage {stage!r}; allowed: {', '.join(allowed)}."
            f"{did_you_mean(stage, allowed)} "
            "`sdar status` lists what each round has."
        )


def _check_inputs(store: Store, run: RunRecord, place: Place, inputs: list[Place], history: History) -> None:
    missing = [
        f"{stage} of round {number}" for number, stage in inputs if (number, stage) not in history.stored
    ]
    if missing:
        raise InputError(
            f"{place[1]} of round {place[0]} needs {', '.join(missing)}, which run {run.id} does not have. "
            f"Compute it first: sdar run --resume {run.id} --store {store.path}"
        )


def _present(store: Store, history: History, place: Place, schema: tuple[int, int]) -> Present:
    number, stage = place
    spec, config = STAGES[stage], history.config(place)
    makers = history.input_places(place)
    made = {role: history.stored.get(maker) for role, maker in makers.items()}
    stored = history.stored.get(place)
    artifact = store.artifact(stored.artifact_id) if stored and stored.artifact_id else None
    try:
        fields = read_fields(config, spec)
    except (SdarError, OSError):  # files outside the store that cannot be read show as a changed setting
        fields = read_fields(config, spec, files=False)
    return Present(
        version=spec.version,
        source=source_hash(spec),
        fields=fields,
        inputs={role: run.artifact_id if run else None for role, run in made.items()},
        makers=makers,
        seed=stage_seed(config, spec, number),
        files=artifact is None or files_there(store, artifact.blob),
        schema=schema,
    )
