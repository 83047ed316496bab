"""How near scoring and learning come to the rate of a matrix product: `python benchmarks/roofline.py`.

Models of four blocks with random weights read the household's episodes of the shipped policy: the student's
rows are scored, the teacher's rows, which have 53 tokens more, are scored and their states kept, and the
default method takes the optimiser steps of these episodes. In turns with these a square float32 matrix
product is measured, on the same threads. What is counted, in floating point operations, with H the width, F
that of the feed-forward layers, D heads times their size and K those of keys and values, V the vocabulary:

- a token through a block: 2 (2 H D + 2 H K + 3 H F);
- attention in a row of L tokens and a block: 2 D L (L + 1), the half below the diagonal of both products;
- a scored token through the output embedding: 2 H V;
- scoring: one such pass over the student's rows and one over the teacher's;
- learning: three (forward, and twice that backward) over the student's rows, and 2 H V for the teacher's
  distribution over each scored token.

Not counted, so that their time lowers the share: padding, the other half of attention, norms, rotations,
softmax, the loss, and AdamW. Prints the figures and writes benchmarks/results/roofline.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from _report import RESULTS, machine, save
from _timing import Spent, interleaved, plus, seconds
from sampling import play
from transformers import PreTrainedModel

from sdar.policy.model import STARTER, Policy, load_policy, new_model, output_head
from sdar.policy.sampler import TransformersSampler
from sdar.policy.scoring import Row
from sdar.rl.learner import LearnerRow, Objective, minibatches, new_optimiser, optimise
from sdar.schemas.config import RunConfig
from sdar.tasks.score import RowScores, score_rows

BLOCK_TOKENS = 53
"""Mean length of the teacher's skill block in training runs, see benchmarks/store.py."""
HEAD = 64
LAYERS = 4
SIDE = 1024


def main() -> None:
    """Measure with the sizes that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[96, 256, 384, 512])
    parser.add_argument("--episodes", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "roofline.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    load_before, config = os.getloadavg()[0], RunConfig()
    starter = load_policy(STARTER)
    rows = student_rows(starter, config, arguments.episodes)
    result = {
        "rows": {"count": len(rows), "tokens": tokens(rows), "scored": scored_tokens(rows)},
        "widths": {
            str(width): measure(starter, config, rows, width, arguments.repetitions)
            for width in arguments.widths
        },
        "machine": {**machine(load_before, torch, transformers), "threads": torch.get_num_threads()},
    }
    save(result, arguments.out)
    print(json.dumps(result, indent=2))


def student_rows(policy: Policy, config: RunConfig, count: int) -> list[Row]:
    """Return real episodes as rows."""
    sampler = TransformersSampler(policy, config.rollout.max_action_tokens)
    return [
        Row(episode.token_ids, np.flatnonzero(episode.action_mask).astype(np.int32))
        for episode in play(config, sampler, count)
    ]


def teacher_rows(rows: Sequence[Row], vocabulary: int) -> list[Row]:
    """Return the rows with a block of random tokens before them."""
    rng = np.random.default_rng(0)
    return [
        Row(
            np.concatenate([rng.integers(0, vocabulary, BLOCK_TOKENS).astype(np.int32), row.token_ids]),
            row.positions + BLOCK_TOKENS,
        )
        for row in rows
    ]


def tokens(rows: Sequence[Row]) -> int:
    """Return how many tokens the rows have."""
    return sum(len(row.token_ids) for row in rows)


def scored_tokens(rows: Sequence[Row]) -> int:
    """Return how many tokens of the rows are scored."""
    return sum(len(row.positions) for row in rows)


def forward_operations(model: PreTrainedModel, rows: Sequence[Row]) -> float:
    """Return the operations of one pass over rows, see the formula above."""
    config = model.config
    width, size = config.hidden_size, config.head_dim
    queries, keys = config.num_attention_heads * size, config.num_key_value_heads * size
    linear = 2 * (2 * width * queries + 2 * width * keys + 3 * width * config.intermediate_size)
    attention = sum(2 * queries * len(row.token_ids) * (len(row.token_ids) + 1) for row in rows)
    head = 2 * width * config.vocab_size * scored_tokens(rows)
    return float(config.num_hidden_layers * (linear * tokens(rows) + attention) + head)


def measure(
    starter: Policy, config: RunConfig, rows: Sequence[Row], width: int, repetitions: int
) -> dict[str, Any]:
    """Return rates and shares of a model of a width; that of the shipped policy is that policy itself."""
    vocabulary = int(starter.model.config.vocab_size)
    model = starter.model
    if width != model.config.hidden_size:
        model = new_model(vocabulary, 0, width, LAYERS, width // HEAD, config.policy.max_tokens)
        model.train(mode=False)
    policy, taught = Policy(model, starter.dialogue), teacher_rows(rows, vocabulary)
    student = score_rows(policy, rows, 1.0, keep_hidden=False)
    teacher = score_rows(policy, taught, 1.0, keep_hidden=True)
    factor = torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    spent = interleaved(
        {
            "product": lambda: [factor @ factor for _ in range(10)],
            "score": lambda: (
                score_rows(policy, rows, 1.0, keep_hidden=False),
                score_rows(policy, taught, 1.0, keep_hidden=True),
            ),
            "learn": lambda: learn(config, model, rows, student, teacher),
        },
        repetitions,
    )
    forward = forward_operations(model, rows)
    operations = {
        "product": 10 * 2.0 * SIDE**3,
        "score": forward + forward_operations(model, taught),
        "learn": 3 * forward + 2 * width * vocabulary * scored_tokens(rows),
    }
    both = [plus(a, b) for a, b in zip(spent["score"], spent["learn"], strict=True)]
    spent["score_and_learn"], operations["score_and_learn"] = both, operations["score"] + operations["learn"]
    return {
        "parameters": policy.parameters,
        "gflop": {name: round(each / 1e9, 2) for name, each in operations.items()},
        "seconds": {name: seconds(each) for name, each in spent.items()},
        "gflop_per_cpu_second": {
            name: round(operations[name] / 1e9 / seconds(each)["cpu"], 1) for name, each in spent.items()
        },
        "share_of_product": {
            name: shares(operations[name] / operations["product"], each, spent["product"])
            for name, each in spent.items()
            if name != "product"
        },
    }


def shares(work: float, spent: Sequence[Spent], product: Sequence[Spent]) -> dict[str, float]:
    """Return the median share of the product's rate, by processor time and by the clock.

    Args:
        work: operations in multiples of the product's.
        spent: what they took.
        product: what the product took beside each.
    """
    pairs = list(zip(spent, product, strict=True))
    return {
        "cpu": round(statistics.median(work * p.cpu / s.cpu for s, p in pairs), 3),
        "wall": round(statistics.median(work * p.wall / s.wall for s, p in pairs), 3),
    }


def learn(
    config: RunConfig,
    model: PreTrainedModel,
    rows: Sequence[Row],
    student: Sequence[RowScores],
    teacher: Sequence[RowScores],
) -> None:
    """Take the steps of these rows on a copy of the model."""
    copied = copy.deepcopy(model)
    lessons = [
        LearnerRow(
            row=row,
            advantages=np.full(len(row.positions), 1.0 if index % 2 else -1.0, np.float32),
            logp_old=mine.logprobs,
            logp_teacher=theirs.logprobs,
            teacher_hidden=theirs.hidden,
        )
        for index, (row, mine, theirs) in enumerate(zip(rows, student, teacher, strict=True))
    ]
    batches = minibatches(len(rows), config.update.minibatch, 1, np.random.default_rng(0))
    objective = Objective(config.sdar, config.update, 1.0, output_head(model).detach())
    optimise(copied, new_optimiser(copied, config.update), lessons, batches, objective)


if __name__ == "__main__":
    main()
