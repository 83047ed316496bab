"""Where batches of a stage's work are done: in this process, or as Prefect tasks on Ray or Dask.

What a task is given is small: a stage's settings and the folder in which its batches lie as Arrow files. Only
the flow's process writes the store; others read policies in its `blobs/` and exchange files in `shards/`.
"""

from __future__ import annotations

import logging
import pickle
import shutil
import socket
import traceback
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sdar.flows.environment import prepare_environment
from sdar.schemas.config import RunConfig, RunnerKind
from sdar.schemas.errors import ConfigError, EnvironmentFailedError, EnvironmentMissingError
from sdar.schemas.machine import cores

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner

    from sdar.tasks.shards import BatchMap, Shard

RETRIES = 3
"""How often a shard is done again when the process that had it dies; Dask's own default, too."""
_OUTSIDE = ("ray", "distributed", "prefect")
"""Packages whose errors are about the cluster, not about what a shard does."""
_PACKAGES = {"ray": ("prefect_ray", "ray"), "dask": ("prefect_dask", "distributed")}
_BEGINNINGS = {("prefect_ray", "__enter__"), ("prefect_dask", "client")}
"""Where Prefect's task runners start their cluster or connect to it: package and function."""
REACH_S = 10.0
"""Seconds in which a cluster's port has to take a connection; Dask itself tries for 30 s, Ray for minutes."""


@dataclass(frozen=True)
class Cluster:
    """Who does batches: `task_runner` for the flow, `mapper` for its stages; None is this process."""

    task_runner: TaskRunner[Any] | None = None
    mapper: BatchMap | None = None


def with_runner(config: RunConfig, kind: RunnerKind | None) -> RunConfig:
    """Return the configuration with another runner, if one is given."""
    if kind is None:
        return config
    return config.model_copy(update={"runner": config.runner.model_copy(update={"kind": kind})})


def check_runner(config: RunConfig) -> None:
    """Check that the configured runner is installed and has something to share out.

    Raises:
        EnvironmentMissingError: its extra is not installed.
        ConfigError: the round is one batch.
    """
    kind = config.runner.kind
    if kind == "local":
        return
    missing = [name for name in _PACKAGES[kind] if find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise EnvironmentMissingError(
            f"runner.kind is {kind}, but {' and '.join(missing)} {verb} not installed. "
            f"Next: pip install 'sdar[{kind}]', or --runner local"
        )
    if not config.rollout.batch:
        raise ConfigError(
            f"runner.kind is {kind}, but rollout.batch is 0: all episodes of a round are one batch, which "
            "one machine plays. Allowed: from 1; each batch has its own padding, so its size shows in the "
            "last bits of log-probs. Next: --set rollout.batch=16"
        )


def open_cluster(config: RunConfig, folder: Path) -> Cluster:
    """Return who does the batches of a run; a cluster of our own starts and ends with the flow.

    Args:
        config: of the run.
        folder: for the files that processes exchange; what an earlier run left there is removed.

    Raises:
        EnvironmentMissingError, ConfigError: see `check_runner`.
        EnvironmentFailedError: nobody listens at the cluster's address.
    """
    check_runner(config)
    shutil.rmtree(folder, ignore_errors=True)
    if config.runner.kind == "local":
        return Cluster()
    check_address(config)
    from sdar.tasks.shards import through_files

    runner = ray_runner(config) if config.runner.kind == "ray" else dask_runner(config)
    options = ray_options(config) if config.runner.kind == "ray" else {}

    def submit(shards: Sequence[Shard]) -> None:
        _submit(shards, options)

    return Cluster(runner, through_files(folder, config.runner.shards, submit, config.workers))


def check_address(config: RunConfig) -> None:
    """Check that somebody listens at the cluster's address, where that is a host and a port.

    The cluster's own client would try for long, and Dask's only when the first round is under way.

    Raises:
        EnvironmentFailedError: nobody does.
    """
    address = config.runner.address
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        port = place.port
    except ValueError:  # the cluster's client knows what to say
        return
    if place.scheme not in ("", "tcp", "tls", "ray") or not place.hostname or port is None:
        return
    try:
        socket.create_connection((place.hostname, port), REACH_S).close()
    except OSError as error:
        raise EnvironmentFailedError(_not_begun(config.runner.kind, address, error)) from error


@contextmanager
def cluster_checked(config: RunConfig) -> Iterator[None]:
    """Say what to do when the cluster of the `with` block does not start, or does not answer.

    Raises:
        EnvironmentFailedError: that is so; other errors stay as they are.
    """
    try:
        yield
    except Exception as error:
        places = {
            (str(frame.f_globals.get("__name__")).split(".")[0], frame.f_code.co_name)
            for frame, _ in traceback.walk_tb(error.__traceback__)
        }
        if not places & _BEGINNINGS:
            raise
        raise EnvironmentFailedError(_not_begun(config.runner.kind, config.runner.address, error)) from error


def ray_runner(config: RunConfig) -> TaskRunner[Any]:
    """Return Prefect's task runner for the configured Ray cluster, or for one of this machine's cores."""
    from prefect_ray import RayTaskRunner

    start: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not config.runner.address:  # `local`: else a cluster that happens to run here would be joined
        own = {"address": "local", "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        start |= {**own, "num_cpus": max(cores(), threads(config))}
    runner: TaskRunner[Any] = RayTaskRunner(address=config.runner.address or None, init_kwargs=start)
    return runner


def ray_options(config: RunConfig) -> dict[str, Any]:
    """Return what a shard needs of a Ray node: a GPU where the policy runs on one, and a core per thread."""
    options = {"num_cpus": threads(config), "max_retries": RETRIES}
    return {**options, "num_gpus": 1} if config.policy.device == "cuda" else options


def dask_runner(config: RunConfig) -> TaskRunner[Any]:
    """Return Prefect's task runner for the configured Dask cluster, or for one of this machine's cores."""
    from prefect_dask import DaskTaskRunner

    ours = {
        "n_workers": max(cores() // threads(config), 1),
        "threads_per_worker": 1,
        "host": "127.0.0.1",
        "dashboard_address": None,
    }
    address = config.runner.address or None
    runner: TaskRunner[Any] = DaskTaskRunner(address=address, cluster_kwargs=None if address else ours)
    return runner


def threads(config: RunConfig) -> int:
    """Return the threads of torch in this run."""
    return config.policy.threads or cores()


def _submit(shards: Sequence[Shard], options: dict[str, Any]) -> None:
    """Have shards done by the flow's task runner, and raise what the first faulty one raised."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    runs = task(name="shard", cache_policy=NO_CACHE, persist_result=False)(do_pickled_shard)
    with _remote(options):
        futures = [runs.submit(pickle.dumps(shard)) for shard in shards]
    for future in futures:
        future.wait()  # none may be at work any more when the files are removed
    for future in futures:
        try:
            future.result()
        except Exception as error:
            if type(error).__module__.split(".")[0] not in _OUTSIDE:
                raise
            raise EnvironmentFailedError(_lost(error)) from error


def _not_begun(kind: str, address: str, error: Exception) -> str:
    where = f"the {kind} cluster at {address} does not answer" if address else f"{kind} does not start here"
    running = (
        "If it runs: HOST:PORT is for the machines of a cluster, ray://HOST:10001 for others; where it has a "
        "token, both want RAY_AUTH_MODE=token and the ~/.ray/auth_token of its head. "
    )
    return (
        f"{where} ({type(error).__name__}: {' '.join(str(error).split())}). "
        f"{running if kind == 'ray' and address else ''}"
        f"Next: {'start it, then sdar run --resume; or ' if address else ''}"
        "sdar run --resume --runner local"
    )


def _lost(error: Exception) -> str:
    return (
        f"a shard was given up, for the cluster lost it again and again ({type(error).__name__}: {error}). "
        "The usual reasons are too little memory for a batch, and machines that went away. "
        "Next: sdar run --resume --runner local, or a new run with a smaller rollout.batch"
    )


def _remote(options: dict[str, Any]) -> AbstractContextManager[Any]:
    if not options:
        return nullcontext()
    from prefect_ray.context import remote_options

    remote: AbstractContextManager[Any] = remote_options(**options)
    return remote


def do_pickled_shard(shard: bytes) -> int:
    """Do a shard in the process of a cluster, see `do_shard`; as bytes, for Prefect looks into arguments."""
    prepare_environment()
    from sdar.tasks.shards import do_shard

    unpacked: Shard = pickle.loads(shard)
    return do_shard(unpacked)
