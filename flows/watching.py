"""What can be known of a run from outside: its published rows, its news, and who writes to the store."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sdar.schemas.errors import InputError

if TYPE_CHECKING:
    from sdar.storage import Store
    from sdar.storage.lock import Owner
    from sdar.storage.news import News, Told

Row = dict[str, Any]
Status = Literal["running", "busy", "done", "failed", "interrupted", "died"]
"""`busy`: somebody writes to the store but says nothing of this run. `died`: the run was never ended, and its
process has gone."""

_RUNS = "SELECT id, created, method, seed, config, status FROM run ORDER BY rowid"
_STAGES = """
    SELECT round, stage, seconds, reused_from, summary FROM stage_run WHERE run_id = {run}
    ORDER BY round, rowid"""
_VERDICT = """
    SELECT v.round, v.stop, v.reason, v.sentence, v.best_round, v.best_policy, v.best_success
    FROM stage_run s JOIN verdict v ON v.artifact_id = s.artifact_id
    WHERE s.run_id = {run} ORDER BY s.round DESC LIMIT 1"""
_FIGURES = {"evaluate": ("success", "low", "high"), "score": ("gap",), "update": ("gate_mean",)}


@dataclass(frozen=True)
class Published:
    """What the store has published of a run: one row a round, and the computed seconds of its stages.

    `seconds` has the latest time of each stage by name, `round_seconds` the time of each round after 0 that
    was computed and is complete.
    """

    run_id: str
    method: str
    seed: int
    environment: str
    rounds: int
    status: str
    table: tuple[Row, ...]
    seconds: Mapping[str, float]
    round_seconds: tuple[float, ...]
    verdict: Row | None


@dataclass(frozen=True)
class Scene:
    """A run as it is at one moment.

    `run` is None while a process has begun to write and no run is recorded yet. `age` is the seconds since
    anything was heard, None where nothing ever was; `others` are the runs that go on beside this one.
    """

    store: Path
    status: Status
    owner: Owner | None
    run: Published | None = None
    news: News | None = None
    age: float | None = None
    elapsed: float = 0.0
    others: tuple[News, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to wait for."""
        return self.status not in ("running", "busy")

    @property
    def stage_left(self) -> float | None:
        """Seconds that the stage takes yet: as the last time, or at the pace so far; None if unknown."""
        if self.news is None or self.run is None:
            return None
        before = self.run.seconds.get(self.news.stage, 0.0)
        if before > self.elapsed:
            return before - self.elapsed
        done, total = self.news.done, self.news.total
        return self.elapsed * (total - done) / done if done else None

    @property
    def run_left(self) -> float | None:
        """Seconds that the run takes at most if rounds go on as they did; None before one is whole."""
        if self.news is None or self.run is None or not self.run.round_seconds:
            return None
        mean = sum(self.run.round_seconds) / len(self.run.round_seconds)
        plan = self.news.plan
        later = plan[plan.index(self.news.stage) + 1 :] if self.news.stage in plan else ()
        rest = (self.stage_left or 0.0) + sum(self.run.seconds.get(stage, 0.0) for stage in later)
        return rest + mean * max(self.news.rounds - self.news.round, 0)


@dataclass
class Observer:
    """Looks at a store again and again; rows are read only when something new was published."""

    store: Store
    clock: Callable[[], float] = time.time
    _key: tuple[object, ...] = ()
    _run: Published | None = field(default=None)
    _last: tuple[Owner, Told] | None = None

    def look(self) -> Scene:
        """Return what can be seen now.

        Raises:
            InputError: no run is recorded, and nobody is about to begin one.
        """
        from sdar.storage.news import read_news

        before, told = self.store.owner(), read_news(self.store.path)
        fresh = [each for each in told if before is not None and each.at >= _seconds(before.started)]
        chosen = self._chosen(before, fresh)
        run = self._published(chosen.news.run_id if chosen else None)
        # Asked twice: a run that ends between two looks has published by the time that its lock is free.
        owner = self.store.owner() or before
        if run is None and owner is None:
            raise InputError(
                f"the store {self.store.path} has no run yet. "
                f"Start one with: sdar run --store {self.store.path}"
            )
        if run is not None and owner is not None and chosen is not None and chosen.news.run_id == run.run_id:
            self._last = (owner, chosen)
            others = [each for each in fresh if each.news.run_id != run.run_id]
            return self._scene("running", owner, run, chosen, others)
        status = _status(run, owner)
        left = [each for each in told if run is not None and each.news.run_id == run.run_id]
        return self._scene(status, owner, run, left[0] if left and status == "died" else None, fresh)

    def _chosen(self, owner: Owner | None, fresh: Sequence[Told]) -> Told | None:
        """Return the news to show: of the run shown before while it goes on, else the latest."""
        if self._last is not None and self._last[0] == owner:
            last = self._last[1]
            for each in fresh:
                if each.news.run_id == last.news.run_id:
                    return each
            run = self._published(last.news.run_id)
            if run is not None and run.run_id == last.news.run_id and run.status == "running":
                return last  # between two stages
        return fresh[0] if fresh else None

    def _scene(
        self,
        status: Status,
        owner: Owner | None,
        run: Published | None,
        told: Told | None,
        others: Sequence[Told],
    ) -> Scene:
        now, (_, changed) = self.clock(), self.store.published()
        heard = max(changed / 1e9, told.at if told else 0.0)
        return Scene(
            store=self.store.path,
            status=status,
            owner=owner,
            run=run,
            news=told.news if told else None,
            age=max(now - heard, 0.0),
            elapsed=max(now - _seconds(told.news.began), 0.0) if told else 0.0,
            others=tuple(each.news for each in others),
        )

    def _published(self, wanted: str | None) -> Published | None:
        key = (self.store.published(), wanted)
        if key != self._key:
            self._key, self._run = key, read_published(self.store, wanted)
        return self._run


def read_published(store: Store, wanted: str | None) -> Published | None:
    """Return what is published of a run, or of the latest one if it is not there; None without any."""
    from sdar.storage import literal

    runs = {row["id"]: row for row in store.query(_RUNS).to_pylist()}
    if not runs:
        return None
    record = runs.get(wanted or "") or list(runs.values())[-1]
    name = literal(record["id"])
    stages = store.query(_STAGES.format(run=name)).to_pylist()
    verdicts = store.query(_VERDICT.format(run=name)).to_pylist()
    config = json.loads(record["config"])
    return Published(
        run_id=record["id"],
        method=record["method"],
        seed=record["seed"],
        environment=config["env"]["name"],
        rounds=config["stop"]["rounds"],
        status=record["status"],
        table=tuple(_table(stages)),
        seconds={row["stage"]: row["seconds"] for row in stages if row["reused_from"] is None},
        round_seconds=tuple(_round_seconds(stages)),
        verdict=verdicts[0] if verdicts else None,
    )


def _table(stages: Sequence[Row]) -> list[Row]:
    rows: dict[int, Row] = {}
    for stage in stages:
        row = rows.setdefault(stage["round"], {"round": stage["round"], "seconds": 0.0})
        row["seconds"] += 0.0 if stage["reused_from"] else stage["seconds"]
        summary = json.loads(stage["summary"])
        row |= {name: summary[name] for name in _FIGURES.get(stage["stage"], ()) if name in summary}
    return list(rows.values())


def _round_seconds(stages: Sequence[Row]) -> list[float]:
    """Return the time of each computed round after 0; the last is left out, for more may belong to it."""
    rounds: dict[int, float] = {}
    for stage in stages:
        if stage["round"] and stage["reused_from"] is None:
            rounds[stage["round"]] = rounds.get(stage["round"], 0.0) + stage["seconds"]
    rounds.pop(max((stage["round"] for stage in stages), default=0), None)
    return list(rounds.values())


def _status(run: Published | None, owner: Owner | None) -> Status:
    if owner is not None or run is None:
        return "busy"
    ends: dict[str, Status] = {"done": "done", "failed": "failed", "interrupted": "interrupted"}
    return ends.get(run.status, "died")


def _seconds(moment: str) -> float:
    """Return an ISO 8601 time as seconds since the epoch; 0 for none."""
    try:
        parsed = datetime.fromisoformat(moment)
    except ValueError:
        return 0.0
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
