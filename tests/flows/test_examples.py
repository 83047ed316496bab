"""The scripts of examples/ as their reader runs them."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

import sdar

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr("sdar.envs.registry._REGISTERED", {})


def run(monkeypatch: pytest.MonkeyPatch, name: str, store: Path) -> None:
    monkeypatch.setattr(sys, "argv", [name, str(store)])
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")


def test_own_reward_and_questions_to_its_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run(monkeypatch, "own_reward", tmp_path / "store")
    episodes = sdar.open_store(tmp_path / "store").sql(
        "SELECT e.round, e.ordinal, e.success, e.episode_return, count(*) AS turns, "
        "count(*) FILTER (NOT t.valid) AS invalid "
        "FROM collected_episode e JOIN turn t ON t.artifact_id = e.artifact_id AND t.episode_id = e.id "
        "GROUP BY ALL"
    )
    rows = episodes.to_pylist()
    assert len(rows) == 16
    for row in rows:
        expected = row["success"] - 0.03 * row["turns"] - 0.1 * row["invalid"]
        assert row["episode_return"] == pytest.approx(expected, abs=1e-12)
    capsys.readouterr()
    run(monkeypatch, "explore_store", tmp_path / "store")
    told = capsys.readouterr().out
    assert "sdar  done" in told
    assert " times, gap " in told
    assert " tokens in round 1, of 8 episodes" in told


@pytest.mark.slow
def test_own_environment_is_learnt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run(monkeypatch, "own_environment", tmp_path / "store")
    told = capsys.readouterr().out
    assert told.count(" without skills\n") == 3  # rounds 0, 4 and 8
    curve = sdar.open_store(tmp_path / "store").learning_curve().to_pylist()
    assert curve[-1]["low"] > curve[0]["high"]
