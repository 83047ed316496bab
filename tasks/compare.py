"""Two runs against each other: the paired difference of their successes on the panel that both played."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

import numpy as np

from sdar.rl.statistics import comparison, paired_bootstrap
from sdar.schemas.errors import ConfigError, InputError
from sdar.schemas.keys import stage_key
from sdar.schemas.lineage import RunRecord, StageRun
from sdar.schemas.records import Comparison, Episode
from sdar.schemas.seeds import PANEL_SEED, derive_seed
from sdar.storage import Store
from sdar.tasks.branches import read_history

VERSION = 1
At = Literal["best", "last"]
CHOICES: tuple[At, ...] = get_args(At)


@dataclass(frozen=True)
class Compared:
    """A stored comparison and the rounds whose evaluations it pairs."""

    result: Comparison
    before_round: int
    after_round: int
    tasks: int


def compare_runs(store: Store, before: RunRecord, after: RunRecord, at: At, now: datetime) -> Compared:
    """Pair the evaluations of two runs task by task and store the difference, `after` minus `before`.

    Args:
        store: open for writing, inside `store.writer`.
        before: the run to compare with.
        after: the run that the comparison is recorded in.
        at: `best` pairs the evaluations with the highest success, `last` the latest ones. The best of many
            is flattered by chance; with `last` neither run chooses.
        now: the present moment.

    Raises:
        InputError: a run has no evaluation.
        ConfigError: the two played different panels.
    """
    first, second = _evaluation(store, before, at), _evaluation(store, after, at)
    outcomes = [_outcomes(store, each) for each in (first, second)]
    if first.inputs["panel"] != second.inputs["panel"] or outcomes[0].keys() != outcomes[1].keys():
        raise ConfigError(
            f"{before.id} and {after.id} were evaluated on different panels; only runs with the same env and "
            "evaluation.panel_size can be paired. `sdar runs` lists all runs."
        )
    policies = [store.policy(each.inputs["policy"]).id for each in (first, second)]
    pairs = [[float(found[task]) for task in outcomes[0]] for found in outcomes]
    paired = paired_bootstrap(np.array(pairs[0]), np.array(pairs[1]), derive_seed(PANEL_SEED, "compare"))
    result = comparison(policies[0], policies[1], paired)
    _save(store, f"compare with {before.id}", first, second, result, now)
    return Compared(result, first.round, second.round, len(outcomes[0]))


def _evaluation(store: Store, run: RunRecord, at: At) -> StageRun:
    stored = read_history(store, run).stored
    found = sorted(
        (each for each in stored.values() if each.stage == "evaluate"), key=lambda each: each.round
    )
    if not found:
        raise InputError(
            f"run {run.id} has no evaluation yet. "
            f"Go on with it: sdar run --resume {run.id} --store {store.path}"
        )
    if at == "last":
        return found[-1]
    return max(found, key=lambda each: (float(each.summary["success"]), -each.round))


def _outcomes(store: Store, evaluation: StageRun) -> dict[str, bool]:
    episodes: list[Episode] = store.episodes(str(evaluation.artifact_id))
    return {episode.task_id: episode.success for episode in episodes}


def _save(
    store: Store, stage: str, before: StageRun, after: StageRun, result: Comparison, now: datetime
) -> None:
    inputs = {"before": str(before.artifact_id), "after": str(after.artifact_id)}
    moment = now.isoformat(timespec="milliseconds")
    stage_run = StageRun(
        run_id=after.run_id,
        round=after.round,
        stage=stage,
        key=stage_key("compare", VERSION, {}, inputs, 0),
        version=VERSION,
        config={},
        inputs=inputs,
        started=moment,
        finished=moment,
        seconds=0.0,
        summary={"difference": result.difference, "low": result.low, "high": result.high},
    )
    store.commit(stage_run, "comparison", {"comparison": [result]})
