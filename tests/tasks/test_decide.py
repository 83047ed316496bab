"""The collapse guard and the rollback on a real run whose learning rate destroys the policy."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import pytest
from small_runs import SmallRun, inputs_of, run_all, small_config, start

from sdar.policy.model import policy_id
from sdar.storage import open_store
from sdar.tasks.decide import figures
from sdar.tasks.registry import input_places

ROUNDS = 5
BREAKING = {
    "env": {"max_steps": 2},
    "rollout": {"max_action_tokens": 8},
    "update": {"learning_rate": 0.3, "minibatch": 1},
    "sdar": {"coefficient": 0.0},
    "evaluation": {"panel_size": 4, "every": ROUNDS, "with_skills": False},
    "stop": {"rounds": 2 * ROUNDS, "entropy_low": 0.01, "entropy_high": 0.9},
}


@pytest.fixture(scope="module")
def collapsed(policy_path: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return run_all(tmp_path_factory.mktemp("collapsed") / "store", small_config(policy_path, BREAKING))


def test_a_collapsing_run_stops_and_rolls_back(collapsed: SmallRun) -> None:
    verdict = collapsed.session.verdict
    assert verdict is not None
    assert (verdict.stop, verdict.reason, verdict.round) == (True, "collapse", ROUNDS)
    assert "outside [0.01, 0.9] in 3 rounds in a row" in verdict.sentence
    assert "Rolled back to the policy of round 0" in verdict.sentence
    folder = collapsed.session.best_policy_folder()
    assert folder is not None
    first = collapsed.store.policy(collapsed.artifacts[0, "bootstrap"])
    assert policy_id(folder) == verdict.best_policy == first.id


def test_the_guard_reads_every_round_and_no_episodes_of_it(collapsed: SmallRun, tmp_path: Path) -> None:
    found = figures(inputs_of(collapsed, "decide", ROUNDS, tmp_path))
    assert [figure.round for figure in found] == [1, 2, 3, 4, 5]
    assert found[0].entropy is not None
    assert found[0].entropy > 0.01
    assert all(figure.entropy is not None and figure.entropy < 0.01 for figure in found[2:])
    assert {figure.spread for figure in found} == {0.0}  # nothing ever succeeded
    places = input_places(collapsed.session.config, "decide", ROUNDS)
    assert {place[1] for place in places.values()} == {"evaluate", "collect", "update"}


def pruned(collapsed: SmallRun, folder: Path, keep: tuple[Literal["best"], ...]) -> Path:
    """A copy of the store in which only these weights are left."""
    path = folder / "store"
    shutil.copytree(collapsed.store.path, path)
    store = open_store(path)
    with store.writer("test"):
        store.prune(keep)
    return path


def test_the_best_policy_outlives_a_prune_and_begins_a_new_run(collapsed: SmallRun, tmp_path: Path) -> None:
    verdict = collapsed.session.verdict
    assert verdict is not None
    path = pruned(collapsed, tmp_path, ("best",))
    again = run_all(path, collapsed.session.config, resume=collapsed.session.run_id)
    assert all(report.reused for report in again.reports)
    folder = again.session.best_policy_folder()
    assert folder is not None
    assert policy_id(folder) == verdict.best_policy
    _, new = start(path, small_config(folder))
    with new.store.writer("test"):
        report = new.execute("bootstrap", 0)
    assert report.summary["policy"] == verdict.best_policy


def test_deciding_again_needs_no_pruned_weights(collapsed: SmallRun, tmp_path: Path) -> None:
    path = pruned(collapsed, tmp_path, ())
    _, session = start(path, collapsed.session.config, resume=collapsed.session.run_id)
    with session.store.writer("test"):
        report = session.execute("decide", ROUNDS, force=True)
    assert not report.reused
    assert set(session.done) == {(ROUNDS, "decide")}  # no update was computed again
