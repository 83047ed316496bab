"""A round beside one of TRL's GRPOTrainer: `python benchmarks/against_trl.py`.

Both start from the shipped policy, play the same tasks of the household in groups of the same size at the
same temperature, with the same limits of turns and tokens, are rewarded by the same world, and take the same
number of optimiser steps at the same rate, in float32 on one thread. Three sides, each in a process of its
own, take turns; each plays one small round before the first that counts. Memory is that of a side's process
before its first round and at most.

- `trl`: GRPOTrainer's training steps from the beginning of the first to the end of the last. Episodes of many
  turns come from its argument `rollout_func`; a turn is sampled by the method that TRL's own loop of tools
  uses, from all that was said before, and episodes that ended leave the batch. Logging, saving and gradient
  checkpointing are off, no reference model is kept (beta 0).
- `sdar_grpo`: the stages collect, retrieve, score and update, their storage included, of the method `grpo`,
  whose loss is the clipped policy gradient that TRL has.
- `sdar`: the same of the default method, whose update learns from the teacher too.

What differs: the random numbers, so that episodes are alike in distribution only; TRL computes the log-probs
of the old policy anew, sdar has those of the sampler and compares them with the learner's; sdar stores all
and scores the teacher even where its loss does not read it. Orchestration by Prefect is not part of either.

Needs `pip install trl==1.16.0`, which is no part of any extra. Writes benchmarks/results/against_trl.json.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import resource
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from _report import RESULTS, machine, save
from _timing import Spent, ratios, seconds, timed

from sdar.envs.registry import environment_factory
from sdar.envs.workers import reset_many, step_many
from sdar.flows.commands.options import configuration
from sdar.policy.dialogue import Dialogue, load_dialogue
from sdar.policy.model import STARTER, load_model
from sdar.schemas.config import RunConfig
from sdar.schemas.records import TaskSpec
from sdar.storage import open_store
from sdar.tasks.collect import round_tasks
from sdar.tasks.session import Session, SystemClock

PINNED = "1.16.0"
SIDES = ("trl", "sdar_grpo", "sdar")


def main() -> None:
    """Measure with the sizes that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--turns", type=int, default=16, help="That an episode may have.")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "against_trl.json")
    arguments = parser.parse_args()
    if importlib.util.find_spec("trl") is None:
        print(f"TRL is not here, so there is nothing to compare with; next: pip install trl=={PINNED}")
        return
    from trl import GRPOTrainer  # noqa: F401  # here, so that no side imports it within its round

    result = measure((arguments.tasks, arguments.group, arguments.turns), arguments.repetitions)
    save(result, arguments.out)
    print(json.dumps(result, indent=2))


@dataclass(frozen=True)
class Played:
    """What a round took and what was played: `tokens` are those of all episodes, read and sampled."""

    wall: float
    cpu: float
    episodes: int
    turns: int
    tokens: int
    sampled: int
    success: float
    steps: int


def measure(sizes: tuple[int, int, int], repetitions: int) -> dict[str, Any]:
    """Let the sides take turns and return all figures; sizes are tasks, episodes of each, and turns."""
    load_before = os.getloadavg()[0]
    sides = {side: start(side) for side in SIDES}
    rounds: dict[str, list[Played]] = {side: [] for side in SIDES}
    for size in [(2, 2, 16), *[sizes] * repetitions]:
        for side, pipe in sides.items():
            pipe.send(size)
            rounds[side].append(pipe.recv())
    memory = {}
    for side, pipe in sides.items():
        pipe.send(None)
        memory[side], rounds[side] = pipe.recv(), rounds[side][1:]
    spent = {side: [Spent(each.wall, each.cpu) for each in rounds[side]] for side in SIDES}
    return {
        "round": {
            **dict(zip(("tasks", "group_size", "turns"), sizes, strict=True)),
            "optimiser_steps": rounds["sdar"][0].steps,
        },
        "seconds": {side: seconds(each) for side, each in spent.items()},
        "speedup_over_trl": {side: ratios(spent["trl"], spent[side]) for side in SIDES[1:]},
        "tokens_per_cpu_second": {side: rate(rounds[side]) for side in SIDES},
        "speedup_per_token": {side: round(rate(rounds[side]) / rate(rounds["trl"]), 2) for side in SIDES[1:]},
        "memory_megabytes": memory,
        "rounds": {side: [asdict(each) for each in rounds[side]] for side in SIDES},
        "machine": {**machine(load_before, torch, transformers), "threads": 1},
        "trl": {name: version(name) for name in ("trl", "accelerate", "datasets")},
    }


def start(side: str) -> Connection:
    """Start the process of a side, a copy of this one, which has imported everything and computed nothing."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    context.Process(target=serve, args=(side, there), daemon=True).start()
    there.close()
    return here


def rate(rounds: list[Played]) -> int:
    """Return the tokens of the episodes for each second of processor time."""
    return round(sum(each.tokens for each in rounds) / sum(each.cpu for each in rounds))


def serve(side: str, pipe: Connection) -> None:
    """Play a round whenever one is asked for by its size, and tell at last how much memory was used."""
    torch.set_num_threads(1)
    before, play = megabytes(), trl_round if side == "trl" else sdar_round
    while size := pipe.recv():
        pipe.send(play(settings(side, *size)))
    pipe.send({"before": before, "peak": megabytes()})


def megabytes() -> float:
    """Return the most memory that this process had so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def settings(side: str, tasks: int, group: int, turns: int) -> RunConfig:
    """Return the settings of a side; grouping, rate and threads are the same for all."""
    overrides = [
        f"method={'sdar' if side == 'sdar' else 'grpo'}",
        f"rollout.tasks={tasks}",
        f"rollout.group_size={group}",
        f"env.max_steps={turns}",
        "update.learning_rate=1e-4",
        "update.epochs=1",
        "policy.threads=1",
    ]
    return configuration(None, overrides).config


def sdar_round(config: RunConfig) -> Played:
    """Play round 1 in a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(Path(folder) / "store")
        with store.writer("benchmark"):
            session = Session.start(store, config, None, SystemClock())
            for stage in ("bootstrap", "bank"):
                session.execute(stage, 0)

            def learn() -> None:
                for stage in ("collect", "retrieve", "score", "update"):
                    session.execute(stage, 1)

            _, spent = timed(learn)
            episodes = store.episodes(session.artifacts[1, "collect"].id)
            steps = store.updates(session.artifacts[1, "update"].id)
    return Played(
        wall=spent.wall,
        cpu=spent.cpu,
        episodes=len(episodes),
        turns=sum(len(episode.turns) for episode in episodes),
        tokens=sum(len(episode.token_ids) for episode in episodes),
        sampled=sum(int(episode.action_mask.sum()) for episode in episodes),
        success=float(np.mean([episode.success for episode in episodes])),
        steps=len(steps),
    )


def trl_round(config: RunConfig) -> Played:
    """Train for as many steps as a round has, from the shipped policy."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import GRPOConfig, GRPOTrainer

    episodes = config.rollout.tasks * config.rollout.group_size
    steps = max(1, round(episodes / config.update.minibatch))
    table = Table(config)
    clock = step_clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = GRPOTrainer(
            model=load_model(STARTER),
            reward_funcs=table.rewards,
            args=GRPOConfig(
                output_dir=folder, use_cpu=True, bf16=False, gradient_checkpointing=False, seed=config.seed,
                per_device_train_batch_size=episodes // steps, gradient_accumulation_steps=1,
                steps_per_generation=steps, num_generations=config.rollout.group_size, max_steps=steps,
                max_completion_length=config.rollout.max_action_tokens, generation_kwargs={"use_cache": True},
                temperature=config.rollout.temperature, learning_rate=config.update.learning_rate,
                lr_scheduler_type="constant", epsilon=config.update.clip_low, beta=0.0,
                max_grad_norm=config.update.max_gradient_norm, shuffle_dataset=False, save_strategy="no",
                report_to="none", disable_tqdm=True, logging_steps=steps,
            ),
            train_dataset=Dataset.from_dict({"prompt": list(table.tasks)}),
            processing_class=AutoTokenizer.from_pretrained(STARTER),
            rollout_func=table.roll_out,
            callbacks=[clock],
        )  # fmt: skip
        trainer.train()
    return Played(
        wall=clock.ended.wall - clock.began.wall,
        cpu=clock.ended.cpu - clock.began.cpu,
        steps=int(trainer.state.global_step),
        **table.counts(),
    )


def step_clock() -> Any:
    """Return a callback that notes when the first step begins and when the last one ends."""

    class StepClock(transformers.TrainerCallback):
        began: Spent | None = None
        ended: Spent | None = None

        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            self.began = self.began or Spent(time.perf_counter(), time.process_time())

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            self.ended = Spent(time.perf_counter(), time.process_time())

    return StepClock()


class Table:
    """The household for TRL: prompts are ids of tasks, an episode is one row with a mask of sampled ids."""

    def __init__(self, config: RunConfig) -> None:
        """Choose the tasks that sdar's round 1 has."""
        self.config = config
        self.factory = environment_factory(config.env.name)
        split = self.factory(config.env).tasks(config.env.train_split)
        chosen = round_tasks(split, 1, config.rollout.tasks, config.seed)
        self.tasks: dict[str, TaskSpec] = {task.id: task for task in chosen}
        self.dialogue: Dialogue = load_dialogue(STARTER)
        self.episodes: list[TrlEpisode] = []

    def roll_out(self, prompts: list[str], trainer: Any) -> dict[str, Any]:
        """Play one episode for each prompt; TRL repeats a prompt for each member of its group."""
        worlds = [self.factory(self.config.env) for _ in prompts]
        tasks = [self.tasks[prompt] for prompt in prompts]
        first = reset_many(worlds, tasks)
        self.episodes = [
            TrlEpisode(world, self.dialogue.prompt(task.goal, str(observation)))
            for world, task, observation in zip(worlds, tasks, first, strict=True)
        ]
        room = self.config.policy.max_tokens - self.config.rollout.max_action_tokens
        for _ in range(self.config.env.max_steps):
            running = [episode for episode in self.episodes if not episode.done]
            if not running:
                break
            said, _ = trainer._generate_single_turn([e.prompt + e.completion for e in running], None, {}, 1)
            answers = [self.dialogue.read(ids).action for ids in said]
            results = step_many([episode.world for episode in running], answers)
            for episode, ids, result in zip(running, said, results, strict=True):
                episode.advance(ids, result, self.dialogue, room)
        return {
            "prompt_ids": [episode.prompt for episode in self.episodes],
            "completion_ids": [episode.said for episode in self.episodes],
            "env_mask": [episode.mask[: len(episode.said)] for episode in self.episodes],
            "logprobs": None,
            "episode_return": [episode.reward for episode in self.episodes],
        }

    def rewards(self, episode_return: list[float], **_: Any) -> list[float]:
        """Return what the world gave; TRL hands on what `roll_out` returned."""
        return episode_return

    def counts(self) -> dict[str, Any]:
        """Return what was played."""
        return {
            "episodes": len(self.episodes),
            "turns": sum(episode.turns for episode in self.episodes),
            "tokens": sum(len(episode.prompt) + len(episode.said) for episode in self.episodes),
            "sampled": sum(sum(episode.mask) for episode in self.episodes),
            "success": float(np.mean([episode.success for episode in self.episodes])),
        }


class TrlEpisode:
    """An episode under way: `mask` is 1 for sampled tokens, `completion` has the present observation too."""

    def __init__(self, world: Any, prompt: list[int]) -> None:
        """Begin with the first observation in the prompt."""
        self.world, self.prompt = world, prompt
        self.completion: list[int] = []
        self.mask: list[int] = []
        self.turns, self.reward, self.done, self.success = 0, 0.0, False, False

    @property
    def said(self) -> list[int]:
        """All tokens up to the end of the last action."""
        last = max((place for place, mine in enumerate(self.mask) if mine), default=-1)
        return self.completion[: last + 1]

    def advance(self, ids: list[int], result: Any, dialogue: Dialogue, room: int) -> None:
        """Record an action and what it led to."""
        if isinstance(result, Exception):
            raise result
        self.completion, self.mask = self.completion + ids, self.mask + [1] * len(ids)
        self.turns, self.reward = self.turns + 1, self.reward + result.reward
        self.done, self.success = result.done, result.success
        if not self.done:
            heard = dialogue.observation(result.observation)
            self.completion, self.mask = self.completion + heard, self.mask + [0] * len(heard)
            self.done = len(self.prompt) + len(self.completion) > room


if __name__ == "__main__":
    main()
