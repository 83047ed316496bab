"""The Prefect flow `improve`: rounds of stages until the verdict says stop, one Prefect task per stage.

The store is the cache and the record; Prefect sees ids and small tables only, which its page then shows.
Prefect is imported inside the functions because its environment has to be set before.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

from sdar.schemas.config import RunConfig
from sdar.schemas.records import Verdict

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

Row = Mapping[str, Any]

DRAIN_S = 3.0
"""Seconds that the last task states get to reach the server; less when the user waits for an end."""
DRAIN_ON_ERROR_S = 1.0
RETRY_DELAY_S = 30


class Report(Protocol):
    """What a stage execution tells: which artifact, whether it was there already, and a few figures."""

    @property
    def stage(self) -> str: ...  # noqa: D102
    @property
    def round(self) -> int: ...  # noqa: D102
    @property
    def artifact_id(self) -> str: ...  # noqa: D102
    @property
    def reused(self) -> bool: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102
    @property
    def summary(self) -> Mapping[str, float | str]: ...  # noqa: D102


class Located(Protocol):
    """A store, of which only the folder is of interest here."""

    @property
    def path(self) -> Path: ...  # noqa: D102


class Session(Protocol):
    """The part of `sdar.tasks.session.Session` that the flow drives."""

    @property
    def run_id(self) -> str: ...  # noqa: D102
    @property
    def config(self) -> RunConfig: ...  # noqa: D102
    @property
    def store(self) -> Located: ...  # noqa: D102
    @property
    def verdict(self) -> Verdict | None: ...  # noqa: D102
    def plan(self, round: int) -> Sequence[str]: ...  # noqa: D102
    def execute(self, stage: str, round: int) -> Report: ...  # noqa: D102
    def table(self) -> Sequence[Row]: ...  # noqa: D102


class Watch(Protocol):
    """Whoever follows a run: the live table, plain lines or JSON lines."""

    def started(self, stage: str, round: int) -> None:
        """Call when a stage begins."""

    def finished(self, report: Report, table: Sequence[Row]) -> None:
        """Call when a stage is stored; `table` has one row per round so far."""


@dataclass(frozen=True)
class _Here:
    """What belongs to this process: Prefect sends flow and stage along with every shard, but not this."""

    session: Session
    watch: Watch

    @functools.cached_property
    def publish(self) -> Callable[[int], None]:
        """What publishes a round; the same one when the flow is tried again."""
        return _publisher(self.session)

    def __reduce__(self) -> tuple[type[_Here], tuple[None, None]]:
        return _Here, (None, None)


def run_rounds(
    session: Session,
    execute: Callable[[str, int], object],
    publish: Callable[[int], None],
    first: int = 0,
) -> None:
    """Execute round after round until the session's verdict says stop.

    Args:
        session: plans rounds and knows the verdict.
        execute: executes one stage of one round.
        publish: called with the number of each round that is complete.
        first: the round to begin with.
    """
    for round_number in itertools.count(first):
        for stage in session.plan(round_number):
            execute(stage, round_number)
        publish(round_number)
        if session.verdict is not None and session.verdict.stop:
            return


def watched(session: Session, watch: Watch, stage: str, round: int) -> Report:
    """Execute one stage and tell the watch when it begins and when it is stored."""
    watch.started(stage, round)
    report = session.execute(stage, round)
    watch.finished(report, session.table())
    return report


def improve(
    session: Session,
    watch: Watch,
    first: int = 0,
    retries: int = 0,
    task_runner: TaskRunner[Any] | None = None,
) -> None:
    """Run `run_rounds` as a Prefect flow on the server that PREFECT_API_URL names.

    Args:
        session: the run.
        watch: is told of each stage.
        first: the round to begin with.
        retries: how often to try again after a failure, RETRY_DELAY_S later; what is stored is kept.
        task_runner: where a stage submits shards of its work; the stages themselves run in this process.

    Raises:
        SdarError: whatever a stage raised; Prefect records the run as failed.
    """
    from prefect import flow, tags, task
    from prefect.cache_policies import NO_CACHE
    from prefect.context import TagsContext
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    from sdar.flows.artifacts import run_name, run_tags

    here = _Here(session, watch)

    def run_stage(stage: str, round_number: int) -> str:
        return watched(here.session, here.watch, stage, round_number).artifact_id

    def execute(stage: str, round_number: int) -> None:
        # The store is the cache: Prefect's own would hand back ids that the store may no longer hold.
        options = task(
            name=stage,
            task_run_name=f"round {round_number}: {stage}",
            cache_policy=NO_CACHE,
            persist_result=False,
        )
        with TagsContext():  # a task with tags asks the server for a place under each, and waits up to 2 s
            options(run_stage)(stage, round_number)

    @flow(
        name="improve",
        flow_run_name=run_name(session.run_id, session.config),
        validate_parameters=False,
        persist_result=False,
        retries=retries,
        retry_delay_seconds=RETRY_DELAY_S,
        task_runner=task_runner,
    )
    def improve_flow(run_id: str) -> str:
        run_rounds(here.session, execute, here.publish, first)
        return run_id

    limit = DRAIN_S
    try:
        # With the heartbeat every flow run is rounded up to a whole second at its end.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), tags(*run_tags(session.config)):
            improve_flow(session.run_id)
    except BaseException:
        limit = DRAIN_ON_ERROR_S
        raise
    finally:
        # Task states travel in the background and are lost once the server has gone.
        EventsWorker.drain_all(timeout=limit)


def _publisher(session: Session) -> Callable[[int], None]:
    """Return what shows a round on the page of the flow run in which this is called."""
    from prefect.artifacts import (
        create_markdown_artifact,
        create_progress_artifact,
        create_table_artifact,
        update_progress_artifact,
    )
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import ArtifactUpdate

    from sdar.flows.artifacts import progress_percent, round_table, verdict_text

    run_id = session.run_id
    progress = _made(create_progress_artifact(0.0, key="progress", description=f"Run {run_id}: rounds"))
    made: dict[str, UUID] = {}

    def publish(round_number: int) -> None:
        rows = session.table()
        text = f"Run {run_id}, up to round {round_number}. Success with its 95 % interval."
        table = round_table(rows)
        verdict = verdict_text(run_id, session.store.path, session.verdict, rows)
        if made:  # the page lists every artifact of a flow run: one of each kind, not one a round
            with get_client(sync_client=True) as client:
                for key, data in (("rounds", json.dumps(table)), ("verdict", verdict)):
                    client.update_artifact(made[key], ArtifactUpdate(data=data, description=text))
        else:
            made["rounds"] = _made(create_table_artifact(table=table, key="rounds", description=text))
            made["verdict"] = _made(create_markdown_artifact(verdict, "verdict", text))
        done = progress_percent(round_number, session.config.stop.rounds, session.verdict)
        update_progress_artifact(progress, done)

    return publish


def _made(identity: object) -> UUID:
    """Return the id of a new artifact, which is a coroutine only inside an event loop."""
    assert isinstance(identity, UUID)
    return identity
