"""An update on several devices: one process for each, started for the stage and gone after it.

The ranks get files and give files; they know nothing of the store. Whatever ends one of them ends them all,
and the stage fails with nothing stored; whatever ends this process ends them too.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.distributed.fsdp import FSDPModule
from transformers import PreTrainedModel

from sdar.policy.memory import TokenBudget
from sdar.rl.masters import trained_weights
from sdar.schemas.config import PolicyConfig
from sdar.schemas.errors import ConfigError, EnvironmentMissingError, RankFailedError
from sdar.schemas.records import UpdateReport
from sdar.tasks.rank_files import FAILURE, WEIGHT, Plan, read_parts, read_reports, write_plan
from sdar.tasks.trained import restore_optimiser

LOOK_S = 0.1
"""Seconds between two looks at the ranks."""
SHOWN_LINES = 3
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
"""On a CPU weights come and go layer by layer: glibc is to give such blocks back, not to keep them."""


def check_devices(policy: PolicyConfig) -> None:
    """Check that there are as many devices as are configured.

    Raises:
        ConfigError: there are fewer.
        EnvironmentMissingError: this torch cannot shard a model as it is done here.
    """
    if policy.devices == 1:
        return
    found = torch.cuda.device_count()
    if policy.device == "cuda" and found < policy.devices:
        raise ConfigError(
            f"policy.devices is {policy.devices}, but torch sees {found} CUDA devices; allowed: 1 to "
            f"{max(found, 1)}, or more processes on a CPU. Next: --devices {max(found, 1)}, or "
            "--set policy.device=cpu"
        )
    if not hasattr(FSDPModule, "set_force_sum_reduction_for_comms"):
        raise EnvironmentMissingError(
            f"policy.devices is {policy.devices}, for which gradients are summed by FSDP2; torch "
            f"{torch.__version__} can only average them. Next: pip install --upgrade torch, or --devices 1"
        )


def learn_in_ranks(
    plan: Plan,
    model: PreTrainedModel,
    optimiser: torch.optim.Optimizer,
    budget: TokenBudget,
    logs: Path,
) -> list[UpdateReport]:
    """Take the optimiser steps of a plan in `plan.settings.devices` processes.

    Args:
        plan: what to do.
        model: the policy on the CPU; gets the new weights.
        optimiser: over its weights; gets the new state.
        budget: padded tokens of a rank's pass; when one of them runs out of memory all begin anew with half.
        logs: folder for what the ranks write to their standard error.

    Returns:
        One report per mini-batch.

    Raises:
        RankFailedError: a rank failed, or was ended from outside.
        MemoryExceededError: one row alone does not fit into memory.
    """
    check_devices(plan.settings)
    torch.cuda.empty_cache()  # what sampling left in this process's cache is memory that rank 0 could use
    logs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sdar-ranks-") as scratch:
        folder = Path(scratch)
        write_plan(folder, plan)

        def attempt(tokens: int) -> Path:
            result = Path(tempfile.mkdtemp(dir=folder))
            _run(plan.settings.devices, folder, result, tokens, logs)
            return result

        result = budget.fit(attempt, [len(each.row.token_ids) for each in plan.rows])
        _take_back(read_parts(result, plan.settings.devices), model, optimiser)
        return read_reports(result)


def _take_back(
    tensors: Mapping[str, torch.Tensor], model: PreTrainedModel, optimiser: torch.optim.Optimizer
) -> None:
    with torch.no_grad():
        for index, weight in enumerate(trained_weights(model)):
            weight.copy_(tensors[f"{WEIGHT}.{index}"])
    restore_optimiser(optimiser, tensors)


def _run(count: int, folder: Path, result: Path, tokens: int, logs: Path) -> None:
    """Start the ranks and wait until all are done, or one of them is not to be waited for."""
    files = [logs / f"update-rank{number}.log" for number in range(count)]
    commands = [
        [sys.executable, "-m", "sdar.tasks.rank_main", str(folder), str(result), str(number), str(tokens)]
        for number in range(count)
    ]
    with _processes(commands, files) as ranks:
        while any(rank.poll() is None for rank in ranks) and not any(rank.poll() for rank in ranks):
            time.sleep(LOOK_S)
        codes = [rank.poll() for rank in ranks]  # once more: who failed first ended before who was seen first
    _check(codes, result / FAILURE, files)


@contextmanager
def _processes(
    commands: Sequence[list[str]], logs: Sequence[Path]
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start processes whose standard input ends when this process does; none is left behind."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command, log in zip(commands, logs, strict=True):
            with log.open("wb") as stream:
                # Ctrl-C in the terminal is for the command, which ends its ranks.
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=stream,
                    stderr=stream,
                    start_new_session=True,
                    env=MEMORY | os.environ,
                )
            started.append(process)
        yield started
    finally:
        for process in started:
            process.kill()
        for process in started:
            with process:
                pass


def _check(codes: Sequence[int | None], failure: Path, logs: Sequence[Path]) -> None:
    failed = {number: code for number, code in enumerate(codes) if code}
    if not failed:
        return
    told = json.loads(failure.read_text(encoding="utf-8")) if failure.is_file() else None
    killed = [number for number, code in failed.items() if code < 0]
    if told is not None and told["memory"] and not killed:
        raise torch.OutOfMemoryError(told["error"])
    number = killed[0] if killed else told["rank"] if told else min(failed)
    if killed:
        what = f"was ended by {signal.Signals(-failed[number]).name}"
    elif told:
        what = f"failed with {told['error']}"
    else:
        last = logs[number].read_text(errors="replace").strip().splitlines()[-SHOWN_LINES:]
        what = f"ended with exit code {failed[number]} ({' / '.join(last) or 'no output'})"
    raise RankFailedError(
        f"rank {number} of the {len(codes)} processes that shared the update {what}; its log is "
        f"{logs[number]}. Nothing of the stage was stored, what was stored before it is whole. Next: "
        "sdar run --resume; a process that the system ends for its memory needs a lower policy.token_budget"
    )
