"""How fast the engines play episodes: `python benchmarks/engines.py`, in an environment with vllm.

All figures are of one run on one machine, engine after engine, on the same tasks with the same seeds:

- seconds to start the engine, and to put another policy of the same shape into it;
- episodes played: tokens a second of what was read and said, and of what was said;
- scoring the same rows with each;
- the largest difference between the log-prob that an engine tells and the learner's.

The policy has heads of 32, which vLLM runs on a CPU, and a short warm start; `--policy FOLDER` takes another.
Prints the figures and writes benchmarks/results/engines.json.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from _report import RESULTS, machine, save

from sdar.envs.registry import environment_factory
from sdar.flows.environment import prepare_environment
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
WARM_START = {"hidden": 128, "heads": 4, "steps": 150, "batch": 16}


def main() -> None:
    """Measure with the policy, the number of episodes and the threads that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", type=Path, default=None)
    parser.add_argument("--episodes", type=int, nargs="+", default=[16, 128])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=RESULTS / "engines.json")
    arguments = parser.parse_args()
    if find_spec("vllm") is None:
        raise SystemExit("vllm is not installed: there is nothing to compare; see docs/engines.md")
    prepare_environment()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.policy or Path(scratch)
        if arguments.policy is None:
            make_starter(folder, RunConfig.model_validate({"warmstart": WARM_START}), lambda progress: None)
        result = measure(folder, arguments.episodes, arguments.repeats)
    save(result, arguments.out)
    print(json.dumps(result, indent=2))


def measure(folder: Path, counts: Sequence[int], repeats: int) -> dict[str, Any]:
    """Return all figures together with what they depend on."""
    load_before = os.getloadavg()[0]
    policy, config = load_policy(folder), RunConfig.model_validate({"policy": {"path": str(folder)}})
    memory, context = config.policy.engine_memory, config.policy.max_tokens
    starting = _seconds(lambda: engine_for(policy, context, memory))
    others = [load_policy(folder) for _ in range(repeats)]
    reloading = min(_seconds(lambda p=other: engine_for(p, context, memory)) for other in others)
    rounds = {f"{count}_episodes": _compare(config, policy, count, repeats) for count in counts}
    close_engine()
    name = packages_distributions()["vllm"][0]
    told = machine(load_before, torch, transformers)
    return {
        "machine": {
            **told,
            "versions": {**told["versions"], name: version(name)},
            "threads": torch.get_num_threads(),
        },
        "policy": {
            "architecture": type(policy.model).__name__,
            "parameters": policy.parameters,
            "head_size": int(policy.model.config.head_dim),
        },
        "vllm_seconds": {"first_start": round(starting, 2), "reload_weights": round(reloading, 3)},
        **rounds,
    }


def _compare(config: RunConfig, policy: Policy, count: int, repeats: int) -> dict[str, Any]:
    found: dict[str, Any] = {engine: {} for engine in ENGINES}
    for engine in ENGINES:
        rollout = config.rollout.model_copy(update={"engine": engine})
        settings = config.model_copy(update={"rollout": rollout})
        episodes, seconds = _best(lambda c=settings: _play(c, policy, count), repeats)
        found[engine] = _told(policy, episodes, seconds)
    rows = _rows(episodes)
    with_transformers = _best(lambda: score_rows(policy, rows, 1.0, keep_hidden=False), repeats)[1]
    memory, context = config.policy.engine_memory, config.policy.max_tokens
    with_vllm = _best(lambda: score_with_vllm(policy, rows, context, memory), repeats)[1]
    found["vllm_over_transformers"] = {
        "played_tokens_per_second": _ratio(found, "tokens_per_second"),
        "said_tokens_per_second": _ratio(found, "said_tokens_per_second"),
        "scoring": round(with_transformers / with_vllm, 2),
    }
    return found


def _play(config: RunConfig, policy: Policy, count: int) -> list[Episode]:
    tasks = environment_factory(config.env.name)(config.env).tasks(config.env.train_split)
    return play(config, policy, assign(tasks[: count // 2], 2, 7), config.rollout.temperature)


def _told(policy: Policy, episodes: Sequence[Episode], seconds: float) -> dict[str, float]:
    scored = score_rows(policy, _rows(episodes), 1.0, keep_hidden=False)
    differences = [
        np.abs(e.sampler_logprobs[e.action_mask] - s.logprobs).max()
        for e, s in zip(episodes, scored, strict=True)
    ]
    tokens, said = (sum(int(part(e)) for e in episodes) for part in (_length, _said))
    return {
        "seconds": round(seconds, 2),
        "tokens_per_second": round(tokens / seconds),
        "said_tokens_per_second": round(said / seconds),
        "turns": sum(len(e.turns) for e in episodes),
        "largest_logprob_difference": float(max(differences)),
    }


def _length(episode: Episode) -> int:
    return len(episode.token_ids)


def _said(episode: Episode) -> int:
    return int(episode.action_mask.sum())


def _rows(episodes: Sequence[Episode]) -> list[Row]:
    return [Row(e.token_ids, np.flatnonzero(e.action_mask).astype(np.int32)) for e in episodes]


def _ratio(found: dict[str, Any], name: str) -> float:
    return round(found["vllm"][name] / found["transformers"][name], 2)


def _seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _best(work: Callable[[], Any], times: int) -> tuple[Any, float]:
    """Run it a few times; return its result and the seconds of the fastest."""
    fastest = float("inf")
    for _ in range(times):
        began = time.perf_counter()
        result = work()
        fastest = min(fastest, time.perf_counter() - began)
    return result, fastest


if __name__ == "__main__":
    main()
