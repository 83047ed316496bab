"""Speed and leaks are measured on worlds whose speed and leaks are known."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sdar.envs.base import Demonstrator, Environment, StepResult
from sdar.envs.measure import Growth, _held, measure_growth, measure_speed, usage
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.records import TaskSpec

CONFIG = EnvironmentConfig(name="clock", max_steps=4)


@dataclass
class Clock:
    """Every action takes a while, and the third ends the episode."""

    seconds: float = 0.0
    name: str = "clock"
    count: int = 0
    kept: list[bytes] = field(default_factory=list)

    def splits(self) -> Sequence[str]:
        return ("train",)

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        return [
            TaskSpec(id=f"{i}", environment="clock", split=split, type="t", goal="g", seed=i) for i in (1, 2)
        ]

    def reset(self, task: TaskSpec, seed: int) -> str:
        self.count = 0
        return "tick"

    def step(self, action: str) -> StepResult:
        time.sleep(self.seconds)
        self.count += 1
        return StepResult("tick", 0.0, self.count == 3, False, True)

    def actions(self) -> Sequence[str] | None:
        return ["wait"]

    def expert(self) -> Demonstrator | None:
        return None


def test_the_speed_counts_the_time_of_the_world_alone() -> None:
    speed = measure_speed(lambda _: Clock(0.01), CONFIG, enough=0.1)
    # Each episode has 3 actions of at least 10 ms: the fourth one passes 0.1 s at the latest.
    assert speed.steps == 3 * speed.episodes
    assert 1 <= speed.episodes <= 4
    assert speed.seconds >= 0.1
    assert speed.steps_per_second <= 100


KEPT: list[object] = []


class Hoarder(Clock):
    """Keeps 64 KiB of every episode: 64 000 KiB per 1000 of them.

    Pages of its own, since what `malloc` gives may have been resident before.
    """

    def reset(self, task: TaskSpec, seed: int) -> str:
        pages = mmap.mmap(-1, 64 * 1024)
        pages.write(b"x" * 64 * 1024)
        KEPT.append(pages)
        return super().reset(task, seed)


class Opener(Clock):
    """Leaves a file open after each episode."""

    def reset(self, task: TaskSpec, seed: int) -> str:
        KEPT.append(open(os.devnull, "rb"))  # noqa: SIM115
        return super().reset(task, seed)


class Starter(Clock):
    """Leaves a thread running after each episode."""

    def reset(self, task: TaskSpec, seed: int) -> str:
        thread = threading.Thread(target=EVENT.wait, daemon=True)
        thread.start()
        KEPT.append(thread)
        return super().reset(task, seed)


EVENT = threading.Event()


def growth(world: type[Clock]) -> Growth:
    def make(_: EnvironmentConfig) -> Environment:
        return world()

    return measure_growth(make, CONFIG, 100)


def test_a_clean_world_leaves_nothing() -> None:
    assert growth(Clock).faults() == []


def test_memory_that_stays_is_measured() -> None:
    found = growth(Hoarder)
    KEPT.clear()
    # 30 episodes of warm-up, then samples from number 30 to 99: 69 episodes of 64 KiB each.
    assert found.episodes == 69
    assert found.kib == pytest.approx(69 * 64, rel=0.25)
    assert found.kib_per_1000 == pytest.approx(64_000, rel=0.25)
    assert [fault.partition(" grows")[0] for fault in found.faults()] == ["leaks: memory"]


def test_open_files_and_threads_are_counted() -> None:
    files = growth(Opener)
    for file in KEPT:
        file.close()  # type: ignore[attr-defined]
    KEPT.clear()
    assert files.files == 69
    assert "leaks: 69 open files more after 69 episodes" in files.faults()
    threads = growth(Starter)
    EVENT.set()
    for thread in KEPT:
        thread.join()  # type: ignore[attr-defined]
    KEPT.clear()
    assert threads.threads == 69
    assert "leaks: 69 threads more after 69 episodes" in threads.faults()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells what others hold")
def test_processes_that_were_started_are_counted_in() -> None:
    code = "data = bytes(range(256)) * 4 * 1024 * 30; print('ready', flush=True); input()"
    words = [sys.executable, "-c", code]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        mine, all_of_us = _held(os.getpid()), usage()
        child.communicate("\n")
    assert all_of_us.resident_kib - mine.resident_kib > 30 * 1024
    assert all_of_us.files >= mine.files + 3  # standard input, output and error of the other
    assert all_of_us.threads >= mine.threads + 1


def test_slow_growth_and_noise_are_no_leak() -> None:
    assert Growth(7000, 1023.0, 7161.0, 0, 0).faults() == []
    assert Growth(70, 20_000.0, 1400.0, -1, 0).faults() == []
    assert len(Growth(7000, 1025.0, 7175.0, 1, 2).faults()) == 3
