"""How fast and how large the ALFWorld engine is: `python benchmarks/alfworld_speed.py`.

In one process, over the same walks: steps per second of processor time without and with the parse cache,
whether the texts are the same, the cost of a start, and the memory of the process over many episodes. Prints
the figures and writes benchmarks/results/alfworld_speed.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _report import RESULTS, machine, save

from sdar.envs.alfworld.builtin import builtin_games
from sdar.envs.alfworld.engine import Engine
from sdar.envs.alfworld.game import Game, game_data
from sdar.envs.alfworld.parse_cache import without_cache
from sdar.schemas.seeds import generator


def main() -> None:
    """Run the benchmark at the size that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--games", type=int, default=12, help="Games of the comparison.")
    parser.add_argument("--steps", type=int, default=20, help="Steps per game.")
    parser.add_argument("--episodes", type=int, default=300, help="Episodes of the memory measurement.")
    parser.add_argument("--out", type=Path, default=RESULTS / "alfworld_speed.json")
    size = parser.parse_args()
    load = os.getloadavg()[0]
    games = builtin_games("unseen")[: size.games]
    before = _megabytes()
    engine = Engine()
    start, walks = _compare(engine, games, size.steps)
    memory = _memory(engine, size.episodes)
    result = {
        "start_seconds": start,
        **walks,
        "megabytes": {"before_engine": before, **memory},
        "machine": machine(load, np),
    }
    print(json.dumps(result, indent=2))
    save(result, size.out)


def _compare(engine: Engine, games: Sequence[Game], steps: int) -> tuple[dict[str, float], dict[str, Any]]:
    """Return the cost of starts, and both speeds; all times are processor time of this process."""
    starts, again = [], []
    plain, cached, same = 0.0, 0.0, True
    for game in games:
        data = game_data(game)
        for times in (starts, again):
            begun = time.process_time()
            engine.start(data)
            times.append(time.process_time() - begun)
        with without_cache():
            first, seconds = _walk(engine, data, steps)
        plain += seconds
        _walk(engine, data, steps)  # fills the cache, as the first episodes of a run do
        second, seconds = _walk(engine, data, steps)
        cached += seconds
        same = same and first == second
    total = len(games) * steps
    speeds = {"plain": total / plain, "cached": total / cached, "ratio": plain / cached}
    return (
        {"first": float(np.mean(starts)), "again": float(np.mean(again))},
        {"steps_per_second": speeds, "same_text": same},
    )


def _walk(engine: Engine, data: dict[str, Any], steps: int) -> tuple[list[str], float]:
    engine.start(data)
    rng, texts = generator(0, "alfworld_speed"), []
    begun = time.process_time()
    for _ in range(steps):
        options = engine.commands
        texts.append(engine.step(options[int(rng.integers(len(options)))]))
    return texts, time.process_time() - begun


def _memory(engine: Engine, episodes: int) -> dict[str, float]:
    """Return resident megabytes after the first sixth of some episodes and after all of them."""
    games, sizes = builtin_games("train"), []
    for episode in range(episodes):
        engine.start(game_data(games[episode // 2 % len(games)]))
        for command in ("look", "inventory"):
            engine.step(command)
        sizes.append(_megabytes())
    early = episodes // 6
    return {
        f"after_{early}_episodes": sizes[early - 1],
        f"after_{episodes}_episodes": sizes[-1],
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _megabytes() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
