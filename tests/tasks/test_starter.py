"""The warm start of any environment: what it reads, what it refuses, and where its result is measured."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdar.envs import registry
from sdar.envs.demonstration import HasOthers
from sdar.envs.household.environment import Household
from sdar.policy.tokenizer import train_tokenizer
from sdar.schemas.config import EnvironmentConfig, RunConfig
from sdar.schemas.errors import ConfigError
from sdar.tasks import starter
from sdar.tasks.demonstrations import texts
from sdar.tasks.starter import demonstrating, make_starter, measure_starter

SMALL = {"steps": 1, "batch": 2, "vocabulary": 600, "hidden": 16, "layers": 1, "heads": 2}
TOKENIZER = "9d22fdd8b695047856c20f0640fa1a38f0c11831c019efefee880865c2b64ddf"
"""Hash of the file that 60 demonstrations of the household gave when the shipped starter was made."""


def config(**sections: dict[str, Any]) -> RunConfig:
    return RunConfig.model_validate({"warmstart": SMALL, "policy": {"threads": 1}, **sections})


def test_the_tokenizer_of_the_household_is_the_one_it_always_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter, "TOKENIZER_DEMONSTRATIONS", 60)
    losses: list[float] = []
    make_starter(tmp_path, config(), lambda progress: losses.append(progress.loss))
    assert hashlib.sha256((tmp_path / "tokenizer.json").read_bytes()).hexdigest() == TOKENIZER
    assert len(losses) == 1


def test_names_of_the_environment_stay_whole() -> None:
    world = Household()
    samples = [text for i in range(40) for text in texts(world.demonstration(i, 0, 0.5))] * 3
    numbered = train_tokenizer(samples, 800)
    words = train_tokenizer(samples, 800, r"\bcabinet\b|\d+")
    assert numbered.encode("go to cabinet 3").tokens[-1] == "cabinetĠ3"
    assert words.encode("go to cabinet 3").tokens[-3:] == ["cabinet", "Ġ", "3"]


def test_a_world_without_demonstrations_has_no_warm_start(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        name = "silent"

    kind = replace(registry.BUILTIN["household"], name="silent", load=lambda: lambda _: Silent())
    monkeypatch.setitem(registry.BUILTIN, "silent", kind)
    with pytest.raises(ConfigError, match=r"'silent': it shows no demonstrations.*policy\.path=FOLDER"):
        demonstrating(config(env={"name": "silent"}))


def test_the_household_has_eight_other_houses_with_their_own_skills() -> None:
    world = Household.from_config(EnvironmentConfig())
    assert isinstance(world, HasOthers)
    others = world.others()
    assert [other.settings["house"] for other in others] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert len({other.skills["what-heats"] for other in others}) > 1
    assert all(len(other.skills) == 16 for other in others)


def test_a_starter_is_measured_on_the_panel_and_in_other_worlds(
    policy_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(starter, "TASKS_PER_OTHER", 1)
    given = config(env={"max_steps": 2}, evaluation={"panel_size": 5})
    rows = measure_starter(policy_path, given)
    assert [(row["tasks_of"], row["skills"], row["tasks"]) for row in rows] == [
        ("panel", "without", 5),
        ("panel", "with", 5),
        ("8 other worlds", "without", 8),
        ("8 other worlds", "with", 8),
    ]
    assert all(0.0 <= row["low"] <= row["success"] <= row["high"] <= 1.0 for row in rows)  # type: ignore[operator]
    without = given.model_copy(update={"skills": given.skills.model_copy(update={"path": "empty"})})
    assert [row["skills"] for row in measure_starter(policy_path, without)] == ["without", "without", "with"]
