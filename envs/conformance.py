"""Rules that every environment must keep, checked by playing it; for built-in worlds and those of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sdar.envs.base import (
    Environment,
    EnvironmentFactory,
    StepResult,
    checked_observation,
    checked_result,
)
from sdar.envs.demonstration import Demonstrates
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import EnvironmentFailedError
from sdar.schemas.records import TaskSpec
from sdar.schemas.seeds import generator

NO_ACTIONS = ("", "   ", "xyzzy", "\x00", "\n\n", "<|act|>", '{"tool": 1', "où est-ce?", "go " * 2000)
"""Texts that are an action in no environment."""
EXPERT_STEPS = 200
"""Most actions that an expert may need for a task."""


@dataclass(frozen=True)
class _Trial:
    """What the rules play: the world, some of its tasks, and the bound on an expert's actions."""

    factory: EnvironmentFactory
    config: EnvironmentConfig
    samples: Sequence[TaskSpec]
    expert_steps: int

    def new(self) -> Environment:
        return self.factory(self.config)


def check_environment(
    factory: EnvironmentFactory,
    config: EnvironmentConfig,
    episodes: int = 12,
    expert_steps: int = EXPERT_STEPS,
) -> list[str]:
    """Return one sentence for each fault found, each beginning with the name of the rule; empty is good.

    The goals of `config.panel_split` must not occur in `config.train_split`; other splits may share goals.

    Args:
        factory: makes a fresh environment from the configuration.
        config: the environment's configuration.
        episodes: tasks to play per rule, drawn evenly over each split.
        expert_steps: most actions that the expert may need for a task.
    """
    trial = _trial(factory, config, episodes, expert_steps)
    if isinstance(trial, str):
        return [trial]
    return [fault for rule, check in RULES.items() for fault in _faults(rule, check, trial)]


def check_rule(
    rule: str, factory: EnvironmentFactory, config: EnvironmentConfig, episodes: int = 12
) -> list[str]:
    """Return one sentence for each fault against one of `RULES`; see `check_environment`."""
    trial = _trial(factory, config, episodes)
    return [trial] if isinstance(trial, str) else _faults(rule, RULES[rule], trial)


def _trial(
    factory: EnvironmentFactory, config: EnvironmentConfig, episodes: int, expert_steps: int = EXPERT_STEPS
) -> _Trial | str:
    """Return what the rules play, or the fault that there is nothing to play."""
    try:
        return _Trial(factory, config, _samples(factory(config), episodes), expert_steps)
    except Exception as error:  # whatever a foreign world raises is a fault to report, not a crash
        return f"tasks: listing them raised {_text(error)}"


def _samples(environment: Environment, episodes: int) -> list[TaskSpec]:
    chosen: list[TaskSpec] = []
    splits = list(environment.splits())
    quota = max(1, episodes // max(1, len(splits)))
    for split in splits:
        tasks = list(environment.tasks(split))
        # An odd stride does not fall into step with families that take turns.
        chosen += tasks[:: max(1, len(tasks) // quota) | 1][:quota]
    return chosen


def _faults(rule: str, check: Callable[[_Trial], Iterator[str]], trial: _Trial) -> list[str]:
    found = []
    try:
        for fault in check(trial):
            found.append(f"{rule}: {fault}")
    except Exception as error:
        found.append(f"{rule}: raised {_text(error)}")
    return found


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _tasks(trial: _Trial) -> Iterator[str]:
    first, again = trial.new(), trial.new()
    seen: set[str] = set()
    for split in first.splits():
        tasks = list(first.tasks(split))
        if not tasks:
            yield f"split {split!r} is empty"
        if tasks != list(first.tasks(split)) or tasks != list(again.tasks(split)):
            yield f"split {split!r} is not the same each time it is listed"
        for task in tasks:
            if task.id in seen:
                yield f"the id {task.id!r} occurs twice"
            if (task.environment, task.split) != (first.name, split):
                yield f"task {task.id!r} of split {split!r} says {task.environment!r}, {task.split!r}"
            seen.add(task.id)


def _splits(trial: _Trial) -> Iterator[str]:
    environment, train, panel = trial.new(), trial.config.train_split, trial.config.panel_split
    trained = {task.goal for task in environment.tasks(train)}
    shared = sorted({task.goal for task in environment.tasks(panel)} & trained)
    if shared:
        yield f"{len(shared)} goal(s) of split {panel!r} are also in {train!r}, such as {shared[0]!r}"


def _answers(trial: _Trial) -> Iterator[str]:
    """A roll-out takes an answer that no episode can hold for an error of the world."""
    environment = trial.new()
    for task in trial.samples:
        try:
            checked_observation(environment.reset(task, task.seed))
            for action in _some_actions(trial.new(), task, trial):
                if checked_result(environment.step(action)).done:
                    break
        except EnvironmentFailedError as error:
            yield f"task {task.id!r}: {error}"


def _determinism(trial: _Trial) -> Iterator[str]:
    kept = trial.new()
    for task in trial.samples:
        actions = [*NO_ACTIONS[:3], *_some_actions(trial.new(), task, trial)]
        first = _replay(kept, task, actions)
        if first != _replay(kept, task, actions):
            yield f"task {task.id!r}: a second episode of the same instance went differently"
        elif first != _replay(trial.new(), task, actions):
            yield f"task {task.id!r}: a fresh instance answered the same actions differently"


def _replay(environment: Environment, task: TaskSpec, actions: Sequence[str]) -> list[str | StepResult]:
    answers: list[str | StepResult] = [environment.reset(task, task.seed)]
    for action in actions:
        result = environment.step(action)
        answers.append(result)
        if result.done:
            break
    return answers


def _some_actions(environment: Environment, task: TaskSpec, trial: _Trial) -> list[str]:
    """Return the expert's actions, or a walk over admissible ones where there is no expert."""
    environment.reset(task, task.seed)
    expert = environment.expert()
    taken: list[str] = []
    walk = generator(task.seed, "conformance", "actions")
    for _ in range(trial.expert_steps if expert else trial.config.max_steps):
        options = environment.actions() or NO_ACTIONS
        taken.append(expert.next_action() if expert else options[int(walk.integers(len(options)))])
        if environment.step(taken[-1]).done:
            break
    return taken


def _invalid(trial: _Trial) -> Iterator[str]:
    environment = trial.new()
    for task in trial.samples:
        for text in NO_ACTIONS:
            environment.reset(task, task.seed)
            try:
                result = environment.step(text)
            except Exception as error:
                yield f"{text[:20]!r} raised {_text(error)}; it must be answered"
                continue
            if result.valid or result.success or not isinstance(result.observation, str):
                yield f"{text[:20]!r} is no action, but was answered with {result}"


def _admissible(trial: _Trial) -> Iterator[str]:
    environment = trial.new()
    for task in trial.samples:
        environment.reset(task, task.seed)
        walk = generator(task.seed, "conformance", "admissible")
        for _ in range(trial.config.max_steps):
            options = environment.actions()
            if options is None:
                break
            if not options:
                yield f"task {task.id!r}: no admissible action, though the episode is not done"
                break
            action = options[int(walk.integers(len(options)))]
            result = environment.step(action)
            if not result.valid:
                yield f"task {task.id!r}: {action!r} is listed, but was answered {result.observation!r}"
            if result.done:
                break


def _expert(trial: _Trial) -> Iterator[str]:
    environment = trial.new()
    for task in trial.samples:
        environment.reset(task, task.seed)
        expert = environment.expert()
        if expert is None:
            return
        result = None
        for _ in range(trial.expert_steps):
            result = environment.step(expert.next_action())
            if result.done:
                break
        if result is None or not result.success:
            yield f"task {task.id!r} is not solved by its expert in {trial.expert_steps} actions"


def _order(trial: _Trial) -> Iterator[str]:
    """A step at the wrong time must raise an error that names the remedy: reset."""
    yield from _must_refuse(trial.new(), "before the first reset")
    for task in trial.samples[:1]:
        environment = trial.new()
        answers = _replay(environment, task, _some_actions(trial.new(), task, trial))
        if isinstance(answers[-1], StepResult) and answers[-1].done:
            yield from _must_refuse(environment, "after the episode was done")


def _must_refuse(environment: Environment, when: str) -> Iterator[str]:
    try:
        answer = environment.step("look")
    except Exception as error:
        if "reset" not in str(error):
            yield f"a step {when} raised {_text(error)}, which does not say that reset is needed"
    else:
        yield f"a step {when} was answered {answer.observation!r}; it must be an error"


def _demonstrations(trial: _Trial) -> Iterator[str]:
    first, again = trial.new(), trial.new()
    if not isinstance(first, Demonstrates) or not isinstance(again, Demonstrates):
        return
    for index in range(max(len(trial.samples), 1)):
        shown = first.demonstration(index, 1, 0.0)
        if shown != again.demonstration(index, 1, 0.0):
            yield f"number {index} is not the same each time it is shown"
        if shown.block:
            yield f"number {index} has skills in its prompt with a share of 0: {shown.block[:60]!r}"
        if not any(turn.learn for turn in shown.turns):
            yield f"number {index} has no action to learn from"


RULES: Mapping[str, Callable[[_Trial], Iterator[str]]] = {
    "tasks": _tasks,
    "splits": _splits,
    "answers": _answers,
    "determinism": _determinism,
    "invalid actions": _invalid,
    "admissible actions": _admissible,
    "expert": _expert,
    "order": _order,
    "demonstrations": _demonstrations,
}
"""The rules by name, as faults are reported."""
