"""A small run as a Prefect flow on a local cluster, one worker of which is killed; see test_runners.py.

Usage: cluster_run.py STORE POLICY KIND. Prints artifacts by stage as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from mortal_job import MortalJob
from small_runs import SteppingClock, small_config

from sdar.flows.improve import Report, improve
from sdar.flows.runners import open_cluster
from sdar.flows.server import prefect_server, wait_until_ready
from sdar.schemas.config import RunConfig
from sdar.storage import open_store
from sdar.tasks import collect
from sdar.tasks.session import Session


def cluster_config(policy: Path, kind: str = "local") -> RunConfig:
    """One round of four tasks, each a batch; each shard has two batches, each row a pass of its own."""
    changes: dict[str, dict[str, Any]] = {
        "rollout": {"tasks": 4, "batch": 2},
        "policy": {"token_budget": 64},
        "runner": {"kind": kind, "shards": 2},
        "evaluation": {"every": 1},
        "stop": {"rounds": 1},
    }
    return small_config(policy, changes)


class Silent:
    """Follows a run and says nothing."""

    def started(self, stage: str, round: int) -> None:
        """See `Watch`."""

    def finished(self, report: Report, table: Any) -> None:
        """See `Watch`."""


def main() -> None:
    path, policy, kind = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    collect.PlayJob = MortalJob  # type: ignore[misc]
    store, config = open_store(path), cluster_config(policy, kind)
    with store.writer("cluster run"), prefect_server(path / "logs" / "prefect") as server:
        session = Session.start(store, config, None, SteppingClock())
        cluster = open_cluster(config, path / "shards")
        session.mapper = cluster.mapper
        wait_until_ready(server, 600)
        improve(session, Silent(), task_runner=cluster.task_runner)
        session.finish("done")
    artifacts = {f"{number} {stage}": made.id for (number, stage), made in session.artifacts.items()}
    print(json.dumps(artifacts), flush=True)
    os._exit(0)  # as the command line does: Prefect's exit handlers would look for the server


if __name__ == "__main__":
    main()
