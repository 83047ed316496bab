"""Whether readers and a run disturb each other: `python benchmarks/readers.py`.

Makes the same short run three times: alone, then with a second process that asks for the stages every 0.2 s,
then alone again. Prints how many queries failed, how long they took, how long after a stage had ended its row
could be read, and what the reader cost the run. Writes benchmarks/results/readers.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from _report import RESULTS, machine, save

from sdar.storage import open_store

EVERY_S = 0.2
QUERY = "SELECT round, stage, finished FROM stage_run ORDER BY finished"


def main() -> None:
    """Measure with the number of rounds that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "readers.json")
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        before = run_alone(Path(folder) / "before", arguments.rounds)
        read, watched = run_watched(Path(folder) / "watched", arguments.rounds)
        after = run_alone(Path(folder) / "after", arguments.rounds)
    result = {
        "machine": machine(load_before, duckdb),
        "reader": watched,
        "run_seconds": {"alone": [before, after], "with_reader": read},
        "ratio_of_run_time": round(read / ((before + after) / 2), 3),
    }
    save(result, arguments.out)
    print(json.dumps(result, indent=2))


def start(store: Path, rounds: int) -> subprocess.Popen[bytes]:
    """Start `sdar run` in a process of its own."""
    command = [sys.executable, "-m", "sdar", "run", "--rounds", str(rounds), "--store", str(store)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def run_alone(store: Path, rounds: int) -> float:
    """Return the seconds from the first stage's start to the last one's end."""
    _end(start(store, rounds))
    return learning_seconds(store)


def run_watched(store: Path, rounds: int) -> tuple[float, dict[str, Any]]:
    """Query the store every 0.2 s while a run writes to it; return the run's seconds and what was seen."""
    process, seconds, failures = start(store, rounds), list[float](), list[str]()
    seen: dict[tuple[int, str], float] = {}
    while process.poll() is None:
        began = time.time()
        if (store / "store.duckdb").exists():
            try:
                rows = open_store(store, read_only=True).query(QUERY).to_pylist()
                for row in rows:
                    seen.setdefault((row["round"], row["stage"]), time.time())
            except Exception as error:  # every kind of failure counts
                failures.append(f"{type(error).__name__}: {error}")
            seconds.append(time.time() - began)
        time.sleep(max(0.0, EVERY_S - (time.time() - began)))
    _end(process)
    stages = open_store(store, read_only=True).query(QUERY).to_pylist()
    delays = [
        seen[key] - _time(row["finished"]) for row in stages if (key := (row["round"], row["stage"])) in seen
    ]
    return learning_seconds(store), {
        "queries": len(seconds),
        "failed": len(failures),
        "failures": sorted(set(failures)),
        "query_seconds": {"median": float(np.median(seconds)), "longest": max(seconds)},
        "stages_seen_while_running": len(delays),
        "delay_seconds": {"median": float(np.median(delays)), "longest": max(delays)},
    }


def learning_seconds(store: Path) -> float:
    """Return the seconds from the first stage's start to the last one's end."""
    opened = open_store(store, read_only=True)
    stages = [stage for run in opened.runs() for stage in opened.stage_runs(run.id)]
    return max(_time(stage.finished) for stage in stages) - min(_time(stage.started) for stage in stages)


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.wait():
        raise SystemExit(f"sdar run ended with exit code {process.returncode}")


if __name__ == "__main__":
    main()
