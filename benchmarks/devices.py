"""Memory of an update by one process and by each of several: `python benchmarks/devices.py [--devices 2]`.

A Qwen3 model with random weights takes two optimiser steps on a CPU. Each case has a process of its own, as
only its peak of memory can be asked for: that of the process itself, or of the largest rank that it started.
Prints the figures and writes benchmarks/results/devices.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from _report import RESULTS, machine, save

from sdar.policy.memory import TokenBudget
from sdar.policy.model import new_model
from sdar.policy.scoring import Row
from sdar.rl.learner import LearnerRow, Objective, new_optimiser, optimise
from sdar.schemas.config import PolicyConfig, SdarConfig, UpdateConfig
from sdar.tasks.rank_files import Plan
from sdar.tasks.ranks import learn_in_ranks
from sdar.tasks.trained import load_trained

VOCABULARY, HIDDEN, LAYERS = 8192, 768, 12
ROWS, LENGTH, SCORED, STEPS = 4, 32, 16, 2


def main() -> None:
    """Run both cases in processes of their own, or the one that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--case", nargs=2, metavar=("DEVICES", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "devices.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.case:
        print(json.dumps(run(int(arguments.case[0]), Path(arguments.case[1]))))
        return
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        model = new_model(VOCABULARY, 0, HIDDEN, LAYERS, 12, LENGTH)
        weights = sum(weight.numel() for weight in model.parameters())
        model.save_pretrained(folder)
        del model
        cases = [in_process(devices, folder) for devices in (1, arguments.devices)]
    result = {"machine": machine(before, torch, transformers), "weights": weights, "cases": cases}
    save(result, arguments.out)
    print(json.dumps(result, indent=2))


def in_process(devices: int, folder: str) -> dict[str, Any]:
    """Return the figures of a case from a fresh process."""
    command = [sys.executable, __file__, "--case", str(devices), folder]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run(devices: int, folder: Path) -> dict[str, Any]:
    """Return a case's gigabytes: after the imports, and at the peak of the process or of its largest rank."""
    imported = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e9
    settings = PolicyConfig(devices=devices, threads=1)
    objective = Objective(SdarConfig(coefficient=0.0), UpdateConfig(learning_rate=1e-4), 1.0)
    plan = Plan(folder, None, settings, 1.0, rows(), [np.arange(ROWS)] * STEPS, objective)
    began = time.perf_counter()
    model, _ = load_trained(folder, None, "cpu")
    optimiser, budget = new_optimiser(model, objective.update), TokenBudget(LENGTH)
    if devices == 1:
        reports = optimise(model, optimiser, plan.rows, plan.batches, objective, budget)
    else:
        with tempfile.TemporaryDirectory() as logs:
            reports = learn_in_ranks(plan, model, optimiser, budget, Path(logs))
    peak = gigabytes(resource.RUSAGE_SELF if devices == 1 else resource.RUSAGE_CHILDREN)
    return {
        "devices": devices,
        "imported_gb": round(imported, 2),
        "peak_gb": round(peak, 2),
        "seconds": round(time.perf_counter() - began, 1),
        "losses": [report.loss for report in reports],
    }


def rows() -> list[LearnerRow]:
    """Return random rows, the same in every process."""
    rng = np.random.default_rng(0)
    zeros, positions = np.zeros(SCORED, np.float32), np.arange(LENGTH - SCORED, LENGTH, dtype=np.int32)
    return [
        LearnerRow(
            row=Row(rng.integers(0, VOCABULARY, LENGTH).astype(np.int32), positions),
            advantages=rng.normal(size=SCORED).astype(np.float32),
            logp_old=zeros - np.float32(np.log(VOCABULARY)),
            logp_teacher=zeros,
        )
        for _ in range(ROWS)
    ]


def gigabytes(who: int) -> float:
    """Return the largest resident size of this process or of its ended children so far."""
    return resource.getrusage(who).ru_maxrss * 1024 / 1e9


if __name__ == "__main__":
    main()
