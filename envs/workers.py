"""Environments that live in worker processes: for worlds that are slow, or that can crash or hang.

`in_workers(factory)` makes the factory of such environments out of that of an ordinary one; a registered kind
with `workers=True` goes through it. A bounded number of workers holds the environments of many more episodes:

- `step_many` and `reset_many` play a batch: the workers in parallel, the episodes of a worker one by one.
- An answer must come within `env.step_timeout` or `env.reset_timeout` seconds. A world that hangs or crashes
  costs its own episode, which ends with an `EnvironmentFailedError`. The other episodes of that worker are
  played again up to where they were, in a fresh one, which works because an environment is deterministic.
- Workers stay for the next episodes, whose environments are used again, and end with this process.
"""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdar.envs.base import (
    Demonstrator,
    Environment,
    EnvironmentFactory,
    StepResult,
    checked_observation,
    checked_result,
)
from sdar.envs.demonstration import Demonstration
from sdar.envs.worker_main import Answer, Made, Request
from sdar.envs.worker_pool import POOL, Ask, Conversation
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.errors import EnvironmentFailedError
from sdar.schemas.machine import cores
from sdar.schemas.records import TaskSpec

_STATEFUL = frozenset({"reset", "step", "expert", "next_action"})
"""Methods that change an episode: they are repeated when it has to be built again."""
_OF_AN_EPISODE = _STATEFUL | {"actions"}

_size = 0


def use_workers(count: int) -> None:
    """Set how many worker processes environments made from now on share; 0 is one per core."""
    global _size
    _size = count


def workers() -> int:
    """Return how many worker processes there may be."""
    return _size or cores()


@dataclass(frozen=True)
class Registered:
    """Makes an environment by its registered name; unlike a function made on the fly, it can be sent."""

    name: str

    def __call__(self, config: EnvironmentConfig) -> Environment:
        """Return the environment, in the process that calls."""
        from sdar.envs.registry import environment_kind  # the registry imports this module

        return environment_kind(self.name).load()(config)


def in_workers(factory: EnvironmentFactory) -> EnvironmentFactory:
    """Return a factory whose environments live in worker processes.

    Args:
        factory: makes the environment; it is pickled, so it must be importable: a function of a module,
            or `Registered(name)`.
    """

    def make(config: EnvironmentConfig) -> WorkerEnvironment:
        recipe = pickle.dumps((factory, config))
        if recipe not in made:
            first = WorkerEnvironment(recipe, config, Made(config.name, False))
            made[recipe] = first.call("make")
        kind = DemonstratingWorkerEnvironment if made[recipe].demonstrates else WorkerEnvironment
        return kind(recipe, config, made[recipe])

    made: dict[bytes, Made] = {}
    return make


def step_many(environments: Sequence[Environment], actions: Sequence[str]) -> list[StepResult | Exception]:
    """Take one action in each environment, in parallel where they live in worker processes.

    Args:
        environments: [B], each under way.
        actions: [B].

    Returns:
        [B] results in the order of the environments, and what was raised where a world has a fault. An answer
        that no episode can hold, such as a reward of NaN, is one.
    """
    return _many(environments, "step", [(action,) for action in actions])


def reset_many(environments: Sequence[Environment], tasks: Sequence[TaskSpec]) -> list[str | Exception]:
    """Start one episode in each environment, with its task's own seed; otherwise as `step_many`."""
    return _many(environments, "reset", [(task, task.seed) for task in tasks])


def _many(
    environments: Sequence[Environment], method: str, arguments: Sequence[tuple[Any, ...]]
) -> list[Any | Exception]:
    results: dict[int, Any | Exception] = {}
    remote: list[tuple[int, WorkerEnvironment]] = []
    for place, (environment, given) in enumerate(zip(environments, arguments, strict=True)):
        if isinstance(environment, WorkerEnvironment):
            remote.append((place, environment))
            continue
        try:
            results[place] = getattr(environment, method)(*given)
        except Exception as error:  # any fault of a world is data about its episode
            results[place] = error
    held = POOL.run([(world.lane, world.conversation(method, *arguments[i])) for i, world in remote])
    results |= {place: result for (place, _), result in zip(remote, held, strict=True)}
    return [_checked(method, results[place]) for place in range(len(environments))]


def _checked(method: str, result: Any) -> Any | Exception:
    if isinstance(result, Exception):
        return result
    try:
        return checked_observation(result) if method == "reset" else checked_result(result)
    except Exception as error:  # a strange object may raise whatever it likes when it is looked at
        return error


@dataclass(frozen=True)
class _Played:
    """A call that changed the episode, and its answer; None where any will do."""

    method: str
    arguments: tuple[Any, ...]
    answer: Answer | None


class WorkerEnvironment:
    """An environment whose game runs in a worker process; an instance plays one episode at a time."""

    def __init__(self, recipe: bytes, config: EnvironmentConfig, made: Made) -> None:
        self.name = made.name
        self.lane, self._handle = POOL.place(workers())
        self._recipe, self._config = recipe, config
        self._built: int | None = None  # the lane's generation in which the present state was built
        self._playing = False
        self._played: list[_Played] = []
        # The worker keeps an environment that nobody uses for the next episode.
        weakref.finalize(self, self.lane.drop, self._handle).atexit = False

    def splits(self) -> Sequence[str]:
        """Return the names of the task splits."""
        names: Sequence[str] = self.call("splits")
        return names

    def tasks(self, split: str) -> Sequence[TaskSpec]:
        """Return the tasks of a split."""
        tasks: Sequence[TaskSpec] = self.call("tasks", split)
        return tasks

    def reset(self, task: TaskSpec, seed: int) -> str:
        """Start an episode and return the first observation."""
        observation: str = self.call("reset", task, seed)
        return observation

    def step(self, action: str) -> StepResult:
        """Take one action."""
        result: StepResult = self.call("step", action)
        return result

    def actions(self) -> Sequence[str] | None:
        """Return the admissible actions of the present state, or None where they cannot be listed."""
        admissible: Sequence[str] | None = self.call("actions")
        return admissible

    def expert(self) -> Demonstrator | None:
        """Return a demonstrator for the episode that was just reset, if there is one."""
        return _RemoteDemonstrator(self) if self.call("expert") else None

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the environment in its worker.

        Raises:
            EnvironmentFailedError: the worker crashed or did not answer in time. What the method itself
                raises is raised here.
        """
        (result,) = POOL.run([(self.lane, self.conversation(method, *arguments))])
        if isinstance(result, Exception):
            raise result
        return result

    def conversation(self, method: str, *arguments: Any) -> Conversation:
        """Ask for a method call, and before that for everything that a fresh worker must repeat."""
        if method == "reset":
            self._playing, self._played = False, []
        elif method in _OF_AN_EPISODE and not self._playing:
            raise EnvironmentFailedError("no episode is under way; call reset(task, seed) before going on")
        answer = None
        while answer is None:
            if self._built != self.lane.generation:
                yield from self._rebuild()
            answer = yield self._ask(method, arguments)
        if self._built != self.lane.generation:
            self._playing, self._played = False, []
        elif method in _STATEFUL:
            self._playing = self._playing or answer.error is None
            self._played.append(_Played(method, arguments, answer))
        if answer.error is not None:
            raise answer.error
        return answer.value

    def _rebuild(self) -> Conversation:
        """Make the environment in the lane's present worker and repeat the episode so far."""
        playing, played = self._playing, self._played
        self._playing, self._played = False, []
        while not (yield from self._repeat(played)):
            pass
        self._playing, self._played = playing, played

    def _repeat(self, played: Sequence[_Played]) -> Conversation:
        """Return whether everything could be repeated in one worker."""
        generation = self.lane.generation
        for turn in (_Played("make", (), None), *played):
            answer = yield self._ask(turn.method, turn.arguments)
            if answer is None:
                return False
            if answer.error is not None and (turn.answer is None or self.lane.generation != generation):
                raise answer.error
            if turn.answer is not None and repr(answer) != repr(turn.answer):
                raise EnvironmentFailedError(
                    f"the episode could not be played again after its worker process was lost: {turn.method} "
                    f"was answered {_short(turn.answer)}, now {_short(answer)}. Environments must be "
                    f"deterministic given (task, seed): see sdar envs check {self.name}"
                )
        self._built = generation
        return True

    def _ask(self, method: str, arguments: tuple[Any, ...]) -> Ask:
        short = method in ("step", "actions", "next_action")
        seconds = self._config.step_timeout if short else self._config.reset_timeout
        return Ask(Request(self._handle, self._recipe, method, arguments), seconds, short)


class DemonstratingWorkerEnvironment(WorkerEnvironment):
    """One that also gives demonstrations for a starter policy."""

    def demonstration(self, index: int, seed: int, skill_share: float) -> Demonstration:
        """Return one demonstration, of a task that is in none of the splits."""
        shown: Demonstration = self.call("demonstration", index, seed, skill_share)
        return shown


@dataclass(frozen=True)
class _RemoteDemonstrator:
    """Chooses actions in the worker."""

    environment: WorkerEnvironment

    def next_action(self) -> str:
        """Return the action to take in the present state."""
        action: str = self.environment.call("next_action")
        return action


def _short(answer: Answer) -> str:
    return repr(answer.value if answer.error is None else answer.error)[:200]
