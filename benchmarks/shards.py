"""What moves between processes in a round that is shared out: `python benchmarks/shards.py`.

Plays and scores rounds of the household with the starter, once in this process and once through the Arrow
files that other machines would read and write, and counts the bytes of every file and message. Both give the
same artifacts, or the benchmark fails. Times are CPU seconds of this process, for both ways are done here.

Prints the figures and writes benchmarks/results/shards.json.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow
import torch
from _report import RESULTS, machine, save

from sdar.schemas.config import RunConfig
from sdar.storage import Store, open_store
from sdar.tasks.session import Session, SystemClock
from sdar.tasks.shards import DONE, GIVEN, Shard, do_shard, through_files

SHARDS = 8


def main() -> None:
    """Measure rounds of the sizes that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, nargs="+", default=[16, 64], help="tasks of two episodes each")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--out", type=Path, default=RESULTS / "shards.json")
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    rounds = [measure(tasks, arguments.batch) for tasks in arguments.tasks]
    result = {"machine": machine(load_before, duckdb, pyarrow, torch), "rounds": rounds}
    save(result, arguments.out)
    print(json.dumps(result, indent=2))


@dataclass
class Traffic:
    """Has shards done in this process and counts the bytes that would travel to others and back."""

    moved: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, shards: Sequence[Shard]) -> None:
        """See `Submit`."""
        messages = [len(pickle.dumps(shard)) for shard in shards]
        for shard in shards:
            do_shard(shard)
        place, policy = shards[0].folder, shards[0].job.policy.folder
        self.moved.append(
            {
                "job": type(shards[0].job).__name__,
                "shards": len(shards),
                "batches": sum(len(shard.numbers) for shard in shards),
                "message_bytes": sum(messages),
                "given_bytes": _size(place, f"*.{GIVEN}/*"),
                "done_bytes": _size(place, f"*.{DONE}/*"),
                "policy_bytes": _size(policy, "*"),
            }
        )


def _size(folder: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file())


def measure(tasks: int, batch: int) -> dict[str, Any]:
    """Return what one round of that many tasks moves, and what it costs in this process and through files."""
    config = RunConfig.model_validate({"policy": {"threads": 1}, "rollout": {"tasks": tasks, "batch": batch}})
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "store")
        with store.writer("benchmark"):
            session = Session.start(store, config, None, SystemClock())
            for stage in ("bootstrap", "bank"):
                session.execute(stage, 0)
            before = _database(store)
            here = _round(session, force=False)
            grown = _database(store) - before
            traffic = Traffic()
            session.mapper = through_files(store.path / "shards", SHARDS, traffic)
            through = _round(session, force=True)
        if here["artifacts"] != through["artifacts"]:
            raise SystemExit(f"other artifacts through files: {here['artifacts']}, {through['artifacts']}")
        return {
            "episodes": tasks * config.rollout.group_size,
            "batch": batch,
            **here["counts"],
            "moved": traffic.moved,
            "database_bytes": grown,
            "cpu_seconds_here": here["seconds"],
            "cpu_seconds_through_files": through["seconds"],
        }


def _database(store: Store) -> int:
    return (store.path / "store.duckdb").stat().st_size


def _round(session: Session, *, force: bool) -> dict[str, Any]:
    seconds: Counter[str] = Counter()
    artifacts, counts = {}, {}
    for stage in ("collect", "retrieve", "score"):
        began = time.process_time()
        report = session.execute(stage, 1, force=force)
        seconds[stage] += time.process_time() - began
        artifacts[stage] = report.artifact_id
        counts |= {f"{stage}_{name}": report.summary[name] for name in _COUNTS.get(stage, ())}
    return {"seconds": dict(seconds), "artifacts": artifacts, "counts": counts}


_COUNTS = {"collect": ("tokens", "action_tokens"), "score": ("tokens",)}


if __name__ == "__main__":
    main()
