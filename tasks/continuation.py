"""More rounds after the end of a run: a branch that shares everything before with it and only runs longer."""

from __future__ import annotations

from sdar.schemas.chain import newest, unfinished
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import InputError
from sdar.schemas.lineage import RunRecord
from sdar.storage import Store
from sdar.tasks.branches import History, begin_branch, read_history
from sdar.tasks.registry import plan
from sdar.tasks.session import Clock, Session


def go_on(store: Store, run: RunRecord, rounds: int, clock: Clock) -> tuple[Session, int]:
    """Return the session that goes on from the newest continuation of a run, and its first round.

    A continuation that did not reach its end is gone on with. Otherwise a new one begins after the last
    complete round: same settings, seed and panel, the policy and the optimiser of that round, and round
    numbers that count on, so that tasks and schedules go on too.

    Args:
        store: open for writing, inside `store.writer`.
        run: where to go on.
        rounds: how many more, at least one; fewer when a stop criterion holds before.
        clock: tells the time.

    Raises:
        InputError: the run has no complete round, or its policy collapsed.
    """
    runs = store.runs()
    last = newest(runs, run)
    point = last.branch
    if unfinished(runs, last) and point is not None:
        return _session(store, last, point[0], clock)
    history = read_history(store, last)
    done = _last_complete(history)
    if done is None:
        raise InputError(
            f"run {last.id} has no complete round to go on from. "
            f"Finish it first: sdar run --resume {last.id} --store {store.path}"
        )
    _refuse_collapsed(store, last, history)
    config = history.configs[0].model_copy(
        update={"stop": history.configs[0].stop.model_copy(update={"rounds": done + rounds})}
    )
    first = done + 1
    record = begin_branch(store, last, config, (first, plan(config, first)[0]), clock.now())
    return _session(store, record, first, clock)


def _session(store: Store, run: RunRecord, first: int, clock: Clock) -> tuple[Session, int]:
    session = Session.start(store, RunConfig(), run.id, clock)
    session.recall(first)
    return session, first


def _last_complete(history: History) -> int | None:
    rounds = sorted({number for number, _ in history.stored}, reverse=True)
    complete = (
        number
        for number in rounds
        if all(
            (number, stage) in history.stored for stage in plan(history.config((number, "decide")), number)
        )
    )
    return next(complete, None)


def _refuse_collapsed(store: Store, run: RunRecord, history: History) -> None:
    decided = max((number for number, stage in history.stored if stage == "decide"), default=None)
    artifact = None if decided is None else history.stored[decided, "decide"].artifact_id
    verdict = store.verdicts(artifact)[0] if artifact else None
    if verdict is not None and verdict.reason == "collapse":
        raise InputError(
            f"run {run.id} is not gone on with: {verdict.sentence} Begin a new run from that policy with "
            "other settings, for instance a lower update.learning_rate: "
            f"sdar run --set policy.path=FOLDER --store {store.path}; `sdar policy list` names its FOLDER."
        )
