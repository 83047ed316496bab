"""A job of `collect` whose process is killed in the middle, once; see cluster_run.py."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sdar.policy.model import Policy
from sdar.schemas.records import Episode
from sdar.tasks.collect import PlayJob
from sdar.tasks.rollout import Assignment

NOTES = "MORTAL_JOB_NOTES"
FATAL = 2
"""The group of tasks that kills: the third batch, where a batch is a group."""


@dataclass(frozen=True)
class MortalJob(PlayJob):
    """Notes which batch is begun, and is killed at the first attempt of one of them."""

    def run(self, policy: Policy, batch: Sequence[Assignment]) -> list[Episode]:
        notes = Path(os.environ[NOTES])
        with (notes / "begun").open("a") as file:
            file.write(f"{batch[0].group} {os.getpid()}\n")
        if batch[0].group == FATAL and not (notes / "died").exists():
            (notes / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(policy, batch)
