"""What keeping conversations whole saves: `python benchmarks/sampling.py`.

- sampling with the cache kept across turns, against reading the whole conversation again at every turn, on
  the same episodes with the same random numbers;
- one row per episode, against one row per turn that repeats what was said before, for scoring and for
  learning; both see the same tokens behind the same context, with the same number of optimiser steps.

Tokens, log-probs and first gradients of both sides are checked to be the same before anything is timed.
Household, shipped policy. Prints the figures and writes benchmarks/results/sampling.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from _report import RESULTS, machine, save
from _timing import interleaved, ratios, seconds
from numpy.typing import NDArray

from sdar.envs.registry import environment_factory
from sdar.policy.model import STARTER, Policy, load_policy, output_head
from sdar.policy.sampler import SampledAction, TransformersSampler
from sdar.policy.scoring import Row
from sdar.rl.learner import LearnerRow, Objective, new_optimiser, optimise
from sdar.schemas.config import RunConfig
from sdar.schemas.records import Episode, UpdateReport
from sdar.tasks.collect import limits
from sdar.tasks.rollout import Assignment, roll_out
from sdar.tasks.score import score_rows

TOLERANCE = 1e-4
"""Largest difference of log-probs that ought to be equal, in nats: that of the run's own check."""


def main() -> None:
    """Measure with the sizes that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "sampling.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    result = measure(arguments.episodes, arguments.repetitions)
    save(result, arguments.out)
    print(json.dumps(result, indent=2))


def measure(count: int, repetitions: int) -> dict[str, Any]:
    """Return all figures together with what they depend on."""
    load_before, config = os.getloadavg()[0], RunConfig()
    policy = load_policy(STARTER, config.policy.device)
    cached = TransformersSampler(policy, config.rollout.max_action_tokens)
    reading = RereadingSampler(policy, config.rollout.max_action_tokens)
    episodes = play(config, cached, count)
    difference = same_episodes(episodes, play(config, reading, count))
    spent = interleaved(
        {
            "cache_kept": lambda: play(config, cached, count),
            "read_again": lambda: play(config, reading, count),
        },
        repetitions,
    )
    tokens = sum(len(episode.token_ids) for episode in episodes)
    return {
        "sampling": {
            "episodes": count,
            "turns": sum(len(episode.turns) for episode in episodes),
            "tokens": tokens,
            "largest_logprob_difference": difference,
            "seconds": {name: seconds(each) for name, each in spent.items()},
            "tokens_per_cpu_second": round(tokens / seconds(spent["cache_kept"])["cpu"]),
            "speedup": ratios(spent["read_again"], spent["cache_kept"]),
        },
        **rows_compared(config, policy, episodes, repetitions),
        "machine": {**machine(load_before, torch, transformers), "threads": torch.get_num_threads()},
    }


def same_episodes(kept: Sequence[Episode], again: Sequence[Episode]) -> float:
    """Return the largest difference of log-probs; ends the benchmark where the episodes are not the same."""
    if [e.token_ids.tolist() for e in kept] != [e.token_ids.tolist() for e in again]:
        raise SystemExit("the two samplers wrote different episodes: the comparison would mean nothing")
    found = [each.sampler_logprobs for each in kept], [each.sampler_logprobs for each in again]
    return close(np.concatenate(found[0]), np.concatenate(found[1]))


def close(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the largest difference; ends the benchmark where it is above the tolerance."""
    worst = float(np.abs(one - other).max())
    if worst > TOLERANCE:
        raise SystemExit(f"log-probs that ought to be equal differ by {worst:.2g}; allowed: {TOLERANCE}")
    return worst


def play(config: RunConfig, sampler: TransformersSampler | RereadingSampler, count: int) -> list[Episode]:
    """Play episodes of the first training tasks."""
    factory = environment_factory(config.env.name)
    tasks = factory(config.env).tasks(config.env.train_split)
    assignments = [Assignment(tasks[i % len(tasks)], i, 0, seed=i) for i in range(count)]
    return roll_out(
        factory, config.env, sampler.policy.dialogue, sampler, assignments, limits(config, temperature=1.0)
    )


@dataclass(frozen=True)
class RereadingSampler:
    """The plain way: every turn starts a new cache and reads the whole conversation."""

    policy: Policy
    max_action_tokens: int
    engine: str = "transformers"

    def start(self, uniforms: NDArray[np.float64], temperature: float) -> RereadConversations:
        """Start B conversations."""
        return RereadConversations(
            TransformersSampler(self.policy, self.max_action_tokens), uniforms, temperature
        )


class RereadConversations:
    """Running conversations of a `RereadingSampler`."""

    def __init__(
        self, sampler: TransformersSampler, uniforms: NDArray[np.float64], temperature: float
    ) -> None:
        """Start with empty conversations."""
        self._sampler, self._uniforms, self._temperature = sampler, uniforms, temperature
        self._ids: list[list[int]] = [[] for _ in uniforms]
        self._drawn = [0] * len(uniforms)

    def act(self, rows: Sequence[int], new_ids: Sequence[Sequence[int]]) -> list[SampledAction]:
        """Sample the next action of each row from all that was said so far."""
        for row, ids in zip(rows, new_ids, strict=True):
            self._ids[row] += ids
        limit = self._sampler.max_action_tokens
        draws = np.stack([self._uniforms[row][self._drawn[row] :][:limit] for row in rows])
        fresh = self._sampler.start(draws, self._temperature)
        actions = fresh.act(range(len(rows)), [self._ids[row] for row in rows])
        for row, action in zip(rows, actions, strict=True):
            self._ids[row] += action.ids
            self._drawn[row] += len(action.ids)
        return actions


def rows_compared(
    config: RunConfig, policy: Policy, episodes: Sequence[Episode], repetitions: int
) -> dict[str, Any]:
    """Return what one row per episode saves beside one row per turn, in scoring and in learning."""
    shapes = {"conversation": [conversation(e) for e in episodes], "per_turn": [turns(e) for e in episodes]}
    scores = {name: scored(policy, each) for name, each in shapes.items()}
    difference = close(scores["conversation"], scores["per_turn"])
    norms = {name: learn(config, policy, episodes, each)[0].gradient_norm for name, each in shapes.items()}
    if not np.isclose(norms["conversation"], norms["per_turn"], rtol=1e-3):
        raise SystemExit(f"the gradients ought to be equal, but their norms are {norms}")
    scoring = interleaved(
        {name: lambda rows=rows: scored(policy, rows) for name, rows in shapes.items()}, repetitions
    )
    learning = interleaved(
        {name: lambda rows=rows: learn(config, policy, episodes, rows) for name, rows in shapes.items()},
        repetitions,
    )
    return {
        "rows": {
            "tokens": {name: tokens_of(each) for name, each in shapes.items()},
            "largest_logprob_difference": difference,
            "first_gradient_norm": norms,
        },
        **{
            work: {
                "seconds": {name: seconds(each) for name, each in spent.items()},
                "speedup": ratios(spent["per_turn"], spent["conversation"]),
            }
            for work, spent in (("scoring", scoring), ("learning", learning))
        },
    }


def conversation(episode: Episode) -> list[Row]:
    """Return the episode as one row."""
    return [Row(episode.token_ids, np.flatnonzero(episode.action_mask).astype(np.int32))]


def turns(episode: Episode) -> list[Row]:
    """Return the episode as one row for each turn: all that was said before it, and its action."""
    return [
        Row(episode.token_ids[: turn.end], np.arange(turn.start, turn.end, dtype=np.int32))
        for turn in episode.turns
    ]


def tokens_of(rows: Sequence[Sequence[Row]]) -> int:
    """Return how many tokens the rows of the episodes have."""
    return sum(len(row.token_ids) for each in rows for row in each)


def scored(policy: Policy, rows: Sequence[Sequence[Row]]) -> NDArray[np.float32]:
    """Return the log-probs of all action tokens, in order."""
    flat = [row for each in rows for row in each]
    return np.concatenate([s.logprobs for s in score_rows(policy, flat, 1.0, keep_hidden=False)])


def learn(
    config: RunConfig, policy: Policy, episodes: Sequence[Episode], rows: Sequence[Sequence[Row]]
) -> list[UpdateReport]:
    """Take the optimiser steps of a round on a copy of the policy; a step has the rows of its episodes."""
    model, lessons, owners = copy.deepcopy(policy.model), [], []
    rng, hidden = np.random.default_rng(0), int(policy.model.config.hidden_size)
    for index, (episode, parts) in enumerate(zip(episodes, rows, strict=True)):
        sampled = episode.sampler_logprobs[episode.action_mask]
        states = rng.normal(size=(len(sampled), hidden)).astype(np.float32)
        end = 0
        for row in parts:
            mine = slice(end, end := end + len(row.positions))
            advantages = np.full(len(row.positions), 1.0 if index % 2 else -1.0, np.float32)
            lessons.append(LearnerRow(row, advantages, sampled[mine], sampled[mine], None, states[mine]))
            owners.append(index)
    steps = max(1, round(len(episodes) / config.update.minibatch))
    batches = [
        np.flatnonzero(np.isin(owners, part)) for part in np.array_split(np.arange(len(episodes)), steps)
    ]
    objective = Objective(config.sdar, config.update, 1.0, output_head(policy.model).detach())
    return optimise(model, new_optimiser(model, config.update), lessons, batches, objective)


if __name__ == "__main__":
    main()
