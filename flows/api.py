"""What programs and notebooks call: `sdar.improve`, the rounds of `sdar run` in the caller's process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar.flows.environment import prepare_environment
from sdar.schemas.config import RunConfig
from sdar.schemas.records import Verdict

if TYPE_CHECKING:
    from sdar.flows.improve import Report, Row, Session, Watch

Settings = RunConfig | Mapping[str, Any] | str | Path | None


@dataclass(frozen=True)
class Measured:
    """Success on the frozen panel after a round, with its 95 % interval; shares in [0, 1]."""

    round: int
    success: float
    low: float
    high: float


@dataclass(frozen=True)
class Improvement:
    """What a run came to.

    Attributes:
        run_id: its id in the store.
        verdict: why it ended, in words too, and which round's policy is the best.
        learning_curve: one entry for each round that was evaluated.
        policy: the best policy, a Hugging Face model folder; None where its files are an adapter alone, which
            `sdar policy export` adds to its base.
        store: the store's folder, for `sdar.open_store`.
    """

    run_id: str
    verdict: Verdict
    learning_curve: tuple[Measured, ...]
    policy: Path | None
    store: Path


def improve(
    config: Settings = None,
    *,
    store: str | Path = "sdar-store",
    rounds: int | None = None,
    quiet: bool = False,
) -> Improvement:
    """Improve a policy, round after round, until the verdict says stop.

    Stages whose inputs, settings and code are in the store already are taken from it, so the same call again
    computes nothing, and one after an interruption only what is missing. The stages run in this process; with
    PREFECT_API_URL set they are a flow run on that server.

    Args:
        config: settings over those of the environment and the method: a mapping, nested or by dotted path
            (`{"rollout.tasks": 8}`), a YAML or TOML file, or a `RunConfig`, of which the fields count that
            were set; None is `sdar run` without settings.
        store: folder of the store, made where there is none.
        rounds: short for the setting `stop.rounds`.
        quiet: print nothing; by default what `sdar run` prints.

    Returns:
        Verdict, learning curve, and where the best policy lies.

    Raises:
        SdarError: with what was found, what is allowed and what to do next. ConfigError for settings,
            StoreBusyError while another process writes to the store, CheckFailedError for a failed round.
    """
    prepare_environment()
    settings = read_settings(config, rounds)
    from sdar.envs.registry import environment_factory
    from sdar.flows.progress import recorded
    from sdar.flows.trackers.base import require_trackers, tracked
    from sdar.storage import open_store
    from sdar.tasks.session import Session, SystemClock

    environment_factory(settings.env.name)  # a missing package is told before anything starts
    require_trackers(settings.logging)
    opened = open_store(store)
    with opened.writer("sdar.improve"):
        session = Session.start(opened, settings, None, SystemClock())
        with (
            recorded(session),
            _watch(settings, quiet=quiet) as shown,
            tracked(session, shown) as watch,
        ):
            _run(session, watch)
        assert session.verdict is not None  # the rounds end with one
        return Improvement(
            run_id=session.run_id,
            verdict=session.verdict,
            learning_curve=_curve(session.table()),
            policy=session.best_policy_folder(),
            store=opened.path,
        )


def read_settings(config: Settings, rounds: int | None = None) -> RunConfig:
    """Return the checked configuration that `improve` runs; see there."""
    from sdar.flows.commands.options import configuration, overrides

    file = Path(config) if isinstance(config, str | Path) else None
    values: Mapping[str, Any] = {}
    if isinstance(config, RunConfig):
        values = config.model_dump(mode="json", exclude_unset=True)
    elif isinstance(config, Mapping):
        values = {name: str(value) if isinstance(value, Path) else value for name, value in config.items()}
    return configuration(file, overrides((), rounds=rounds), values).config


def _run(session: Session, watch: Watch) -> None:
    from sdar.flows.improve import improve as run_flow
    from sdar.flows.improve import run_rounds, watched

    if os.environ.get("PREFECT_API_URL"):
        run_flow(session, watch)
        return

    run_rounds(session, partial(watched, session, watch), lambda round_number: None)


def _curve(table: Sequence[Row]) -> tuple[Measured, ...]:
    names = ("round", "success", "low", "high")
    return tuple(Measured(*(row[name] for name in names)) for row in table if "success" in row)


class _Silence:
    """Follows a run and says nothing."""

    def started(self, stage: str, round: int) -> None:
        """Say nothing."""

    def finished(self, report: Report, table: Sequence[Row]) -> None:
        """Say nothing."""


@contextmanager
def _watch(config: RunConfig, *, quiet: bool) -> Iterator[Watch]:
    if quiet:
        yield _Silence()
        return
    from sdar.flows.display import open_watch

    with open_watch(config.stop.rounds) as watch:
        yield watch
