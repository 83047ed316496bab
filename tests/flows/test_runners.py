"""Runners: what they need, and real local clusters that lose a worker and give the same artifacts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cluster_run import cluster_config
from mortal_job import FATAL, NOTES
from small_runs import run_all
from tiny_policy import save_tiny_policy

from sdar.flows import runners
from sdar.flows.cli import execute
from sdar.flows.runners import (
    Cluster,
    check_address,
    check_runner,
    cluster_checked,
    open_cluster,
    ray_options,
    with_runner,
)
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError, EnvironmentFailedError, EnvironmentMissingError

SCRIPT = Path(__file__).with_name("cluster_run.py")


def configured(kind: str, batch: int = 2, **policy: object) -> RunConfig:
    return RunConfig.model_validate({"runner": {"kind": kind}, "rollout": {"batch": batch}, "policy": policy})


def at(kind: str, address: str) -> RunConfig:
    return RunConfig.model_validate({"runner": {"kind": kind, "address": address}, "rollout": {"batch": 2}})


@pytest.mark.parametrize("kind", ["ray", "dask"])
def test_a_runner_that_is_not_installed_is_told_with_its_extra(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentMissingError, match=rf"prefect_{kind} .*pip install 'sdar\[{kind}\]'"):
        check_runner(configured(kind))
    check_runner(configured("local", 0))


def test_a_round_of_one_batch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "find_spec", lambda name: object())
    with pytest.raises(ConfigError, match=r"rollout\.batch is 0.*--set rollout\.batch=16"):
        check_runner(configured("ray", 0))
    check_runner(configured("ray", 1))


def test_the_command_line_checks_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runners, "find_spec", lambda name: None)
    assert execute(["run", "--runner", "dask", "--store", str(tmp_path / "store")]) == 3
    assert "pip install 'sdar[dask]'" in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_local_needs_no_cluster_and_leftover_files_go(tmp_path: Path) -> None:
    (tmp_path / "shards" / "left").mkdir(parents=True)
    assert open_cluster(configured("local", 0), tmp_path / "shards") == Cluster(None, None)
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    ("kind", "module", "function", "message"),
    [
        ("ray", "prefect_ray.task_runners", "__enter__", r"ray does not start here \(OSError: no port\)"),
        ("dask", "prefect_dask.task_runners", "client", r"dask .* Next: sdar run --resume --runner local"),
    ],
)
def test_a_cluster_that_does_not_start_is_told_with_the_next_command(
    kind: str, module: str, function: str, message: str
) -> None:
    runner: dict[str, Any] = {"__name__": module}
    exec(f"def {function}(): raise OSError('no port')\ndef submit(): raise OSError('of a shard')", runner)
    with pytest.raises(EnvironmentFailedError, match=message), cluster_checked(configured(kind)):
        runner[function]()
    with pytest.raises(OSError, match="of a shard"), cluster_checked(configured(kind)):
        runner["submit"]()


@pytest.mark.parametrize(("kind", "scheme"), [("ray", ""), ("ray", "ray://"), ("dask", "tcp://")])
def test_an_address_at_which_nobody_listens_is_told_at_once(
    kind: str, scheme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "find_spec", lambda name: object())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"{scheme}127.0.0.1:{listener.getsockname()[1]}"
        check_address(at(kind, address))
    with pytest.raises(EnvironmentFailedError, match=rf"{kind} cluster at {address} does not ") as told:
        open_cluster(at(kind, address), tmp_path / "shards")
    assert ("RAY_AUTH_MODE=token" in str(told.value)) == (kind == "ray")


@pytest.mark.parametrize("address", ["", "auto", "local", "ray://head", "inproc://127.0.0.1/1/1", "head:x"])
def test_an_address_without_a_port_is_left_to_the_cluster(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "create_connection", lambda *_: pytest.fail("connected"))
    check_address(at("ray", address))


def test_another_runner_changes_nothing_else() -> None:
    config = configured("local")
    assert with_runner(config, None) is config
    assert with_runner(config, "ray") == configured("ray")


def test_ray_keeps_a_core_per_thread_and_a_gpu_for_a_shard() -> None:
    assert ray_options(configured("ray", threads=3)) == {"num_cpus": 3, "max_retries": 3}
    on_gpu = ray_options(configured("ray", threads=1, device="cuda"))
    assert on_gpu == {"num_cpus": 1, "max_retries": 3, "num_gpus": 1}


@pytest.mark.parametrize(
    "kind", [pytest.param("ray", marks=pytest.mark.ray), pytest.param("dask", marks=pytest.mark.dask)]
)
@pytest.mark.timeout(1500)
def test_a_worker_that_is_killed_costs_its_batch_and_changes_nothing(kind: str, tmp_path: Path) -> None:
    policy = save_tiny_policy(tmp_path / "policy")
    expected = run_all(tmp_path / "expected", cluster_config(policy))
    tests = [str(SCRIPT.parent), *(str(SCRIPT.parents[1] / name) for name in ("tasks", "policy"))]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_API")}
    environment["PYTHONPATH"] = os.pathsep.join([*tests, environment["PYTHONPATH"]])
    environment[NOTES] = str(tmp_path)
    # On a busy machine a connection can take longer than Dask's 30 s; Ray's 30 s for its start are fixed.
    environment["DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"] = "300s"
    command = [sys.executable, str(SCRIPT), str(tmp_path / "store"), str(policy), kind]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1400)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {f"{number} {stage}": made for (number, stage), made in expected.artifacts.items()}

    begun = [line.split() for line in (tmp_path / "begun").read_text().splitlines()]
    assert Counter(int(group) for group, _ in begun) == {0: 1, 1: 1, FATAL: 2, 3: 1}
    assert len({process for group, process in begun if int(group) == FATAL}) == 2
    assert str(os.getpid()) not in {process for _, process in begun}
    assert not list((tmp_path / "store" / "shards").iterdir())
