"""A tiny policy in a folder, and stores in which real rounds were run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "policy"))

from small_runs import SmallRun, run_all, small_config, start
from tiny_policy import save_tiny_policy


@pytest.fixture(scope="session")
def policy_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_policy(tmp_path_factory.mktemp("policy") / "tiny")


@pytest.fixture(scope="session")
def finished(policy_path: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """One undisturbed run; tests read it and must not write into its store."""
    return run_all(tmp_path_factory.mktemp("finished") / "store", small_config(policy_path))


@pytest.fixture(scope="session")
def judged(policy_path: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """The stages before the update in a round with judge and select; tests read it, no more."""
    changes = {
        "reward": {"source": "mixed", "contexts": 3},
        "select": {"return_quantile": 0.5, "consistency": 0.5},
    }
    store, session = start(tmp_path_factory.mktemp("judged") / "store", small_config(policy_path, changes))
    with store.writer("test"):
        reports = [session.execute(stage, 0) for stage in ("bootstrap", "bank")]
        stages = session.plan(1)[: session.plan(1).index("update")]
        reports += [session.execute(stage, 1) for stage in stages]
    return SmallRun(store, session, reports)


@pytest.fixture(scope="session")
def extended(policy_path: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """Like `finished`, with every stage that the defaults leave out."""
    changes = {
        "sdar": {"trust": "lead", "trial_tasks": 2},
        "reward": {"source": "mixed", "contexts": 2},
        "select": {"length_quantile": 0.99},
        "distill": {"every": 2, "trial_tasks": 6},
    }
    return run_all(tmp_path_factory.mktemp("extended") / "store", small_config(policy_path, changes))
