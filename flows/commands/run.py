"""`sdar run`: rounds of self-improvement until the verdict says stop."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from sdar.envs.registry import environment_factory
from sdar.flows import completion
from sdar.flows.commands.options import (
    LATEST,
    STORE,
    DevicesOption,
    EnvOption,
    FileOption,
    JsonOption,
    MethodOption,
    RoundsOption,
    RunnerOption,
    SeedOption,
    SetOption,
    StoreOption,
    WaitOption,
    configuration,
    find_run,
    overrides,
    resume_command,
)
from sdar.flows.display import Closing, close, open_watch
from sdar.flows.improve import improve
from sdar.flows.progress import Progress, accounted, recorded
from sdar.flows.runners import check_runner, cluster_checked, open_cluster, with_runner
from sdar.flows.server import prefect_server, wait_until_ready
from sdar.flows.trackers.base import require_trackers, tracked
from sdar.schemas.config import RunConfig, RunnerKind
from sdar.schemas.errors import ConfigError

if TYPE_CHECKING:
    from sdar.storage import Store
    from sdar.tasks.session import Session


def run(
    config: FileOption = None,
    set_: SetOption = None,
    seed: SeedOption = None,
    rounds: RoundsOption = None,
    method: MethodOption = None,
    env: EnvOption = None,
    devices: DevicesOption = None,
    store: StoreOption = STORE,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            metavar="[RUN]",
            help="Go on with a run, by default the latest.",
            autocompletion=completion.runs,
        ),
    ] = None,
    more: Annotated[
        int | None,
        typer.Option("--more", min=1, metavar="N", help="N more rounds after the end of a run."),
    ] = None,
    bootstrap: Annotated[
        bool,
        typer.Option(
            "--bootstrap", help="Train the first policy anew. Short for --set policy.path=bootstrap."
        ),
    ] = False,
    runner: RunnerOption = None,
    wait: WaitOption = 0.0,
    json_: JsonOption = False,
) -> None:
    """Improve a policy, round after round, until it stops getting better."""
    first = ["policy.path=bootstrap"] if bootstrap else []
    texts = [*first, *overrides(set_, seed, rounds, method, env, devices)]
    resume = resume or (LATEST if more else None)
    if resume is not None and (config is not None or texts):
        raise ConfigError(
            "--resume or --more was given together with settings; a resumed run keeps its own. "
            f"Allowed: {resume_command(resume, store)}, or the settings without --resume for a new run."
        )
    where = [f"runner.kind={runner}"] if runner else []  # resumed or not: it changes no result
    settings = configuration(config, [*texts, *where]).config
    environment_factory(settings.env.name)  # a missing package is told before anything starts
    if resume is None:
        check_runner(settings)
    require_trackers(settings.logging)
    progress = Progress(store)
    with accounted(progress):
        _run(progress, settings, resume, more, runner, wait, as_json=json_)


def _run(
    progress: Progress,
    config: RunConfig,
    resume: str | None,
    more: int | None,
    runner: RunnerKind | None,
    wait: float,
    *,
    as_json: bool,
) -> None:
    from sdar.storage import open_store

    store = open_store(progress.store)
    with store.writer("sdar run", wait), prefect_server(store.path / "logs" / "prefect") as server:
        session, first = _start(store, config, resume, more)
        progress.run_id = session.run_id
        with recorded(session):
            used = with_runner(session.config, runner)
            cluster = open_cluster(used, store.path / "shards")
            session.mapper = cluster.mapper
            wait_until_ready(server)
            print(f"Prefect page: {server.page}", file=sys.stderr, flush=True)
            rounds = session.config.stop.rounds
            display = open_watch(rounds, as_json=as_json)
            with cluster_checked(used), display as shown, tracked(session, shown) as watch:
                improve(session, watch, first, task_runner=cluster.task_runner)
        folder = session.best_policy_folder()
        world = session.config.env.name
        closing = Closing(
            session.run_id,
            str(store.path),
            str(folder or ""),
            session.verdict,
            session.table(),
            environment="" if world == RunConfig().env.name else world,
        )
    close(closing, as_json=as_json)


def _start(store: Store, config: RunConfig, resume: str | None, more: int | None) -> tuple[Session, int]:
    """Begin or go on with a run, and say with which round; torch is imported while the server starts."""
    from sdar.tasks.continuation import go_on
    from sdar.tasks.session import Session, SystemClock

    if more is not None:
        return go_on(store, find_run(store, resume), more, SystemClock())
    return Session.start(store, config, resume, SystemClock()), 0
