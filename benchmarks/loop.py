"""How fast episodes are played, sampled and scored: `python benchmarks/loop.py`.

Three figures, each a rate or a ratio measured in one run on one machine:

- actions a second of the household, played by its expert;
- sampling with the cache kept across turns, against reading the whole conversation again at every turn, on
  the same episodes with the same random numbers;
- scoring in small padded passes, as on a CPU, against passes of four times the size.

Prints them and writes benchmarks/results/loop.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from _report import RESULTS, machine, save
from sampling import RereadingSampler, play

from sdar.envs.registry import environment_factory
from sdar.policy.memory import TOKEN_BUDGETS
from sdar.policy.model import Policy, load_policy
from sdar.policy.sampler import TransformersSampler
from sdar.policy.scoring import Row, forward_rows
from sdar.schemas.config import RunConfig

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Measure with the number of episodes and threads that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=128)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=RESULTS / "loop.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result = measure(arguments.episodes)
    save(result, arguments.out)
    print(json.dumps(result, indent=2))


def measure(count: int) -> dict[str, Any]:
    """Return all figures together with what they depend on."""
    load_before = os.getloadavg()[0]
    config = RunConfig()
    policy = load_policy(ROOT / "policy" / "starter", "cpu")
    kept, kept_seconds = _best(lambda: play(config, TransformersSampler(policy, 16), count))
    again, again_seconds = _best(lambda: play(config, RereadingSampler(policy, 16), count))
    if [e.token_ids.tolist() for e in kept] != [e.token_ids.tolist() for e in again]:
        raise SystemExit("the two samplers wrote different episodes: the comparison would mean nothing")
    rows = [Row(e.token_ids, np.flatnonzero(e.action_mask)) for e in kept]
    small, large = (score(policy, rows, scale * TOKEN_BUDGETS["cpu"]) for scale in (1, 4))
    tokens = sum(len(e.token_ids) for e in kept)
    return {
        "machine": {
            **machine(load_before, torch, transformers),
            "threads": torch.get_num_threads(),
        },
        "household_actions_per_second": round(expert_actions_per_second(config)),
        "sampling": {
            "episodes": count,
            "tokens": tokens,
            "tokens_per_second": round(tokens / kept_seconds),
            "speedup_over_reading_again": round(again_seconds / kept_seconds, 2),
        },
        "scoring": {
            "tokens_per_second": round(tokens / small),
            "speedup_over_large_passes": round(large / small, 2),
        },
    }


def expert_actions_per_second(config: RunConfig, seconds: float = 3.0) -> float:
    """Return how many actions a second the household takes; choosing them is not counted."""
    environment = environment_factory("household")(config.env)
    tasks = environment.tasks("train")
    taken, spent, index = 0, 0.0, 0
    while spent < seconds:
        task = tasks[index % len(tasks)]
        began = time.perf_counter()
        environment.reset(task, index)
        spent += time.perf_counter() - began
        expert = environment.expert()
        if expert is None:
            raise SystemExit("the household has no expert")
        for _ in range(config.env.max_steps):
            action = expert.next_action()
            began = time.perf_counter()
            result = environment.step(action)
            spent += time.perf_counter() - began
            taken += 1
            if result.done:
                break
        index += 1
    return taken / spent


def score(policy: Policy, rows: Sequence[Row], budget: int) -> float:
    """Return the seconds that one pass of the model over the rows takes."""

    def run() -> None:
        with torch.inference_mode():
            for _ in forward_rows(policy.model, rows, budget):
                pass

    return _best(run)[1]


def _best(work: Callable[[], Any], times: int = 3) -> tuple[Any, float]:
    """Run it a few times; return its result and the seconds of the fastest."""
    fastest = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        result = work()
        fastest = min(fastest, time.perf_counter() - began)
    return result, fastest


if __name__ == "__main__":
    main()
