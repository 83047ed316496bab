"""How threads wait for each other, on a quiet and on a busy machine: `python benchmarks/waiting.py`.

Between two pieces of work OpenMP's threads wait for the slowest, by default spinning for milliseconds. Where
other programs want the cores too, a spinning thread takes the time that the thread it waits for needs.
Forward and backward passes of the shipped policy over 16 rows of 160 tokens, on as many threads as there are
cores, in a process for each setting, which take turns:

- `default`: as the library does it;
- `short`: GOMP_SPINCOUNT as `sdar` sets it (`flows/environment.py`), some ten microseconds;
- `none`: OMP_WAIT_POLICY=PASSIVE, which never spins.

All of it once as the machine is, and once beside as many processes that count without end as there are cores.
Prints the figures and writes benchmarks/results/waiting.json.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from _report import RESULTS, machine, save
from _timing import Spent, ratios, seconds, timed

from sdar.flows.environment import DEFAULTS
from sdar.policy.model import STARTER, load_model

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
SETTINGS = {
    "default": {},
    "short": {"GOMP_SPINCOUNT": DEFAULTS["GOMP_SPINCOUNT"]},
    "none": {"OMP_WAIT_POLICY": "PASSIVE"},
}
ROWS, TOKENS = 16, 160


def main() -> None:
    """Measure with the sizes that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20, help="Passes that are timed in each process.")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "waiting.json")
    parser.add_argument("--child", action="store_true", help="Be one of the processes, and print its time.")
    arguments = parser.parse_args()
    if arguments.child:
        spent = passes(arguments.steps)
        print(json.dumps([spent.wall, spent.cpu]))
        return
    result = measure(arguments.steps, arguments.repetitions)
    save(result, arguments.out)
    print(json.dumps(result, indent=2))


def measure(steps: int, repetitions: int) -> dict[str, Any]:
    """Return the figures of both machines, the one that is and the busy one."""
    load_before = os.getloadavg()[0]
    figures: dict[str, Any] = {"as_it_is": turns(steps, repetitions)}
    with busy(os.cpu_count() or 1):
        figures["busy"] = turns(steps, repetitions)
    return {
        "steps": steps,
        "threads": os.cpu_count(),
        **figures,
        "machine": machine(load_before, torch, transformers),
    }


def turns(steps: int, repetitions: int) -> dict[str, Any]:
    """Let the settings take turns; ratios are those of the default's time to theirs."""
    spent: dict[str, list[Spent]] = {name: [] for name in SETTINGS}
    for _ in range(repetitions):
        for name, setting in SETTINGS.items():
            spent[name].append(child(setting, steps))
    return {
        "seconds": {name: seconds(each) for name, each in spent.items()},
        "times_as_fast_as_default": {
            name: ratios(spent["default"], spent[name]) for name in SETTINGS if name != "default"
        },
    }


def child(setting: dict[str, str], steps: int) -> Spent:
    """Time the passes in a process of their own: the setting is read when the library is loaded."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | setting
    command = [sys.executable, __file__, "--child", "--steps", str(steps)]
    printed = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Spent(*json.loads(printed))


def passes(steps: int) -> Spent:
    """Return what the passes took, the first one left out."""
    torch.set_num_threads(os.cpu_count() or 1)
    model = load_model(STARTER)
    ids = torch.randint(0, 300, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0))

    def work(count: int) -> None:
        for _ in range(count):
            model(input_ids=ids).logits.logsumexp(-1).sum().backward()

    work(1)
    return timed(lambda: work(steps))[1]


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep so many cores busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
