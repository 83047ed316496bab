from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.resolve import Setting, flatten, resolve, settings

METHODS = {"sdar": {}, "grpo": {"sdar.coefficient": 0.0, "sdar.gate": "none"}}


def test_nothing_given_is_the_default() -> None:
    resolved = resolve(METHODS)
    assert resolved.config == RunConfig()
    assert set(resolved.origins.values()) == {"default"}


def test_later_layers_win(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("method: grpo\nsdar:\n  gate: entropy\n  beta: 2\nupdate.epochs: 3\n")
    resolved = resolve(METHODS, file, ["sdar.beta=7", "update.learning_rate=1e-3"])
    assert resolved.config.sdar.coefficient == 0.0  # the method
    assert resolved.config.sdar.gate == "entropy"  # the file over the method
    assert resolved.config.sdar.beta == 7.0  # the command line over the file
    assert resolved.config.update.epochs == 3
    assert resolved.config.update.learning_rate == pytest.approx(1e-3, abs=0)
    assert resolved.origins["sdar.coefficient"] == "from method grpo"
    assert resolved.origins["sdar.gate"] == f"from {file}"
    assert resolved.origins["sdar.beta"] == "from the command line"


def test_toml_is_read(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text("seed = 5\n[stop]\nminutes = 2.5\n")
    config = resolve(METHODS, file).config
    assert (config.seed, config.stop.minutes) == (5, 2.5)


def test_text_settings_are_taken_as_written() -> None:
    assert resolve(METHODS, overrides=["env.name=123"]).config.env.name == "123"
    assert resolve(METHODS, overrides=["stop.minutes=null"]).config.stop.minutes is None


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("rolout:\n  tasks: 3\nsdar: 4\nstop: {target: 1.5}\n")
    wrong = [
        "method=gpro",
        "sdar.gate=entrpy",
        "rollout.temprature=1",
        "nonsense",
        "policy.path=/no/such/dir",
    ]
    with pytest.raises(ConfigError) as caught:
        resolve(METHODS, file, wrong)
    text = str(caught.value)
    assert "8 faults" in text
    assert "method: found 'gpro' (from the command line); allowed: sdar, grpo. Did you mean grpo?" in text
    assert "sdar.gate: found 'entrpy'" in text
    assert "Did you mean entropy?" in text
    assert "Did you mean rollout.temperature?" in text
    assert "Did you mean rollout.tasks?" in text
    assert "sdar: found 4" in text
    assert f"stop.target: found 1.5 (from {file}); allowed: a number >= 0.0 and <= 1.0" in text
    assert "--set: found 'nonsense'" in text
    assert "policy.path: found '/no/such/dir'" in text
    assert "sdar config schema" in text


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("none.yaml", None, "No such file"),
        ("list.yaml", "- 1\n", "a list in"),
        ("broken.yaml", "a: [1\n", "readable YAML or TOML"),
        ("twice.yaml", "stop: {rounds: 3}\nseed: 1\nstop: {target: 0.5}\n", "'stop' is given twice.*line 3"),
        ("inner.yaml", "stop: {rounds: 3, rounds: 4}\n", "'rounds' is given twice"),
        ("broken.toml", "a = \n", "readable YAML or TOML"),
    ],
)
def test_unreadable_files(tmp_path: Path, name: str, content: str | None, expected: str) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigError, match=expected):
        resolve(METHODS, file)


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing\n")
    assert resolve(METHODS, file).config == RunConfig()


def test_sizes_that_nobody_means_are_refused_together() -> None:
    sizes = ["rollout.tasks", "rollout.group_size", "rollout.batch", "evaluation.panel_size", "workers"]
    sizes += ["policy.token_budget", "policy.engine_memory", "warmstart.hidden"]
    with pytest.raises(ConfigError) as caught:
        resolve(METHODS, overrides=[f"{path}=999999999999" for path in sizes])
    told = str(caught.value)
    assert [path for path in sizes if f"{path}: found 999999999999" not in told] == []
    assert "an integer > 0 and <= 1000000" in told


def test_every_setting_is_described() -> None:
    described = settings()
    undocumented = [s.path for s in described if not s.meaning and "." in s.path]
    assert undocumented == []
    assert {s.path for s in described} == set(flatten(RunConfig().model_dump()))


@given(st.sampled_from(settings()))
def test_a_default_given_by_hand_changes_nothing(setting: Setting) -> None:
    text = "null" if setting.default is None else str(setting.default)
    assert resolve(METHODS, overrides=[f"{setting.path}={text}"]).config == RunConfig()


def test_a_section_within_a_section() -> None:
    found = resolve(METHODS, None, ["policy.lora.rank=8", "policy.threads=1"]).config.policy
    assert (found.lora.rank, found.lora.alpha, found.threads) == (8, 32, 1)
    with pytest.raises(ConfigError, match=r"policy\.lora\.rank: found -1 .* an integer >= 0"):
        resolve(METHODS, None, ["policy.lora.rank=-1"])
    with pytest.raises(ConfigError, match=r"policy\.lora\.rang.*an unknown setting.*policy\.lora\.rank"):
        resolve(METHODS, None, ["policy.lora.rang=8"])
