"""How fast an environment is, and whether episodes leave something behind: memory, open files, threads."""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from sdar.envs.base import Environment, EnvironmentFactory
from sdar.envs.conformance import NO_ACTIONS
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.records import TaskSpec
from sdar.schemas.seeds import generator

SPEED_EPISODES = 1000
"""Most episodes that are played to find the speed."""
WARM_UP = 0.3
"""Share of the episodes after which caches are full and memory should not grow any more."""
SAMPLES = 20
"""How often memory is looked at after the warm-up."""
LEAK_KIB = 1024
"""Most resident memory, in KiB per 1000 episodes, by which an environment may grow after the warm-up."""
NOISE_KIB = 2048
"""Growth in all, in KiB, that the memory allocator alone can cause."""
_PROCESSES = Path("/proc")


@dataclass(frozen=True)
class Speed:
    """What was played and how long the calls of `reset` and `step` took."""

    episodes: int
    steps: int
    seconds: float

    @property
    def steps_per_second(self) -> float:
        """Actions per second."""
        return self.steps / max(self.seconds, 1e-9)


@dataclass(frozen=True)
class Usage:
    """What this process and those that it started hold at a moment."""

    resident_kib: float
    files: int
    threads: int


@dataclass(frozen=True)
class Growth:
    """What `episodes` episodes left behind after the warm-up."""

    episodes: int
    kib_per_1000: float
    kib: float
    files: int
    threads: int

    def faults(self) -> list[str]:
        """Return one sentence for each thing that grows; the bounds are `LEAK_KIB` and `NOISE_KIB`."""
        found = []
        if self.kib_per_1000 > LEAK_KIB and self.kib > NOISE_KIB:
            found.append(f"leaks: memory grows by {self.kib_per_1000:.0f} KiB per 1000 episodes")
        for name, more in (("open files", self.files), ("threads", self.threads)):
            if more > 0:
                found.append(f"leaks: {more} {name} more after {self.episodes} episodes")
        return found


def measure_speed(factory: EnvironmentFactory, config: EnvironmentConfig, enough: float = 1.0) -> Speed:
    """Play random admissible actions in episodes of at most `config.max_steps` and time the world alone.

    Args:
        factory: makes the environment.
        config: its configuration.
        enough: seconds that the world has taken when no further episode begins.
    """
    environment = factory(config)
    steps, seconds = 0, 0.0
    for number, task in enumerate(_tasks(environment, config, SPEED_EPISODES)):
        taken, took = _play(environment, task, number, config.max_steps)
        steps, seconds = steps + taken, seconds + took
        if seconds >= enough:
            break
    return Speed(number + 1, steps, seconds)


def measure_growth(factory: EnvironmentFactory, config: EnvironmentConfig, episodes: int) -> Growth:
    """Play each episode in an instance of its own, as rounds do, and see what stays.

    Args:
        factory: makes the environment.
        config: its configuration.
        episodes: at least 100; the first `WARM_UP` of them fill caches.

    Returns:
        The slope of resident memory over the episodes after the warm-up, and what came with them.
    """
    gc.collect()
    gc.freeze()  # what was there before is not searched for garbage at every look
    try:
        seen = _watch(factory, config, episodes)
    finally:
        gc.unfreeze()
    numbers, memory = [number for number, _ in seen], [each.resident_kib for _, each in seen]
    slope = float(np.polyfit(numbers, memory, 1)[0])
    start, end = seen[0][1], seen[-1][1]
    return Growth(
        episodes=numbers[-1] - numbers[0],
        kib_per_1000=1000 * slope,
        kib=end.resident_kib - start.resident_kib,
        files=end.files - start.files,
        threads=end.threads - start.threads,
    )


def _watch(factory: EnvironmentFactory, config: EnvironmentConfig, episodes: int) -> list[tuple[int, Usage]]:
    """Play and return what was held after some of the episodes, with their numbers."""
    first = int(episodes * WARM_UP)
    looks = {first + round(part * (episodes - first - 1) / (SAMPLES - 1)) for part in range(SAMPLES)}
    seen: list[tuple[int, Usage]] = []
    for number, task in enumerate(_tasks(factory(config), config, episodes)):
        _play(factory(config), task, number, config.max_steps)
        if number in looks:
            seen.append((number, usage()))
    return seen


def usage() -> Usage:
    """Return what this process and all that it started hold; garbage is collected first."""
    gc.collect()
    if not (_PROCESSES / "self" / "statm").exists():
        # Only the peak is known here: it rises with a leak too.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        unit = 1024 if sys.platform == "darwin" else 1
        return Usage(peak / unit, len(os.listdir("/dev/fd")), threading.active_count())
    held = [_held(number) for number in _family(os.getpid())]
    return Usage(
        sum(each.resident_kib for each in held),
        sum(each.files for each in held),
        sum(each.threads for each in held),
    )


def _held(process: int) -> Usage:
    folder = _PROCESSES / str(process)
    try:
        pages = int((folder / "statm").read_text().split()[1])
        return Usage(
            pages * resource.getpagesize() / 1024,
            len(os.listdir(folder / "fd")),
            len(os.listdir(folder / "task")),
        )
    except OSError:  # it has just ended
        return Usage(0.0, 0, 0)


def _family(root: int) -> Iterator[int]:
    """Yield a process and its descendants."""
    children: dict[int, list[int]] = {}
    for stat in _PROCESSES.glob("[0-9]*/stat"):
        try:
            # The name of the program stands in brackets and may hold anything.
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    waiting = [root]
    while waiting:
        process = waiting.pop()
        yield process
        waiting += children.get(process, [])


def _tasks(environment: Environment, config: EnvironmentConfig, count: int) -> Sequence[TaskSpec]:
    return list(islice(cycle(environment.tasks(config.train_split)), count))


def _play(environment: Environment, task: TaskSpec, number: int, max_steps: int) -> tuple[int, float]:
    """Play one episode; return the number of actions and the seconds that the world took."""
    walk = generator(number, "measure", "walk")
    began = time.perf_counter()
    environment.reset(task, task.seed)
    seconds = time.perf_counter() - began
    expert = environment.expert() if environment.actions() is None else None
    for step in range(max_steps):
        action = expert.next_action() if expert else _random_action(environment, walk)
        began = time.perf_counter()
        done = environment.step(action).done
        seconds += time.perf_counter() - began
        if done:
            return step + 1, seconds
    return max_steps, seconds


def _random_action(environment: Environment, walk: np.random.Generator) -> str:
    options = environment.actions() or NO_ACTIONS
    return options[int(walk.integers(len(options)))]
