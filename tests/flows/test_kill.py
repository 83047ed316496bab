"""SIGKILL at random moments: what was stored stays, and the run ends as if it had never been disturbed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_policy import save_tiny_policy

from sdar.schemas.errors import InputError
from sdar.storage import open_store

MOMENTS = int(os.environ.get("SDAR_KILLS", "20"))
SCRIPT = Path(__file__).with_name("driven_run.py")
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}

Ended = tuple[dict[str, str], float]


def drive(store: Path, policy: Path, kill_after: float | None) -> Ended | None:
    """Begin a run or go on; return its artifacts and seconds, or None when it was killed before its end."""
    command = [sys.executable, str(SCRIPT), str(store), str(policy)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        try:
            child.wait(kill_after)
        except subprocess.TimeoutExpired:
            child.kill()
            return None
        artifacts, seconds = json.loads(child.stdout.read())
        assert child.returncode == 0
        return artifacts, seconds


def stored(store: Path) -> set[tuple[int, str, str | None]]:
    """What a killed run left behind, after a check that it is whole."""
    try:
        opened = open_store(store, read_only=True)
    except InputError:  # killed before there was a store
        return set()
    assert opened.verify() == []
    return {(s.round, s.stage, s.artifact_id) for run in opened.runs() for s in opened.stage_runs(run.id)}


def test_a_run_that_goes_on_in_another_process_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    policy = save_tiny_policy(tmp_path / "policy")
    undisturbed = drive(tmp_path / "undisturbed", policy, None)
    assert undisturbed is not None
    expected, _ = undisturbed
    command = [sys.executable, str(SCRIPT), str(tmp_path / "killed"), str(policy), "9"]
    ended = subprocess.run(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(stored(tmp_path / "killed")) == 9
    resumed = drive(tmp_path / "killed", policy, None)
    assert resumed is not None
    assert resumed[0] == expected


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_run_that_is_killed_at_any_moment_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    policy = save_tiny_policy(tmp_path / "policy")
    undisturbed = drive(tmp_path / "undisturbed", policy, None)
    assert undisturbed is not None
    expected, seconds = undisturbed
    moments, kills, finished = random.Random(0), 0, 0
    while kills < MOMENTS:
        store, before = tmp_path / f"store{finished}", set[tuple[int, str, str | None]]()
        while (ended := drive(store, policy, moments.uniform(0, seconds))) is None:
            kills += 1
            after = stored(store)
            assert before <= after
            before = after
            if kills == MOMENTS:
                ended = drive(store, policy, None)
                break
        assert ended is not None
        assert ended[0] == expected
        assert len(stored(store)) == len(expected)
        finished += 1
    print(f"{kills} kills in {finished} runs")
