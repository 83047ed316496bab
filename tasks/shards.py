"""Batches of a stage's work: done in this process, or handed to others as Arrow files in a shared folder.

A stage cuts its work into batches and asks a `BatchMap` to do them. What shares a batch is the stage's choice
and decides the last bits of the numbers; which process does it is not and does not. Nothing here opens a
store: other processes read a policy's files and a batch, and write its result.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa
import torch

from sdar.envs.workers import use_workers
from sdar.policy.model import Policy, load_policy
from sdar.schemas.errors import EnvironmentFailedError, SharedFolderError
from sdar.schemas.keys import content_hash, file_hash
from sdar.storage import read_tables, write_tables

Item = TypeVar("Item")
Result = TypeVar("Result")
Tables = Mapping[str, pa.Table]

GIVEN, DONE = "in", "out"


@dataclass(frozen=True)
class PolicyFiles:
    """Where a policy's files are and on which device it runs: all that another process needs of it."""

    folder: Path
    base: Path | None
    device: str


class Job(Protocol[Item, Result]):
    """What a stage does with each of its batches; it is sent to other processes, so its fields are small."""

    @property
    def policy(self) -> PolicyFiles:
        """The policy that `run` is given."""
        ...

    def run(self, policy: Policy, batch: Sequence[Item]) -> Result:
        """Do one batch."""
        ...

    def write_batch(self, batch: Sequence[Item]) -> Tables:
        """Return a batch as Arrow tables."""
        ...

    def read_batch(self, tables: Tables) -> list[Item]:
        """Return what `write_batch` was given."""
        ...

    def write_result(self, result: Result) -> Tables:
        """Return a result as Arrow tables."""
        ...

    def read_result(self, tables: Tables) -> Result:
        """Return what `write_result` was given."""
        ...


class BatchMap(Protocol):
    """Does the batches of a job, wherever that is, and returns their results in order."""

    def __call__(
        self, job: Job[Item, Result], policy: Policy, batches: Sequence[Sequence[Item]]
    ) -> list[Result]:
        """Do the batches.

        Args:
            job: what is done with each of them.
            policy: the policy of `job.policy` as it is loaded in this process.
            batches: each is done as a whole.
        """
        ...


def in_process(job: Job[Item, Result], policy: Policy, batches: Sequence[Sequence[Item]]) -> list[Result]:
    """Do the batches here, one after another: the model has all threads to itself."""
    return [job.run(policy, batch) for batch in batches]


@dataclass(frozen=True)
class Shard:
    """Some of a job's batches: what is sent to a process, and small.

    Attributes:
        job: what is done with each batch.
        folder: where the batches lie and the results go.
        numbers: which batches.
        threads: of torch; as many everywhere, for sums of parts depend on the number of parts.
        workers: processes of worlds that need them, see `use_workers`.
        installation: of the process that cut the shard, see `installation`.
    """

    job: Job[Any, Any]
    folder: Path
    numbers: tuple[int, ...]
    threads: int
    workers: int
    installation: str


Submit = Callable[[Sequence[Shard]], None]
"""Has every shard done by `do_shard`, in any process, and returns when all of them are."""


def through_files(folder: Path, shards: int, submit: Submit, workers: int = 0) -> BatchMap:
    """Return a map that writes batches as Arrow files, has them done elsewhere and reads the results.

    Args:
        folder: seen under this path by every process that takes part; files in it are gone afterwards.
        shards: into how many parts a job is cut at most.
        submit: has shards done.
        workers: see `Shard`.
    """
    ours = installation()

    def map_batches(
        job: Job[Item, Result], policy: Policy, batches: Sequence[Sequence[Item]]
    ) -> list[Result]:
        place = folder.resolve() / uuid.uuid4().hex
        place.mkdir(parents=True)
        try:
            for number, batch in enumerate(batches):
                write_tables(_folder(place, number, GIVEN), job.write_batch(batch))
            # Dealt out in turn: batches get shorter towards the end where they are sorted by length.
            dealt = [tuple(range(first, len(batches), shards)) for first in range(min(shards, len(batches)))]
            threads = torch.get_num_threads()
            submit([Shard(job, place, numbers, threads, workers, ours) for numbers in dealt])
            return [job.read_result(_read(_folder(place, i, DONE))) for i in range(len(batches))]
        finally:
            shutil.rmtree(place, ignore_errors=True)

    return map_batches


_one_at_a_time = threading.Lock()
"""A process may be given several shards at once; the threads of torch and the worlds' workers are for one."""


def do_shard(shard: Shard) -> int:
    """Do a shard's batches in this process and return how many there were left to do.

    A shard that is done again, because the process that had it died, goes on at its first missing batch.

    Raises:
        EnvironmentFailedError: other code would do it here than in the process that cut it.
        SharedFolderError: its batches are not where they should be.
        SdarError: what the job found wrong.
    """
    if shard.installation != installation():
        raise EnvironmentFailedError(
            f"on {socket.gethostname()} a worker has {installation()}, the run has {shard.installation}. "
            "Every machine of a cluster needs the same installation, and a worker keeps what it has loaded. "
            "Next: install the same there, start its workers again, then sdar run --resume"
        )
    with _one_at_a_time:
        torch.set_num_threads(shard.threads)
        use_workers(shard.workers)
        left = [n for n in shard.numbers if not _folder(shard.folder, n, DONE).is_dir()]
        for number in left:
            batch = shard.job.read_batch(_read(_folder(shard.folder, number, GIVEN)))
            result = shard.job.run(_loaded(shard.job.policy), batch)
            write_tables(_folder(shard.folder, number, DONE), shard.job.write_result(result))
        return len(left)


@cache
def installation() -> str:
    """Return what decides about numbers besides settings: versions, and our source as this process has it."""
    root = Path(__file__).parents[1]
    found = (Path(folder, name) for folder, _, names in os.walk(root, followlinks=True) for name in names)
    files = {path.relative_to(root).as_posix(): file_hash(path) for path in found if path.suffix == ".py"}
    versions = [f"{name} {version(name)}" for name in ("sdar", "numpy", "torch", "transformers")]
    return f"{', '.join(versions)}, source {content_hash(files)[:12]}"


@lru_cache(maxsize=3)
def _loaded(files: PolicyFiles) -> Policy:
    # The folder's name is the hash of its content, so what was loaded from it once stays right.
    return load_policy(files.folder, files.device, files.base)


def _folder(place: Path, number: int, kind: str) -> Path:
    return place / f"{number}.{kind}"


def _read(folder: Path) -> dict[str, pa.Table]:
    try:
        return read_tables(folder)
    except FileNotFoundError as error:
        raise SharedFolderError(
            f"{folder} is not there for this process on {socket.gethostname()}, though another one has "
            "written it. The folder of the store must be the same folder, under the same path, on every "
            "machine of a cluster. "
            "Next: put the store on a file system that all of them mount, or use --runner local"
        ) from error
