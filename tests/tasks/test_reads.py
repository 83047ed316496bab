"""What enters a stage's key is what the stage reads: no less, and nothing that does not exist."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from small_runs import SmallRun, inputs_of, small_config

from sdar.schemas.config import RunConfig
from sdar.skills import files
from sdar.tasks.registry import IRRELEVANT, STAGES
from sdar.tasks.stage import LATER, Stage, read_fields, source_hash


def leaves(model: BaseModel, prefix: str = "") -> list[str]:
    found = []
    for name in type(model).model_fields:
        value = getattr(model, name)
        found += leaves(value, f"{prefix}{name}.") if isinstance(value, BaseModel) else [prefix + name]
    return found


BUILTIN_SKILLS = Path(files.__file__).parent / "household"
FIELDS = leaves(RunConfig())


def covered(path: str, reads: tuple[str, ...] | dict[str, str]) -> bool:
    return any(path == read or path.startswith(f"{read}.") for read in reads)


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_is_read_by_a_stage_or_irrelevant_for_a_reason(path: str) -> None:
    read = any(covered(path, stage.reads) for stage in STAGES.values())
    assert read != (path in IRRELEVANT)


def test_irrelevant_fields_exist_and_have_a_reason() -> None:
    assert set(IRRELEVANT) <= set(FIELDS)
    assert all(len(reason.split()) > 3 for reason in IRRELEVANT.values())


@pytest.mark.parametrize("stage", STAGES)
def test_declared_fields_exist(stage: str, policy_path: Path) -> None:
    spec = STAGES[stage]
    assert set(spec.reads) - set(LATER) <= set(read_fields(small_config(policy_path), spec))
    for read in spec.reads:
        assert any(covered(path, (read,)) for path in FIELDS)


class Recorder:
    """A configuration that remembers which settings were looked at."""

    def __init__(self, part: BaseModel, seen: set[str], prefix: str = "") -> None:
        self._part, self._seen, self._prefix = part, seen, prefix

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._part, name)
        path = self._prefix + name
        if isinstance(value, BaseModel):
            return Recorder(value, self._seen, f"{path}.")
        self._seen.add(path)
        return value


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_only_what_it_declares(
    finished: SmallRun, extended: SmallRun, stage: str, tmp_path: Path
) -> None:
    seen: set[str] = set()
    fingerprinted: set[str] = set()
    run = finished if any(name == stage for _, name in finished.artifacts) else extended
    number = max(number for number, name in run.artifacts if name == stage)
    given = inputs_of(run, stage, number, tmp_path)
    recorded = dataclasses.replace(given, config=Recorder(given.config, seen))  # type: ignore[arg-type]
    STAGES[stage].run(recorded)
    if (fingerprint := STAGES[stage].fingerprint) is not None:
        fingerprint(Recorder(given.config, fingerprinted))  # type: ignore[arg-type]
    declared = (*STAGES[stage].reads, *fingerprinted, *IRRELEVANT)
    undeclared = {path for path in seen if not covered(path, declared)}
    assert seen
    assert undeclared == set()


@pytest.mark.parametrize("stage", ["bootstrap", "bank"])
def test_files_outside_the_store_are_part_of_the_key(stage: str, policy_path: Path, tmp_path: Path) -> None:
    policy, bank = tmp_path / "policy", tmp_path / "bank"
    shutil.copytree(policy_path, policy)
    shutil.copytree(BUILTIN_SKILLS, bank)
    config = small_config(policy, {"skills": {"path": str(bank)}})
    before = read_fields(config, STAGES[stage])
    assert read_fields(config, STAGES[stage]) == before
    changed = {"bootstrap": policy / "tokenizer.json", "bank": next(bank.glob("*/SKILL.md"))}[stage]
    changed.write_text(changed.read_text() + "more\n")
    assert read_fields(config, STAGES[stage]) != before


def test_a_source_that_changes_meanwhile_did_not_make_the_artifact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a_stage_of_a_test.py"
    file.write_text("def run(inputs): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    stage = Stage("made-up", 1, (), import_module(file.stem).run)
    before = source_hash(stage)
    file.write_text("def run(inputs): return 1\n")
    assert source_hash(stage) == before == hashlib.sha256(b"def run(inputs): ...\n").hexdigest()


@pytest.mark.parametrize(
    "stage", ["panel", "collect", "evaluate", "evaluate_with_skills", "trial", "distill"]
)
@pytest.mark.parametrize("world", ["search_qa", "webshop", "alfworld"])
def test_the_data_of_a_world_are_part_of_the_key(
    stage: str, world: str, policy_path: Path, tmp_path: Path
) -> None:
    file = {
        "search_qa": tmp_path / "questions.jsonl",
        "webshop": tmp_path / "human_goals.json",
        "alfworld": tmp_path / "train" / "pick" / "trial" / "game.tw-pddl",
    }[world]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("first")
    config = small_config(policy_path, {"env": {"name": world, "data": str(tmp_path)}})
    before = read_fields(config, STAGES[stage])
    assert read_fields(config, STAGES[stage]) == before
    file.write_text("second")
    after = read_fields(config, STAGES[stage])
    assert {name for name in after if after[name] != before[name]} == {"env.content"}
    assert "env.content" not in read_fields(config, STAGES[stage], files=False)
    assert "env.content" not in read_fields(small_config(policy_path), STAGES[stage])


def test_settings_that_came_later_leave_the_keys_of_older_stores_alone(policy_path: Path) -> None:
    update = STAGES["update"]
    assert "function" not in read_fields(small_config(policy_path), update)["reward"]
    given = small_config(policy_path, {"reward": {"function": "json:dumps"}})
    assert read_fields(given, update)["reward"]["function"] == "json:dumps"
    for name in ("collect", "evaluate", "evaluate_with_skills"):
        assert not any(
            path.startswith("reward") for path in read_fields(small_config(policy_path), STAGES[name])
        )
        assert read_fields(given, STAGES[name])["reward.function"] == "json:dumps"
