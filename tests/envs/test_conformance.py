"""The conformance suite passes the household and names the one rule that each broken world breaks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from sdar.envs.base import Demonstrator, StepResult
from sdar.envs.conformance import RULES, check_environment, check_rule
from sdar.envs.demonstration import DemonstratedTurn, Demonstration
from sdar.envs.registry import environment_factory
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.records import TaskSpec

CONFIG = EnvironmentConfig(name="counter", train_split="train", panel_split="unseen", max_steps=6)


@dataclass
class Counter:
    """A sound little world: count up to the task's number by saying "up"."""

    name: str = "counter"
    task: TaskSpec | None = None
    count: int = 0

    def splits(self) -> Sequence[str]:
        return ("train", "unseen")

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        numbers = (2, 3, 4) if split == "train" else (5, 6)
        return [self.make(split, number) for number in numbers]

    def make(self, split: str, number: int) -> TaskSpec:
        return TaskSpec(
            id=f"counter/{number}",
            environment="counter",
            split=split,
            type="count",
            goal=f"count to {number}",
            seed=number,
            payload={"number": number},
        )

    def reset(self, task: TaskSpec, seed: int) -> str:
        self.task, self.count = task, 0
        return "zero"

    def step(self, action: str) -> StepResult:
        if self.task is None or self.done():
            raise RuntimeError("call reset first")
        valid = action in ("up", "look")
        self.count += action == "up"
        return StepResult(str(self.count), float(self.done()), self.done(), self.done(), valid)

    def done(self) -> bool:
        return self.task is not None and self.count >= self.task.payload["number"]

    def actions(self) -> Sequence[str] | None:
        return ["up", "look"]

    def expert(self) -> Demonstrator | None:
        return Always("up")


@dataclass
class Always:
    action: str

    def next_action(self) -> str:
        return self.action


class DuplicateIds(Counter):
    def tasks(self, split: str) -> Sequence[TaskSpec]:
        return [task.model_copy(update={"id": "counter"}) for task in super().tasks(split)]


@dataclass
class UnstableTasks(Counter):
    listed: itertools.count[int] = field(default_factory=itertools.count)

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        return [self.make(split, (2 if split == "train" else 50) + next(self.listed) % 40)]


class SharedGoals(Counter):
    def tasks(self, split: str) -> Sequence[TaskSpec]:
        trained = super().tasks("train")[0].goal
        return [task.model_copy(update={"goal": trained}) for task in super().tasks(split)]


class Remembers(Counter):
    episodes = 0

    def reset(self, task: TaskSpec, seed: int) -> str:
        self.episodes += 1
        return f"{super().reset(task, seed)}, episode {self.episodes}"


class SharesState(Counter):
    instances = 0

    def __init__(self) -> None:
        super().__init__()
        SharesState.instances += 1
        self.number = SharesState.instances

    def reset(self, task: TaskSpec, seed: int) -> str:
        return f"{super().reset(task, seed)}, instance {self.number}"


class ResetsAsGymnasium(Counter):
    def reset(self, task: TaskSpec, seed: int) -> str:
        return super().reset(task, seed), {}  # type: ignore[return-value]


class Priceless(Counter):
    def step(self, action: str) -> StepResult:
        return replace(super().step(action), reward=float("inf"))


class RaisesOnNonsense(Counter):
    def step(self, action: str) -> StepResult:
        if self.task is not None and action not in ("up", "look"):
            raise KeyError(action)
        return super().step(action)


class AcceptsNonsense(Counter):
    def step(self, action: str) -> StepResult:
        result = super().step(action)
        return StepResult(result.observation, result.reward, result.done, result.success, valid=True)


class ListsNonsense(Counter):
    def actions(self) -> Sequence[str]:
        return ["down", "up"]


class Unsolvable(Counter):
    def expert(self) -> Demonstrator:
        return Always("look")


class StepsUnasked(Counter):
    def step(self, action: str) -> StepResult:
        if self.task is None:
            return StepResult("no task", 0.0, False, False, False)
        return super().step(action)


class StepsOn(Counter):
    def step(self, action: str) -> StepResult:
        if self.done():
            return StepResult("still done", 0.0, True, True, True)
        return super().step(action)


class AccidentalError(Counter):
    def step(self, action: str) -> StepResult:
        if self.task is None:
            raise AttributeError("'NoneType' object has no attribute 'payload'")
        return super().step(action)


class Demonstrating(Counter):
    """Sound: number 3 counts to 4, and its skill says how."""

    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        turns = tuple(DemonstratedTurn(str(i), "up", learn=True) for i in range(index + 1))
        return Demonstration("say up" if skill_share > 0.5 else "", f"count to {index + 1}", turns)


@dataclass
class ChangesItsMind(Demonstrating):
    shown: itertools.count[int] = field(default_factory=lambda: itertools.count(next(MINDS)))

    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        return super().demonstration(index + next(self.shown), seed, skill_share)


MINDS = itertools.count()


class TellsAll(Demonstrating):
    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        return super().demonstration(index, seed, 1.0)


class TeachesNothing(Demonstrating):
    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        shown = super().demonstration(index, seed, skill_share)
        return replace(shown, turns=tuple(replace(turn, learn=False) for turn in shown.turns))


BROKEN = [
    (DuplicateIds, "tasks"),
    (UnstableTasks, "tasks"),
    (SharedGoals, "splits"),
    (ResetsAsGymnasium, "answers"),
    (Priceless, "answers"),
    (Remembers, "determinism"),
    (SharesState, "determinism"),
    (AcceptsNonsense, "invalid actions"),
    (ListsNonsense, "admissible actions"),
    (Unsolvable, "expert"),
    (StepsUnasked, "order"),
    (StepsOn, "order"),
    (AccidentalError, "order"),
    (ChangesItsMind, "demonstrations"),
    (TellsAll, "demonstrations"),
    (TeachesNothing, "demonstrations"),
]


@pytest.mark.parametrize("house", [0, 7])
def test_household_keeps_every_rule(house: int) -> None:
    config = EnvironmentConfig(house=house)
    assert check_environment(environment_factory("household"), config, episodes=36) == []


def test_a_sound_world_has_no_faults() -> None:
    assert check_environment(lambda _: Counter(), CONFIG) == []
    assert check_environment(lambda _: Demonstrating(), CONFIG) == []


@pytest.mark.parametrize(("broken", "rule"), BROKEN)
def test_a_broken_world_is_told_the_rule_that_it_breaks(broken: type[Counter], rule: str) -> None:
    faults = check_environment(lambda _: broken(), CONFIG)
    assert faults
    assert {fault.partition(":")[0] for fault in faults} == {rule}


def test_an_action_that_raises_is_named_with_its_text() -> None:
    # Nonsense is also part of the determinism rule, which reports the same error.
    faults = check_environment(lambda _: RaisesOnNonsense(), CONFIG)
    assert any(fault.startswith("invalid actions: 'xyzzy' raised KeyError") for fault in faults)
    assert {fault.partition(":")[0] for fault in faults} == {"invalid actions", "determinism"}


def test_a_world_that_cannot_list_its_tasks_is_a_fault_not_a_crash() -> None:
    class Silent(Counter):
        def splits(self) -> Sequence[str]:
            raise OSError("no data folder")

    assert check_environment(lambda _: Silent(), CONFIG) == [
        "tasks: listing them raised OSError: no data folder"
    ]


def test_one_rule_is_checked_by_itself() -> None:
    def make(_: EnvironmentConfig) -> Counter:
        return Unsolvable()

    assert check_rule("order", make, CONFIG) == []
    assert all(fault.startswith("expert: task 'counter/") for fault in check_rule("expert", make, CONFIG))
    assert len(check_rule("expert", make, CONFIG, episodes=4)) == 4


@pytest.mark.parametrize("size", [1, 3, 4, 7, 11, 12, 13, 500])
def test_tasks_of_every_split_are_played(size: int) -> None:
    class ThreeSplits(Counter):
        def splits(self) -> Sequence[str]:
            return ("train", "dev", "unseen")

        def tasks(self, split: str) -> Sequence[TaskSpec]:
            first = 2 + 1000 * self.splits().index(split)
            made = [self.make(split, number) for number in range(first, first + size)]
            return [task.model_copy(update={"payload": {"number": 2}}) for task in made]

        def reset(self, task: TaskSpec, seed: int) -> str:
            PLAYED[task.id] = task.split
            return super().reset(task, seed)

    PLAYED.clear()
    assert check_rule("determinism", lambda _: ThreeSplits(), CONFIG) == []
    counts = [list(PLAYED.values()).count(split) for split in ("train", "dev", "unseen")]
    assert counts[0] == counts[1] == counts[2]
    assert min(size, 3) <= counts[0] <= 4


PLAYED: dict[str, str] = {}
"""Split by id of the tasks that were played."""


def test_every_rule_has_a_world_that_breaks_it() -> None:
    assert {rule for _, rule in BROKEN} == set(RULES)
