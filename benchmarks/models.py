"""Time and memory of large vocabularies and real model shapes: `python benchmarks/models.py [--steps]`.

- scoring and learning with a vocabulary of 151 936 tokens, with logits made part by part and, for comparison,
  all at once; the model has two narrow layers, so that the vocabulary is what counts;
- with `--steps`, instead of these, one update step of a model of the shape of Qwen3-0.6B with random weights,
  of all of them or of an adapter (needs `sdar[lora]`), in float32 or bfloat16, with and without gradient
  checkpointing; and how far the sampler's log-probs are from the learner's.

Each figure comes from a process of its own, as only its peak of memory can be asked for. Prints the figures
and writes benchmarks/results/models.json, or models_steps.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from _report import RESULTS, machine, save
from transformers import PreTrainedModel, Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3ForCausalLM

from sdar.policy import memory
from sdar.policy.adapter import new_adapter
from sdar.policy.cache import RaggedCache
from sdar.policy.memory import TokenBudget
from sdar.policy.model import DTYPES, output_head, run_decoder
from sdar.policy.scoring import Row, forward_rows, head_log_distribution, token_logprobs
from sdar.rl.learner import LearnerRow, Objective, new_optimiser, optimise
from sdar.schemas.config import Dtype, LoraConfig, SdarConfig, UpdateConfig

VOCABULARY = 151_936


@dataclass(frozen=True)
class Case:
    """One process: what it does, and with which model.

    `work` is `score`, `learn` (both on two narrow layers) or `step`; `parts` says whether logits are made
    part by part; `rank` 0 trains all weights.
    """

    work: str
    dtype: Dtype = "float32"
    parts: bool = True
    rank: int = 0
    checkpointing: bool = False
    rows: int = 8
    length: int = 256
    scored: int = 255


VOCABULARY_CASES = [Case(work, parts=parts) for work in ("score", "learn") for parts in (False, True)]
STEP_CASES = [
    Case("step", dtype, rank=rank, checkpointing=twice, rows=2, length=64, scored=16)
    for dtype, rank, twice in (
        ("float32", 16, False), ("bfloat16", 16, False), ("bfloat16", 16, True), ("bfloat16", 0, False),
        ("float32", 0, False),
    )
]  # fmt: skip


def main() -> None:
    """Run every case in a process of its own, or the one that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", action="store_true", help="update steps at the shape of Qwen3-0.6B")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--case", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.case:
        print(json.dumps(run(Case(**json.loads(arguments.case)))))
        return
    before, cases = os.getloadavg()[0], STEP_CASES if arguments.steps else VOCABULARY_CASES
    results = [in_process(case, arguments.threads) for case in cases]
    about = {**machine(before, torch, transformers), "threads": arguments.threads}
    result = {"machine": about, "vocabulary": VOCABULARY, "cases": results}
    name = "models_steps.json" if arguments.steps else "models.json"
    save(result, arguments.out or RESULTS / name)
    print(json.dumps(result, indent=2))


def in_process(case: Case, threads: int) -> dict[str, Any]:
    """Return the figures of a case from a fresh process."""
    command = [sys.executable, __file__, "--case", json.dumps(asdict(case)), "--threads", str(threads)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found), file=sys.stderr, flush=True)
    return found


def run(case: Case) -> dict[str, Any]:
    """Return the figures of one case: seconds, and gigabytes above those of the loaded model."""
    if not case.parts:
        memory.LOGITS["cpu"] = 2**40
    model = small_model(case) if case.work != "step" else qwen3_model(case)
    rows = random_rows(case)
    loaded, began = peak_gigabytes(), time.perf_counter()
    more = score(model, rows) if case.work == "score" else learn(model, rows, case)
    seconds = time.perf_counter() - began
    figures = {
        "seconds": round(seconds, 1),
        "model_gb": round(loaded, 2),
        "peak_gb": round(peak_gigabytes(), 2),
    }
    if case.work == "step":
        more |= agreement(model)
    return {**asdict(case), **figures, **more}


def peak_gigabytes() -> float:
    """Return the most memory that this process had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def small_model(case: Case) -> PreTrainedModel:
    """Two narrow layers below a large vocabulary."""
    return made(
        Qwen3Config(
            vocab_size=VOCABULARY, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=4, head_dim=32, tie_word_embeddings=True,
        ),
        case,
    )  # fmt: skip


def qwen3_model(case: Case) -> PreTrainedModel:
    """The shape of Qwen3-0.6B; its weights are random."""
    return made(
        Qwen3Config(
            vocab_size=VOCABULARY, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28,
            num_attention_heads=16, num_key_value_heads=8, head_dim=128, tie_word_embeddings=True,
            max_position_embeddings=40_960, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        ),
        case,
    )  # fmt: skip


def made(config: Qwen3Config, case: Case) -> PreTrainedModel:
    """Return a model with random weights in the precision of the case, with an adapter if it has one."""
    torch.manual_seed(0)
    model: PreTrainedModel = Qwen3ForCausalLM._from_config(config, dtype=DTYPES[case.dtype])
    if case.rank:
        model = new_adapter(model, LoraConfig(rank=case.rank), seed=0).get_base_model()
    if case.checkpointing:
        model.activation_checkpointing_enable()
    return model.eval()


def random_rows(case: Case) -> list[Row]:
    """Return rows of random tokens, scored at the end of each."""
    rng = np.random.default_rng(0)
    positions = np.arange(case.length - case.scored, case.length, dtype=np.int32)
    return [
        Row(rng.integers(0, VOCABULARY, case.length).astype(np.int32), positions) for _ in range(case.rows)
    ]


def score(model: PreTrainedModel, rows: list[Row]) -> dict[str, Any]:
    """Score the rows without gradient."""
    with torch.inference_mode():
        for packed in forward_rows(model, rows):
            token_logprobs(model, packed)
    return {}


def learn(model: PreTrainedModel, rows: list[Row], case: Case) -> dict[str, Any]:
    """Take one step on the default objective, whose divergence reads the whole vocabulary."""
    rng, hidden = np.random.default_rng(1), model.config.hidden_size
    lessons = [
        LearnerRow(
            row=row,
            advantages=rng.normal(size=case.scored).astype(np.float32),
            logp_old=np.full(case.scored, -np.log(VOCABULARY), np.float32),
            logp_teacher=np.full(case.scored, -np.log(VOCABULARY), np.float32),
            teacher_hidden=rng.normal(size=(case.scored, hidden)).astype(np.float32),
        )
        for row in rows
    ]
    update = UpdateConfig(learning_rate=1e-5)
    head = output_head(model).detach().clone()
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    [report] = optimise(
        model,
        new_optimiser(model, update),
        lessons,
        [np.arange(len(rows))],
        Objective(SdarConfig(), update, 1.0, head),
        TokenBudget(memory.TOKEN_BUDGETS["cpu"]),
    )
    return {"trained_weights": trained, "loss": report.loss, "gradient_norm": report.gradient_norm}


def agreement(model: PreTrainedModel, tokens: int = 48) -> dict[str, float]:
    """Return how far log-probs with a cache, token by token, are from those of a whole row, in nats."""
    ids = np.random.default_rng(2).integers(0, VOCABULARY, tokens).astype(np.int32)
    cache, found = RaggedCache(model, 1, 64), []
    with torch.inference_mode():
        for place, token in enumerate(ids):
            columns = torch.tensor([[place]])
            cache.begin(columns)
            mask = torch.arange(cache.width)[None, None, None] <= columns[:, None, :, None]
            state = run_decoder(
                model, input_ids=torch.tensor([[int(token)]]), attention_mask=mask, position_ids=columns,
                past_key_values=cache, use_cache=True,
            )  # fmt: skip
            found.append(head_log_distribution(output_head(model), state[0, -1:])[0])
        [packed] = forward_rows(model, [Row(ids, np.arange(1, tokens, dtype=np.int32))])
        whole = token_logprobs(model, packed)[0]
    stepwise = torch.stack([found[place - 1][int(ids[place])] for place in range(1, tokens)])
    difference = (stepwise - whole).abs()
    return {
        "logprob_difference_mean": float(difference.mean()),
        "logprob_difference_max": float(difference.max()),
    }


if __name__ == "__main__":
    main()
