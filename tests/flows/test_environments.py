"""`--env`, options of an environment's own, and `sdar envs` as a user meets them."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdar.envs import registry
from sdar.envs.base import EnvironmentKind
from sdar.envs.household.environment import Household
from sdar.flows import cli
from sdar.schemas.config import EnvironmentConfig, RunConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.resolve import change, resolve
from sdar.tasks.study import define_study

Capture = pytest.CaptureFixture[str]
METHODS: dict[str, dict[str, Any]] = {"sdar": {}, "grpo": {"rollout.tasks": 16}}
MANSION = EnvironmentKind(
    "mansion",
    "A house with many rooms.",
    lambda: lambda config: Household(config.house),
    settings={"env.max_steps": 30, "rollout.tasks": 8, "rollout.group_size": 3, "evaluation.every": 7},
    options={"rooms": 12, "owner": "nobody", "haunted": False, "scale": 1.0},
)
WORLDS = {"household": replace(MANSION, name="household", settings={}, options={}, starter=True)} | {
    "mansion": MANSION
}


@pytest.fixture(autouse=True)
def _mansion(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILTIN, "mansion", MANSION)


def sdar(capsys: Capture, *arguments: object) -> tuple[int, str, str]:
    code = cli.execute([str(each) for each in arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def options(*texts: str, file: Path | None = None) -> dict[str, Any]:
    return dict(resolve(METHODS, file, ["env.name=mansion", *texts], WORLDS).config.env.options)


def test_an_environment_stands_between_the_defaults_and_the_method(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("env: {name: mansion}\nrollout.group_size: 5\n")
    resolved = resolve(METHODS, file, ["method=grpo", "evaluation.every=2"], WORLDS)
    config = resolved.config
    assert (config.env.name, config.env.max_steps) == ("mansion", 30)
    assert (config.rollout.tasks, config.rollout.group_size, config.evaluation.every) == (16, 5, 2)
    assert resolved.origins["env.max_steps"] == "from environment mansion"
    assert resolved.origins["rollout.tasks"] == "from method grpo"
    assert resolved.origins["rollout.group_size"] == f"from {file}"
    assert resolved.origins["evaluation.every"] == "from the command line"
    assert resolved.origins["env.options"] == "default"
    assert resolve(METHODS, None, [], WORLDS).config == RunConfig()


def test_options_have_the_type_of_their_default(tmp_path: Path) -> None:
    assert options() == {}
    typed = options("env.options.rooms=9", "env.options.owner=007", "env.options.scale=2")
    assert typed == {"rooms": 9, "owner": "007", "scale": 2.0}
    assert isinstance(typed["scale"], float)
    file = tmp_path / "run.toml"
    file.write_text("[env.options]\nhaunted = true\nrooms = 4\n")
    assert options("env.options.rooms=5", file=file) == {"haunted": True, "rooms": 5}
    assert options("env.options={rooms: 2, owner: me}") == {"rooms": 2, "owner": "me"}


def test_all_faults_of_options_come_at_once() -> None:
    wrong = [
        "env.options.romms=3",
        "env.options.rooms=many",
        "env.options.haunted=1",
        "env.options.scale=true",
        "env.options.zzz=1",
    ]
    with pytest.raises(ConfigError) as caught:
        options(*wrong, "sdar.gaet=gap")
    text = str(caught.value)
    assert "6 faults" in text
    assert "env.options.romms: found an unknown option (from the command line); allowed: " in text
    assert "Did you mean env.options.rooms?" in text
    assert text.count("Did you mean env.options") == 1
    assert "env.options.rooms: found 'many' (from the command line); allowed: an integer." in text
    assert "env.options.haunted: found '1' (from the command line); allowed: true or false." in text
    assert "env.options.scale: found 'true' (from the command line); allowed: a number." in text
    assert "Did you mean sdar.gate?" in text


@pytest.mark.parametrize("texts", [["env.options=3"], ["env.options.a=[1, 2]"], ["env.options.a={"]])
def test_options_without_a_known_environment_are_single_values(texts: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"has 1 fault:\n  env\.options"):
        resolve(METHODS, None, texts)
    assert resolve(METHODS, None, ["env.options.a=1"]).config.env.options == {"a": 1}


def test_an_unknown_environment_is_a_fault_with_the_nearest_name(capsys: Capture) -> None:
    code, _, error = sdar(capsys, "run", "--env", "mansoin", "--set", "sdar.gaet=gap")
    assert code == 2
    assert "2 faults" in error
    assert "env.name: found 'mansoin' (from the command line); allowed: " in error
    assert "Did you mean mansion?" in error


def test_the_shipped_starter_is_for_the_household_only(capsys: Capture) -> None:
    assert resolve(METHODS, None, ["env.name=mansion"], WORLDS).config.policy.path == "bootstrap"
    assert resolve(METHODS, None, [], WORLDS).config.policy.path == "starter"
    code, _, error = sdar(capsys, "run", "--env", "mansion", "--set", "policy.path=starter")
    assert code == 2
    assert "policy.path: found 'starter' (from the command line); allowed: " in error
    assert "bootstrap, or a folder, which `sdar bootstrap --env mansion --out FOLDER` makes" in error


def test_a_stored_run_keeps_its_environment_and_takes_options() -> None:
    config = resolve(METHODS, None, ["env.name=mansion", "env.options.rooms=3"], WORLDS).config
    changed = change(config, ["env.options.owner=me", "update.epochs=2"], WORLDS)
    assert changed.env.options == {"rooms": 3, "owner": "me"}
    assert changed.env.max_steps == 30
    with pytest.raises(ConfigError, match=r"Did you mean env\.options\.owner"):
        change(config, ["env.options.ower=me"], WORLDS)
    with pytest.raises(ConfigError, match=r"env\.name: found 'household'; allowed: .*or a new run"):
        change(config, ["env.name=household"], WORLDS)


def test_arms_of_a_study_have_the_environment_below_the_protocol_and_the_method() -> None:
    arms = ["here: env.name=household", "big: env.options.rooms=40"]
    study = define_study(["grpo"], arms, "0", overrides=["env.name=mansion"], rounds=2)
    by_label = {arm.label: arm.run_config(0) for arm in study.arms}
    assert [config.env.name for config in by_label.values()] == ["mansion", "household", "mansion"]
    # The environment's 7 gives way to the protocol's 5, and its group size to the one of grpo.
    assert {config.evaluation.every for config in by_label.values()} == {5}
    assert (by_label["grpo"].env.max_steps, by_label["grpo"].rollout.group_size) == (30, 8)
    assert (by_label["big"].rollout.group_size, by_label["big"].env.options) == (3, {"rooms": 40})
    assert by_label["here"].env.max_steps == RunConfig().env.max_steps


def test_the_shown_configuration_can_be_read_back(capsys: Capture, tmp_path: Path) -> None:
    given = ("--env", "mansion", "--set", "env.options.rooms=3")
    code, shown, _ = sdar(capsys, "config", "show", *given)
    assert code == 0
    assert "env.max_steps: 30  # from environment mansion" in shown
    assert 'env.options: {"rooms": 3}  # from the command line' in shown
    file = tmp_path / "shown.yaml"
    file.write_text(shown)
    _, again, _ = sdar(capsys, "config", "show", "--config", file, "--json")
    _, direct, _ = sdar(capsys, "config", "show", *given, "--json")
    assert json.loads(again) == json.loads(direct)
    assert sdar(capsys, "config", "check", *given)[0] == 0


@pytest.mark.parametrize(
    "command",
    [
        ("run", "--env", "far"),
        ("bootstrap", "--env", "far", "--out", "x"),
        ("compare", "--env", "far", "--methods", "sdar,grpo"),
        ("envs", "play", "far"),
        ("envs", "check", "far"),
    ],
)
def test_a_missing_extra_is_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, tmp_path: Path, command: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(registry.BUILTIN, "far", replace(MANSION, name="far", extra="no_such_extra"))
    code, _, error = sdar(capsys, *command)
    assert code == 3
    assert "pip install 'sdar[no_such_extra]'" in error
    assert list(tmp_path.iterdir()) == []


def test_the_list_says_what_is_installed_and_counts_tasks_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def broken(_: EnvironmentConfig) -> Household:
        raise ConfigError("no data folder")

    for name in [name for name in registry.BUILTIN if name not in ("household", "mansion")]:
        monkeypatch.delitem(registry.BUILTIN, name)
    monkeypatch.setitem(registry.BUILTIN, "far", replace(MANSION, name="far", extra="no_such_extra"))
    monkeypatch.setitem(registry.BUILTIN, "empty", replace(MANSION, name="empty", load=lambda: broken))
    rows = {row["name"]: row for row in json.loads(sdar(capsys, "envs", "list", "--json")[1])}
    assert rows["mansion"]["state"] == "installed"
    assert rows["mansion"]["options"] == dict(MANSION.options)
    assert rows["far"]["state"] == "missing: pip install 'sdar[no_such_extra]'"
    assert "tasks" not in rows["mansion"]
    text = sdar(capsys, "envs", "list", "--tasks")[1]
    assert "train 1440, seen 360, unseen 360" in text
    assert "no data folder" in text


def play(monkeypatch: pytest.MonkeyPatch, capsys: Capture, lines: str, *arguments: str) -> str:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    code, told, error = sdar(capsys, "envs", "play", "household", *arguments)
    assert code == 0, error
    return told


def test_a_person_plays_line_by_line(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    task = Household().tasks("unseen")[2]
    told = play(monkeypatch, capsys, "?\ngo to fridge 1\nfly\n", "--split", "unseen", "--task", task.id)
    assert f"Task {task.id} ({task.type})\nGoal: {task.goal}\n" in told
    assert "\ngo to bed 1\n" in told
    assert "> go to fridge 1\nYou" in told
    assert "> fly\nNothing happens.\n[not a valid action]\n" in told
    assert told.endswith("Ended before the episode was over: 2 actions, return 0.\n")
    assert f"Task {task.id} " in play(monkeypatch, capsys, "", "--split", "unseen", "--task", "2")
    end = play(monkeypatch, capsys, "look\nlook\n", "--set", "env.max_steps=1")
    assert end.count("[A policy's episode ends here, after env.max_steps=1 actions.]") == 1


def test_the_expert_plays_to_the_end(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    told = play(monkeypatch, capsys, "", "--expert", "--seed", "3")
    assert "[reward 1]" in told
    assert "The episode is over: the goal is reached, " in told
    assert told == play(monkeypatch, capsys, "", "--expert", "--seed", "3")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--split", "nowhere"), "household has no split 'nowhere'; allowed: --split train, seen, unseen"),
        (("--task", "99999"), "no task '99999'; allowed: --task 0 to 1439 or an id such as household/0/"),
    ],
)
def test_what_cannot_be_played_is_refused(capsys: Capture, arguments: tuple[str, ...], message: str) -> None:
    code, _, error = sdar(capsys, "envs", "play", "household", *arguments)
    assert code == 2
    assert message in error


def test_a_world_without_expert_says_so(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    class Shy(Household):
        def expert(self) -> Any:
            return None

    monkeypatch.setitem(registry.BUILTIN, "shy", replace(MANSION, name="shy", load=lambda: lambda _: Shy()))
    code, _, error = sdar(capsys, "envs", "play", "shy", "--expert")
    assert code == 2
    assert "has no expert. Play it yourself" in error


def test_check_prints_faults_and_measures(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    class Careless(Household):
        def step(self, action: str) -> Any:
            return replace(super().step(action), valid=True)

    monkeypatch.setattr("sdar.envs.measure.SPEED_EPISODES", 5)
    code, told, _ = sdar(capsys, "envs", "check", "household", "--episodes", "3", "--leaks", "100")
    assert code == 0, told
    assert "Rules kept: tasks, splits, answers, determinism, invalid actions" in told
    assert "steps/s (" in told
    assert "Growth over 69 episodes after the warm-up: " in told
    assert told.endswith("household: no faults\n")
    careless = replace(MANSION, name="careless", load=lambda: lambda _: Careless())
    monkeypatch.setitem(registry.BUILTIN, "careless", careless)
    code, told, _ = sdar(capsys, "envs", "check", "careless", "--episodes", "3")
    assert code == 1
    assert "invalid actions: 'xyzzy' is no action, but was answered with" in told
    assert told.rstrip().endswith("faults")
