"""A run with a real Prefect server and flow over a session that computes nothing; see test_server.py.

Usage: fake_run.py HOME MODE, with MODE one of finish (after a stage that fails once and is tried again), wait
(a stage sleeps) and fail.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdar.schemas.config import RunConfig
from sdar.schemas.errors import CheckFailedError
from sdar.schemas.records import Verdict

FAILURES = {"finish": 1, "wait": 0, "fail": 1}


@dataclass(frozen=True)
class FakeReport:
    stage: str
    round: int
    artifact_id: str
    reused: bool = False
    seconds: float = 0.25
    summary: dict[str, float | str] = field(default_factory=lambda: {"success": 0.5})


@dataclass(frozen=True)
class FakeStore:
    path: Path = Path("/stores/mine")


@dataclass
class FakeSession:
    """Stops with the `decide` stage of `last_round`; refuses stages that were not planned."""

    last_round: int = 2
    mode: str = "finish"
    run_id: str = "run-1"
    config: RunConfig = field(default_factory=RunConfig)
    store: FakeStore = FakeStore()
    verdict: Verdict | None = None
    executed: list[tuple[str, int]] = field(default_factory=list)
    failures: int = 0

    def plan(self, round: int) -> tuple[str, ...]:
        if round == 0:
            return ("bootstrap", "evaluate", "decide")
        return ("collect", "update", "evaluate", "decide")

    def execute(self, stage: str, round: int) -> FakeReport:
        if stage not in self.plan(round):
            raise AssertionError(f"{stage} is not planned in round {round}")
        if self.mode == "wait" and (stage, round) == ("update", 1):
            print(json.dumps({"waiting": True}), flush=True)
            time.sleep(60)
        if round == 1 and self.failures < FAILURES[self.mode]:
            self.failures += 1
            raise CheckFailedError("the log-probs differ")
        time.sleep(0.1)
        self.executed.append((stage, round))
        if stage == "decide":
            self.verdict = _verdict(round, round >= self.last_round)
        return FakeReport(stage, round, f"{stage}{round}")

    def table(self) -> list[dict[str, Any]]:
        last = self.executed[-1][1]
        return [{"round": r, "success": 0.5, "low": 0.4, "high": 0.6} for r in range(last + 1)]


def _verdict(round: int, stop: bool) -> Verdict:
    return Verdict(
        round=round,
        stop=stop,
        reason="target" if stop else "continue",
        sentence="The target was reached." if stop else "Going on.",
        best_policy="p" * 64,
        best_round=round,
        best_success=0.5,
    )


def main() -> None:
    from sdar.flows.environment import prepare_environment

    prepare_environment()
    from sdar.flows import improve as flow
    from sdar.flows.display import open_watch
    from sdar.flows.interrupts import Interrupted, interruptible
    from sdar.flows.server import prefect_server, wait_until_ready

    home, mode = Path(sys.argv[1]), sys.argv[2]
    flow.RETRY_DELAY_S = 0
    try:
        with interruptible(lambda: None), prefect_server(home) as server:
            assert server.process is not None
            print(json.dumps({"pid": server.process.pid}), flush=True)
            wait_until_ready(server)
            with open_watch(3, as_json=True) as watch:
                flow.improve(FakeSession(mode=mode), watch, retries=int(mode == "finish"))
            print(json.dumps(_recorded()), flush=True)
    except Interrupted as interruption:
        raise SystemExit(interruption.exit_code) from None


def _recorded() -> dict[str, Any]:
    """What the server knows of the flow runs, their tasks and artifacts."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        flows, tasks = client.read_flow_runs(), client.read_task_runs()
        return {
            "flows": [(run.name, run.state_name, sorted(run.tags)) for run in flows],
            "tasks": sorted({run.name for run in tasks}),
            "task_tags": sorted({tag for run in tasks for tag in run.tags}),
            "artifacts": sorted((str(found.key), found.data) for found in client.read_artifacts()),
        }


if __name__ == "__main__":
    main()
