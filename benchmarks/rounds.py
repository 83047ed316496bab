"""Where the time of a round goes: `python benchmarks/rounds.py`.

Runs `sdar run` in this process, with its Prefect server and its store, and adds up for each round without an
evaluation what the main thread spends in computing, in storage and in orchestration:

- storage: methods of the store, reading and writing of weights and of the optimiser's state;
- computing: what else the stages do; orchestration: all the rest of a round.

Processor time counts all threads of this process, those of Prefect and of the published copy too, and says
apart what the server's process took. A round with an evaluation computes longer for the same overhead.

Prints the figures and writes benchmarks/results/rounds.json.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import torch
import transformers
from _report import RESULTS, machine, save
from _timing import Spent, minus, plus

from sdar.flows.commands.options import configuration
from sdar.flows.server import Server, prefect_server, wait_until_ready
from sdar.schemas.config import RunConfig
from sdar.storage import Store, open_store
from sdar.tasks import score, update
from sdar.tasks.registry import STAGES
from sdar.tasks.session import Session, SystemClock
from sdar.tasks.stage import PolicyShelf

COMPUTING, STORAGE, ORCHESTRATION = "computing", "storage", "orchestration"
STORED_BY = {
    score: ("save_weights",),
    update: ("load_weights", "load_optimiser", "save_trained", "save_optimiser", "trained_id"),
}
"""Functions outside the store that read or write files, by the module that calls them."""


def main() -> None:
    """Measure with the sizes that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--set", nargs="*", default=[], help="Further settings: `path=value`.")
    parser.add_argument("--out", type=Path, default=RESULTS / "rounds.json")
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    given = [f"stop.rounds={arguments.rounds}", f"policy.threads={arguments.threads}", *arguments.set]
    config = configuration(None, given).config
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder) / "store", config)
    result["settings"] = arguments.set
    result["machine"] = {
        **machine(load_before, torch, transformers, duckdb),
        "threads": torch.get_num_threads(),
    }
    save(result, arguments.out)
    print(json.dumps(result, indent=2))


def measure(folder: Path, config: RunConfig) -> dict[str, Any]:
    """Run rounds in a new store and return all figures."""
    ledger, store = Ledger(), open_store(folder)
    with store.writer("benchmark"), prefect_server(folder / "logs" / "prefect") as server:
        session = Session.start(store, config, None, SystemClock())
        wait_until_ready(server)
        with charged(ledger):
            rounds = run(session, ledger, server)
    plain = [each for each in rounds if each["learning_only"]]
    return {
        "overhead_share": {
            name: [each["overhead_share"][name] for each in plain]
            for name in ("wall", "cpu", "cpu_with_server")
        },
        "rounds": rounds,
    }


@dataclass
class Ledger:
    """Seconds of the main thread by what it did; a kind of work inside another stops that one's clock."""

    spent: dict[str, Spent] = field(default_factory=dict)
    calls: dict[str, Spent] = field(default_factory=dict)
    kinds: list[str] = field(default_factory=lambda: [ORCHESTRATION])
    since: Spent = field(default_factory=lambda: now())

    def turn(self) -> None:
        """Book the time since the last turn on the present kind of work."""
        moment, kind = now(), self.kinds[-1]
        self.spent[kind] = plus(self.spent.get(kind, Spent(0, 0)), minus(moment, self.since))
        self.since = moment

    @contextmanager
    def doing(self, kind: str, name: str) -> Iterator[None]:
        """Book a `with` block on a kind of work, and its whole time on the name of the call."""
        began = now()
        self.turn()
        self.kinds.append(kind)
        try:
            yield
        finally:
            self.turn()
            self.kinds.pop()
            if kind != self.kinds[-1]:
                self.calls[name] = plus(self.calls.get(name, Spent(0, 0)), minus(now(), began))

    def charge(self, kind: str, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return the function, with its time booked on a kind of work."""

        @functools.wraps(function)
        def charging(*args: Any, **kwargs: Any) -> Any:
            with self.doing(kind, name):
                return function(*args, **kwargs)

        return charging


def now() -> Spent:
    """Return the clock, and the processor time of this thread."""
    return Spent(time.perf_counter(), time.thread_time())


@contextmanager
def charged(ledger: Ledger) -> Iterator[None]:
    """Book stages on computing, and what reads and writes files on storage, for the length of a block."""
    places: list[tuple[Any, str]] = [
        (Store, name)
        for name, value in vars(Store).items()
        if callable(value) and not name.startswith("_") and name != "writer"
    ]
    places += [(module, name) for module, names in STORED_BY.items() for name in names]
    places.append((PolicyShelf, "get"))
    kept = [(owner, name, getattr(owner, name)) for owner, name in places]
    stages = dict(STAGES)
    try:
        for owner, name, function in kept:
            setattr(owner, name, ledger.charge(STORAGE, function, name))
        for name, stage in stages.items():
            booked = replace(stage, run=ledger.charge(COMPUTING, stage.run, f"stage {name}"))
            STAGES[name] = booked  # type: ignore[index]
        yield
    finally:
        for owner, name, function in kept:
            setattr(owner, name, function)
        STAGES.update(stages)  # type: ignore[attr-defined]


def run(session: Session, ledger: Ledger, server: Server) -> list[dict[str, Any]]:
    """Run to the end; return what each round from the first on took, and in what."""
    from sdar.flows.display import open_watch
    from sdar.flows.improve import improve

    marks: list[tuple[float, float, float, dict[str, Spent], dict[str, Spent]]] = []

    def mark() -> None:
        ledger.turn()
        moment = time.perf_counter(), time.process_time(), server_seconds(server)
        marks.append((*moment, dict(ledger.spent), dict(ledger.calls)))

    planned = session.plan

    def plan(number: int) -> tuple[str, ...]:
        if number == len(marks):  # asked again within a round, whenever a stage has ended
            mark()
        return planned(number)

    session.plan = plan  # type: ignore[method-assign]
    with open_watch(session.config.stop.rounds) as watch:
        improve(session, watch)
    mark()
    rounds = range(1, len(marks) - 1)
    return [account(session, number, marks[number], marks[number + 1]) for number in rounds]


def account(session: Session, number: int, before: Any, after: Any) -> dict[str, Any]:
    """Return the figures of one round."""
    spent = {k: minus(v, before[3].get(k, Spent(0, 0))) for k, v in after[3].items()}
    calls = {k: minus(v, before[4].get(k, Spent(0, 0))) for k, v in after[4].items()}
    wall, cpu, server = (after[i] - before[i] for i in range(3))
    computing = spent[COMPUTING]
    return {
        "round": number,
        "learning_only": (number, "evaluate") not in session.artifacts,
        "wall": round(wall, 3),
        "cpu": round(cpu, 3),
        "server_cpu": round(server, 3),
        "main_thread": {name: shown(each) for name, each in spent.items()},
        "calls": {name: shown(each) for name, each in calls.items() if each.wall > 0},
        "overhead_share": {
            "wall": round(1 - computing.wall / wall, 4),
            "cpu": round(1 - computing.cpu / cpu, 4),
            "cpu_with_server": round(1 - computing.cpu / (cpu + server), 4),
        },
    }


def shown(spent: Spent) -> dict[str, float]:
    """Return the seconds for the results."""
    return {"wall": round(spent.wall, 4), "cpu": round(spent.cpu, 4)}


def server_seconds(server: Server) -> float:
    """Return the processor time of the server's process so far; 0 for a server of somebody else."""
    if server.process is None:
        return 0.0
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
