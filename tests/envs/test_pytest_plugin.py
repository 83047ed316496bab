"""The pytest plugin as another project meets it: in a process of its own, with an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from foreign_package import install

WORLDS = """
from dataclasses import replace
from sdar.envs.household.environment import Household

class Careless(Household):
    def step(self, action):
        return replace(super().step(action), valid=True)

def make(config):
    return Careless(config.house)
"""
TESTS = """
from careless_worlds import make

def test_a_name(check_environment):
    check_environment("household")

def test_a_factory(check_environment):
    check_environment(make)
"""


def test_rules_become_tests_and_the_fixture_fails_with_every_fault(tmp_path: Path) -> None:
    install(tmp_path, "foreign", {"careless_worlds.py": WORLDS}, {"careless": "careless_worlds:make"})
    (tmp_path / "test_mine.py").write_text(TESTS)
    words = [
        *(sys.executable, "-m", "pytest", "-p", "sdar.envs.pytest_plugin", "-p", "no:cacheprovider", "-rA"),
        *("--sdar-env", "household", "--sdar-env", "careless", "--sdar-episodes", "3", "-k", "not expert"),
    ]
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        words,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    outcomes = {line for line in done.stdout.splitlines() if line.startswith(("PASSED", "FAILED"))}
    passed = {line.removeprefix("PASSED ") for line in outcomes if line.startswith("PASSED")}
    failed = {line.partition(" - ")[0] for line in outcomes if line.startswith("FAILED")}
    rules = ("tasks", "splits", "answers", "determinism", "admissible actions", "order", "demonstrations")
    assert {"test_mine.py::test_a_name", "sdar-env[household-invalid actions]"} <= passed
    assert {f"sdar-env[{name}-{rule}]" for name in ("household", "careless") for rule in rules} <= passed
    assert failed == {"FAILED test_mine.py::test_a_factory", "FAILED sdar-env[careless-invalid actions]"}
    assert "invalid actions: 'xyzzy' is no action, but was answered with StepResult" in done.stdout
    assert "2 failed, 16 passed, 2 deselected" in done.stdout
