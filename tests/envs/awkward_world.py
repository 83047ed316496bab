"""A world for the tests of worker processes: it counts, and on some words it hangs, crashes or raises."""

from __future__ import annotations

import ctypes
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sdar.envs.base import Demonstrator, StepResult
from sdar.envs.demonstration import DemonstratedTurn, Demonstration
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.records import TaskSpec


@dataclass
class Awkward:
    """Say "up" as often as the task's number says; the answer is the count and a number that was drawn."""

    name: str = "awkward"
    task: TaskSpec | None = None
    count: int = 0
    dice: random.Random = field(default_factory=random.Random)

    def splits(self) -> Sequence[str]:
        return ("train", "unseen")

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        if split not in self.splits():
            raise ConfigError(f"no split {split!r}; allowed are: train, unseen")
        numbers = (2, 3, 4) if split == "train" else (5, 6)
        return [
            TaskSpec(
                id=f"awkward/{number}",
                environment="awkward",
                split=split,
                type="count",
                goal=f"count to {number}",
                seed=number,
                payload={"number": number},
            )
            for number in numbers
        ]

    def reset(self, task: TaskSpec, seed: int) -> str:
        if task.payload.get("fault") == "reset":
            raise KeyError("no such game file")
        self.task, self.count, self.dice = task, 0, random.Random(seed)
        return "zero"

    def step(self, action: str) -> StepResult:
        if self.task is None or self.done():
            raise RuntimeError("call reset first")
        self.count += action == "up"
        self.misbehave(action)
        valid = action in ("up", "look")
        shown = str(os.getpid()) if action == "pid" else f"{self.count} {self.dice.randrange(1000)}"
        return StepResult(shown, float(self.done()), self.done(), self.done(), valid)

    def misbehave(self, action: str) -> None:
        if action.startswith("meet "):
            meet(Path(action.removeprefix("meet ")))
        elif action == "hang":
            time.sleep(600)
        elif action == "segfault":
            ctypes.string_at(0)
        elif action == "exit":
            os._exit(3)
        elif action == "raise":
            raise LookupError("nothing here")
        elif action == "lambda":
            raise Unsendable()
        elif action == "noise":
            print("noise on the standard output")
            os.write(2, b"x" * (2 << 20))

    def done(self) -> bool:
        return self.task is not None and self.count >= self.task.payload["number"]

    def actions(self) -> Sequence[str] | None:
        return ["up", "look"]

    def expert(self) -> Demonstrator | None:
        return Ups()

    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        return Demonstration("", f"count to {index}", (DemonstratedTurn("zero", "up", True),))


def meet(folder: Path) -> None:
    """Wait until a second process is here, too."""
    (folder / str(os.getpid())).touch()
    end = time.monotonic() + 30
    while len(list(folder.iterdir())) < 2:
        if time.monotonic() > end:
            raise TimeoutError("nobody came")
        time.sleep(0.01)


class Unsendable(Exception):
    """An exception that cannot be pickled."""

    def __init__(self) -> None:
        super().__init__("cannot be sent")
        self.held = lambda: None


@dataclass
class Ups:
    said: int = 0

    def next_action(self) -> str:
        self.said += 1
        return "look" if self.said == 1 else "up"


class Forgetful(Awkward):
    """Answers with its process id, so that no episode can be played again elsewhere."""

    def reset(self, task: TaskSpec, seed: int) -> str:
        super().reset(task, seed)
        return f"process {os.getpid()}"


def make(config: EnvironmentConfig) -> Awkward:
    return Awkward()


def forgetful(config: EnvironmentConfig) -> Awkward:
    return Forgetful()


def cannot_be_made(config: EnvironmentConfig) -> Awkward:
    raise ConfigError(f"no data in {config.data!r}")
