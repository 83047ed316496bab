"""`sdar.improve`: the same rounds as `sdar run`, called from a program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_runs import small_config
from tiny_policy import save_tiny_policy

import sdar
from sdar.envs.base import EnvironmentKind
from sdar.envs.registry import environment_factory, environment_kind, environment_names
from sdar.flows.api import read_settings
from sdar.schemas.errors import ConfigError, EnvironmentMissingError
from sdar.tasks.session import Session


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    policy = save_tiny_policy(tmp_path_factory.mktemp("policy") / "tiny")
    return small_config(policy).model_dump(mode="json", exclude_unset=True)


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)


@pytest.fixture(scope="module")
def improved(settings: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> sdar.Improvement:
    return sdar.improve(settings, store=tmp_path_factory.mktemp("improved") / "store", quiet=True)


def test_the_result_says_what_the_store_says(improved: sdar.Improvement) -> None:
    store = sdar.open_store(improved.store)
    curve = [(each.round, each.success, each.low, each.high) for each in improved.learning_curve]
    stored = store.learning_curve(improved.run_id).select(["round", "success", "low", "high"]).to_pylist()
    assert curve == [tuple(row.values()) for row in stored]
    assert [each.round for each in improved.learning_curve] == [0, 2]
    assert (improved.verdict.stop, improved.verdict.round) == (True, 2)
    assert improved.policy is not None
    assert (improved.policy / "model.safetensors").is_file()
    (run,) = store.runs().to_pylist()
    assert (run["id"], run["status"]) == (improved.run_id, "done")


def test_the_same_call_again_computes_nothing(
    improved: sdar.Improvement, settings: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    again = sdar.improve(sdar.RunConfig.model_validate(settings), store=improved.store)
    assert (again.verdict, again.policy) == (improved.verdict, improved.policy)
    assert again.run_id != improved.run_id
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("round")]
    assert len(lines) == 6 + 4 + 6  # round 1 has no evaluation
    assert all("  reused  " in line for line in lines)


def test_all_ways_to_give_settings_come_to_the_same(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("method: grpo\nrollout:\n  tasks: 3\n")
    ways: list[Any] = [
        {"method": "grpo", "rollout": {"tasks": 3}},
        {"method": "grpo", "rollout.tasks": 3},
        sdar.RunConfig.model_validate({"method": "grpo", "rollout": {"tasks": 3}}),
        file,
        str(file),
    ]
    first, *others = [read_settings(way, rounds=7) for way in ways]
    assert all(other == first for other in others)
    assert (first.rollout.tasks, first.stop.rounds) == (3, 7)
    assert first.sdar.coefficient == 0  # what the method sets, below what was said
    assert read_settings(None) == read_settings({})
    assert read_settings({"policy.path": tmp_path}).policy.path == str(tmp_path)


def test_faults_in_settings_come_together() -> None:
    with pytest.raises(ConfigError, match="2 faults") as caught:
        sdar.improve({"sdar.gaet": "gap", "sdar.beta": -1})
    assert "Did you mean sdar.gate?" in str(caught.value)
    assert "found -1 (from the program)" in str(caught.value)


def test_an_interruption_is_recorded(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "execute", interrupt)
    with pytest.raises(KeyboardInterrupt):
        sdar.improve(settings, store=tmp_path / "store", quiet=True)
    (run,) = sdar.open_store(tmp_path / "store").runs().to_pylist()
    assert run["status"] == "interrupted"


def test_importing_it_imports_nothing() -> None:
    code = (
        "import sys\nbefore = set(sys.modules)\nimport sdar\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert new - sys.stdlib_module_names == {'sdar'}, new\n"
        "assert set(sdar.__all__) == set(dir(sdar))\n"
        "sdar.improve, sdar.RunConfig, sdar.SdarError, sdar.register_environment\n"
        "heavy = {'torch', 'prefect', 'duckdb', 'transformers', 'faiss', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert all(getattr(sdar, name) for name in sdar.__all__)\n"
        "try:\n    sdar.no_such\nexcept AttributeError as error:\n    assert 'no_such' in str(error)\n"
    )
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_an_environment_is_registered_for_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdar.envs.registry._REGISTERED", {})
    with pytest.raises(EnvironmentMissingError):
        environment_kind("mine")
    household = environment_kind("household")
    kind = EnvironmentKind("mine", "A world.", household.load, settings={"env.max_steps": 5})
    sdar.register_environment(kind)
    assert "mine" in environment_names()
    assert environment_factory("mine") == household.load()
    assert read_settings({"env.name": "mine"}).env.max_steps == 5
    for refused in (
        EnvironmentKind("household", "", household.load),
        EnvironmentKind("w", "", household.load, workers=True),
    ):
        with pytest.raises(ConfigError, match="Allowed:"):
            sdar.register_environment(refused)


def test_a_reward_of_ones_own_is_stored_and_a_changed_one_is_computed_anew(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_reward.py").write_text("def brisk(episode, task):\n    return -len(episode.turns)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_reward", raising=False)
    given = {**settings, "reward.function": "my_reward:brisk"}
    store = tmp_path / "store"
    sdar.improve(given, store=store, rounds=1, quiet=True)
    # The tiny policy never succeeds within its four turns.
    assert set(sdar.open_store(store).episodes()["episode_return"].to_pylist()) == {-4.0}
    panel = sdar.open_store(store).sql("SELECT DISTINCT mean_return FROM evaluation").to_pylist()
    assert panel == [{"mean_return": -4.0}]
    (tmp_path / "my_reward.py").write_text("def brisk(episode, task):\n    return 2 * len(episode.turns)\n")
    del sys.modules["my_reward"]
    sdar.improve(given, store=store, rounds=1, quiet=True)
    assert set(sdar.open_store(store).episodes()["episode_return"].to_pylist()) == {8.0}


def test_a_missing_reward_is_told_before_anything_is_recorded(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"no_such_module:brisk"):
        sdar.improve({**settings, "reward.function": "no_such_module:brisk"}, store=tmp_path / "store")
    assert sdar.open_store(tmp_path / "store").runs().num_rows == 0
