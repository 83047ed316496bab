"""Plays episodes: a batch of environments with a batch of conversations.

The transformers engine samples in lock-step; with a streaming engine each episode goes on by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sdar.envs.base import Environment, StepResult
from sdar.envs.registry import EnvironmentFactory
from sdar.envs.workers import reset_many, step_many
from sdar.policy.answers import Answer
from sdar.policy.dialogue import Dialogue
from sdar.policy.rows import window_start
from sdar.policy.sampler import SampledAction, Sampler, StreamingSampler
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.counting import count
from sdar.schemas.errors import ConfigError
from sdar.schemas.keys import content_hash
from sdar.schemas.records import Episode, StopReason, TaskSpec, Turn
from sdar.schemas.seeds import derive_seed, generator

Answers = Callable[[list[int]], list[tuple[int, SampledAction]]]
"""Asks for the next actions of these episodes; returns those that are ready, of them or asked before."""


@dataclass(frozen=True)
class Assignment:
    """One episode to play: `sample` counts the episodes of a group, `seed` drives the policy's choices.

    `block` is skill text for the prompt, empty for the student.
    """

    task: TaskSpec
    group: int
    sample: int
    seed: int
    block: str = ""


@dataclass(frozen=True)
class RolloutLimits:
    """Temperature and limits of a batch of episodes.

    `history` is how many turns before the present one the policy reads; None is all of them.
    """

    temperature: float
    max_steps: int
    max_tokens: int
    max_action_tokens: int
    history: int | None = None


@dataclass
class _Playing:
    """An episode under way: `new` are the ids that were not sampled from yet, `head` those of the task."""

    assignment: Assignment
    environment: Environment
    observation: str
    ids: list[int]
    new: list[int]
    head: int
    prompt_length: int
    action_mask: list[bool]
    logprobs: list[float]
    turns: list[Turn] = field(default_factory=list)
    seam_ends: list[int] = field(default_factory=list)
    stop: StopReason | None = None
    success: bool = False
    error: str | None = None

    def window(self, history: int) -> int:
        """Return where the present turn's window begins."""
        return window_start(self.seam_ends, len(self.turns), history, self.head)


def roll_out(
    factory: EnvironmentFactory,
    config: EnvironmentConfig,
    dialogue: Dialogue,
    sampler: Sampler | StreamingSampler,
    assignments: Sequence[Assignment],
    limits: RolloutLimits,
) -> list[Episode]:
    """Play one episode per assignment and return them in the same order.

    An error inside an environment ends its episode with a stop reason and the message; the others go on.

    Raises:
        ConfigError: a prompt and one action do not fit into the context window; nothing was sampled.
    """
    worlds = [factory(config) for _ in assignments]
    first = reset_many(worlds, [assignment.task for assignment in assignments])
    playing = [
        _begin(world, observation, dialogue, assignment)
        for world, observation, assignment in zip(worlds, first, assignments, strict=True)
    ]
    _check_room(playing, limits)
    answers = _answers(playing, sampler, limits)
    asked = [i for i, episode in enumerate(playing) if episode.stop is None]
    waiting = len(asked)
    while waiting:
        ready = answers(asked)
        acting, actions = [playing[i] for i, _ in ready], [action for _, action in ready]
        said = [dialogue.read(action.ids) for action in actions]
        results = step_many([e.environment for e in acting], [answer.action for answer in said])
        for episode, action, answer, result in zip(acting, actions, said, results, strict=True):
            _advance(episode, action, answer, result, dialogue, limits)
        asked = [i for i, _ in ready if playing[i].stop is None]
        waiting += len(asked) - len(ready)
        count(len(playing) - waiting, len(playing), "episodes")
    return [_finish(episode, sampler.engine, limits) for episode in playing]


def _answers(
    playing: Sequence[_Playing], sampler: Sampler | StreamingSampler, limits: RolloutLimits
) -> Answers:
    if isinstance(sampler, StreamingSampler):
        return _one_by_one(playing, sampler, limits)
    draws = limits.max_steps * limits.max_action_tokens
    uniforms = np.stack([generator(e.assignment.seed, "actions").random(draws) for e in playing])
    act = _in_windows if limits.history is not None else _in_conversations
    return act(playing, sampler, uniforms, limits)


def _one_by_one(playing: Sequence[_Playing], sampler: StreamingSampler, limits: RolloutLimits) -> Answers:
    """Return what asks with whole prompts, and answers with those actions that are ready first."""
    stream = sampler.open(limits.temperature)

    def answers(asked: list[int]) -> list[tuple[int, SampledAction]]:
        for i in asked:
            episode = playing[i]
            seed = derive_seed(episode.assignment.seed, "actions", len(episode.turns))
            stream.ask(i, _prompt(episode, limits.history), seed)
        return stream.ready()

    return answers


def _in_conversations(
    playing: Sequence[_Playing], sampler: Sampler, uniforms: NDArray[np.float64], limits: RolloutLimits
) -> Answers:
    """Return what asks for the next actions when each of them follows all that was said before."""
    conversations = sampler.start(uniforms, limits.temperature)

    def answers(asked: list[int]) -> list[tuple[int, SampledAction]]:
        return list(zip(asked, conversations.act(asked, [playing[i].new for i in asked]), strict=True))

    return answers


def _in_windows(
    playing: Sequence[_Playing], sampler: Sampler, uniforms: NDArray[np.float64], limits: RolloutLimits
) -> Answers:
    """Return what asks for the next actions when each of them has a prompt of its own."""

    def draws(i: int) -> NDArray[np.float64]:
        drawn = sum(playing[i].action_mask)
        return uniforms[i, drawn : drawn + limits.max_action_tokens]

    def answers(asked: list[int]) -> list[tuple[int, SampledAction]]:
        conversations = sampler.start(np.stack([draws(i) for i in asked]), limits.temperature)
        prompts = [_prompt(playing[i], limits.history) for i in asked]
        return list(zip(asked, conversations.act(range(len(asked)), prompts), strict=True))

    return answers


def _prompt(episode: _Playing, history: int | None) -> list[int]:
    """Return all ids that the policy reads before its next action."""
    if history is None:
        return episode.ids
    return episode.ids[: episode.head] + episode.ids[episode.window(history) :]


def _begin(
    environment: Environment, first: str | Exception, dialogue: Dialogue, assignment: Assignment
) -> _Playing:
    """Prepare an episode from the first observation, or from the fault of a world that gave none."""
    error = _text(first) if isinstance(first, Exception) else None
    observation = "" if isinstance(first, Exception) else first
    ids = dialogue.prompt(assignment.task.goal, observation, assignment.block)
    return _Playing(
        assignment=assignment,
        environment=environment,
        observation=observation,
        ids=list(ids),
        new=list(ids),
        head=len(ids) - len(dialogue.observation(observation)),
        prompt_length=len(ids),
        action_mask=[False] * len(ids),
        logprobs=[0.0] * len(ids),
        stop=StopReason.ENVIRONMENT_ERROR if error else None,
        error=error,
    )


def _check_room(playing: Sequence[_Playing], limits: RolloutLimits) -> None:
    longest = max(playing, key=lambda episode: episode.prompt_length)
    needed = longest.prompt_length + limits.max_action_tokens
    if needed > limits.max_tokens:
        skills = " with its skill block" if longest.assignment.block else ""
        raise ConfigError(
            f"the prompt of task {longest.assignment.task.id}{skills} has {longest.prompt_length} "
            f"tokens and an action up to {limits.max_action_tokens} (rollout.max_action_tokens): {needed} in "
            f"all, but policy.max_tokens is {limits.max_tokens}. Next: set it to well above {needed}, "
            "for there must be room for turns too, or lower skills.budget"
        )


def _advance(
    episode: _Playing,
    action: SampledAction,
    answer: Answer,
    result: StepResult | Exception,
    dialogue: Dialogue,
    limits: RolloutLimits,
) -> None:
    """Record a sampled action and what it led to, and prepare the next observation's tokens."""
    start = len(episode.ids)
    episode.ids += action.ids
    episode.action_mask += [True] * len(action.ids)
    episode.logprobs += action.logprobs
    if isinstance(result, Exception):
        episode.stop, episode.error = StopReason.ENVIRONMENT_ERROR, _text(result)
        episode.turns.append(_turn(episode, answer.action, 0.0, False, start))
        return
    valid = result.valid and action.complete and not answer.fault
    episode.turns.append(_turn(episode, answer.action, result.reward, valid, start))
    episode.observation, episode.success = answer.heard(result.observation), result.success
    seam = dialogue.seam(action.ids)
    episode.seam_ends.append(len(episode.ids) + len(seam))
    episode.new = [*seam, *dialogue.observation(episode.observation)]
    if result.done:
        episode.stop = StopReason.SUCCESS if result.success else StopReason.FAILURE
    elif len(episode.turns) >= limits.max_steps:
        episode.stop = StopReason.MAX_STEPS
    elif _read_next(episode, limits) + limits.max_action_tokens > limits.max_tokens:
        episode.stop = StopReason.MAX_TOKENS
    else:
        episode.ids += episode.new
        episode.action_mask += [False] * len(episode.new)
        episode.logprobs += [0.0] * len(episode.new)


def _text(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}"


def _read_next(episode: _Playing, limits: RolloutLimits) -> int:
    """Return how many tokens the policy reads before its next action."""
    unread = episode.window(limits.history) - episode.head if limits.history is not None else 0
    return len(episode.ids) + len(episode.new) - unread


def _turn(episode: _Playing, text: str, reward: float, valid: bool, start: int) -> Turn:
    return Turn(
        index=len(episode.turns),
        observation=episode.observation,
        action=text,
        reward=reward,
        valid=valid,
        start=start,
        end=len(episode.ids),
    )


def _finish(episode: _Playing, engine: str, limits: RolloutLimits) -> Episode:
    assignment = episode.assignment
    identity = [assignment.task.id, assignment.seed, assignment.sample, limits.temperature, episode.ids]
    return Episode(
        id=content_hash(identity)[:20],
        task_id=assignment.task.id,
        task_type=assignment.task.type,
        group=assignment.group,
        sample=assignment.sample,
        seed=assignment.seed,
        turns=tuple(episode.turns),
        prompt_length=episode.prompt_length,
        token_ids=np.array(episode.ids, dtype=np.int32),
        action_mask=np.array(episode.action_mask, dtype=np.bool_),
        sampler_logprobs=np.array(episode.logprobs, dtype=np.float32),
        episode_return=sum(turn.reward for turn in episode.turns),
        success=episode.success,
        stop_reason=episode.stop or StopReason.MAX_STEPS,
        error=episode.error,
        context_policy="conversation" if limits.history is None else f"window:{limits.history}",
        engine=engine,
        temperature=limits.temperature,
    )
