"""A tiny policy in a folder, and stores in which real rounds were run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "policy"))

from small_runs import SmallRun, run_all, small_config
from tiny_policy import save_tiny_policy


@pytest.fixture(scope="session")
def policy_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_policy(tmp_path_factory.mktemp("policy") / "tiny")


@pytest.fixture(scope="session")
def finished(policy_path: Path, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    """One undisturbed run; tests read it and must not write into its store."""
    return run_all(tmp_path_factory.mktemp("finished") / "store", small_config(policy_path))
