"""What the teacher adds to a round: `python benchmarks/teacher.py`.

With a teacher a round plays, retrieves skills, scores student and teacher, and learns by the default loss,
which reads the teacher's whole distributions. Without one it plays, scores the student, and learns by the
policy gradient alone, with the same optimiser steps. Both on the first round's episodes of the default run,
without storage and orchestration. Prints the figures and writes benchmarks/results/teacher.json.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from _report import RESULTS, machine, save
from _timing import Spent, interleaved, plus, ratios, seconds

from sdar.envs.registry import environment_factory
from sdar.flows.commands.options import configuration
from sdar.policy.model import STARTER, load_policy, output_head
from sdar.policy.scoring import Row
from sdar.rl.credit import token_advantages
from sdar.rl.learner import Objective, minibatches, new_optimiser, optimise
from sdar.schemas.config import RunConfig
from sdar.schemas.records import TeacherContext
from sdar.schemas.seeds import generator
from sdar.skills.files import builtin_skills
from sdar.tasks import score, update
from sdar.tasks.collect import assign, play, round_tasks
from sdar.tasks.retrieve import skill_blocks, teacher_context

PARTS = {
    "with": ("play", "retrieve", "score_student", "score_teacher", "learn_from_teacher"),
    "without": ("play", "score_student", "learn"),
}


def main() -> None:
    """Measure with the sizes that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=RunConfig().rollout.tasks)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "teacher.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load_before = os.getloadavg()[0]
    # One pass: with more of them the update is longer, and what the teacher adds a smaller share.
    changes = [f"rollout.tasks={arguments.tasks}", "update.epochs=1"]
    round_one = Round(configuration(None, changes).config)
    spent = interleaved(round_one.works(), arguments.repetitions)
    sums = {side: together([spent[name] for name in names]) for side, names in PARTS.items()}
    result = {
        "episodes": len(round_one.episodes),
        "seconds": {name: seconds(each) for name, each in (spent | sums).items()},
        "overhead": ratios(sums["with"], sums["without"]),
        "machine": {**machine(load_before, torch, transformers), "threads": torch.get_num_threads()},
    }
    save(result, arguments.out)
    print(json.dumps(result, indent=2))


def together(parts: Sequence[Sequence[Spent]]) -> list[Spent]:
    """Return what the parts took together in each repetition."""
    return [functools.reduce(plus, each) for each in zip(*parts, strict=True)]


class Round:
    """The first round of a run, in pieces that can be done again and again with the same result."""

    def __init__(self, config: RunConfig) -> None:
        """Play and score the round once."""
        self.config = config
        self.policy = load_policy(STARTER, config.policy.device)
        split = environment_factory(config.env.name)(config.env).tasks(config.env.train_split)
        self.tasks = {task.id: task for task in round_tasks(split, 1, config.rollout.tasks, config.seed)}
        self.assignments = assign([*self.tasks.values()], config.rollout.group_size, config.seed)
        self.skills = builtin_skills(config.env.name)
        self.episodes = self.play()
        contexts, dialogue = self.retrieve(), self.policy.dialogue
        self.mine = [score.student_rows(episode, dialogue) for episode in self.episodes]
        self.theirs = [
            score.teacher_rows(episode, context, dialogue)
            for episode, context in zip(self.episodes, contexts, strict=True)
        ]
        self.student = self.scored(self.mine, keep_hidden=False)
        self.teacher = self.scored(self.theirs, keep_hidden=True)

    def works(self) -> dict[str, Callable[[], Any]]:
        """Return what is timed."""
        return {
            "play": self.play,
            "retrieve": self.retrieve,
            "score_student": lambda: self.scored(self.mine, keep_hidden=False),
            "score_teacher": lambda: self.scored(self.theirs, keep_hidden=True),
            "learn": lambda: self.learn(taught=False),
            "learn_from_teacher": lambda: self.learn(taught=True),
        }

    def play(self) -> list[Any]:
        """Play all episodes."""
        return play(self.config, self.policy, self.assignments, self.config.rollout.temperature)

    def retrieve(self) -> list[TeacherContext]:
        """Return the teacher's context of each episode."""
        skills, dialogue = self.config.skills, self.policy.dialogue
        blocks = skill_blocks([*self.tasks.values()], self.skills, skills, dialogue, self.config.seed)
        return [
            teacher_context(
                episode, self.tasks[episode.task_id], blocks[episode.task_id], skills, dialogue,
                self.config.policy.max_tokens,
            )
            for episode in self.episodes
        ]  # fmt: skip

    def scored(self, rows: Sequence[Sequence[Row]], *, keep_hidden: bool) -> list[score.RowScores]:
        """Score the rows of all episodes."""
        return score.score_episodes(
            self.policy, rows, self.config.rollout.temperature, keep_hidden=keep_hidden
        )

    def learn(self, *, taught: bool) -> None:
        """Take the round's optimiser steps on a copy of the policy."""
        config, model = self.config, copy.deepcopy(self.policy.model)
        scores = score.token_scores(self.episodes, self.student, self.teacher, [True] * len(self.episodes))
        lessons = [
            update.Lesson(episode, each, rows, None, found.hidden if taught else None)
            for episode, each, rows, found in zip(self.episodes, scores, self.mine, self.teacher, strict=True)
        ]
        returns = [episode.episode_return for episode in self.episodes]
        found = update.episode_advantages(self.episodes, returns, [1] * len(lessons), config.advantage)
        credits = update.credit_inputs(lessons, found.advantages)
        rows = update.learner_rows(lessons, token_advantages(credits, config.advantage, 1))
        weight = config.sdar.coefficient if taught else 0.0
        sdar = config.sdar.model_copy(update={"coefficient": weight})
        head = output_head(self.policy.model).detach() if taught else None
        rng = generator(config.seed, "minibatches")
        optimise(
            model,
            new_optimiser(model, config.update),
            rows,
            minibatches(len(rows), config.update.minibatch, config.update.epochs, rng),
            Objective(sdar, config.update, config.rollout.temperature, head),
        )


if __name__ == "__main__":
    main()
