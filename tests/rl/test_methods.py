from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from sdar.rl import methods
from sdar.rl.methods import METHODS, Method, Setting, method
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError


def _configured(name: str) -> RunConfig:
    return _with_settings(name, method(name).settings)


def _with_settings(name: str, given: Mapping[str, Setting]) -> RunConfig:
    values: dict[str, Any] = {"method": name}
    for path, value in given.items():
        *sections, field = path.split(".")
        section: dict[str, Any] = reduce(lambda node, key: node.setdefault(key, {}), sections, values)
        section[field] = value
    return RunConfig.model_validate(values)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_a_valid_configuration(name: str) -> None:
    config = _configured(name)
    for path, value in method(name).settings.items():
        parsed: Any = config
        for key in path.split("."):
            parsed = getattr(parsed, key)
        assert parsed == value


def test_names_summaries_and_sources() -> None:
    files = {path.stem for path in Path(methods.__file__).parent.glob("[!_]*.py")} - {"base"}
    assert set(METHODS) == files
    assert next(iter(METHODS)) == "sdar"
    for name, entry in METHODS.items():
        assert isinstance(entry, Method)
        assert entry.name == name
        assert entry.summary.endswith(".")
        assert "arXiv" in entry.source


def test_switches_that_define_the_methods() -> None:
    assert _configured("sdar") == RunConfig()
    paper = _configured("sdar_paper").sdar
    assert (paper.gate, paper.beta, paper.divergence, paper.coefficient, paper.teacher) == (
        "gap",
        5.0,
        "sampled",
        0.1,
        "live",
    )
    assert _configured("grpo").sdar.coefficient == 0.0
    assert _configured("grpo").update.policy_coefficient == 1.0
    assert _configured("opsd").update.policy_coefficient == 0.0
    for name in ("sdar_paper_entropy", "sdar_paper_soft_or"):
        gate = name.removeprefix("sdar_paper_")
        assert _configured(name).sdar == paper.model_copy(update={"gate": gate})
    ablation = _configured("grpo_opsd").sdar
    assert ablation == paper.model_copy(update={"gate": "half"})


REWARD_ONLY = ("grpo", "dr_grpo", "dapo", "gigpo", "skill_grpo", "rlsd", "agent_opsd")
DISTILLING = (
    "sdar_paper",
    "sdar_paper_entropy",
    "sdar_paper_soft_or",
    "sdar_centred",
    "grpo_opsd",
    "skill_sd",
)


@pytest.mark.parametrize("name", REWARD_ONLY + DISTILLING)
def test_policy_gradients_share_grouping_rate_and_policy_loss(name: str) -> None:
    config, grpo = _configured(name), _configured("grpo")
    assert (config.rollout.tasks, config.rollout.group_size) == (16, 8)
    assert (config.update.learning_rate, config.update.policy_coefficient) == (1e-4, 1.0)
    assert (config.sdar.coefficient == 0.0) == (name in REWARD_ONLY)
    assert config.update.policy_loss == grpo.update.policy_loss == "clipped"


@pytest.mark.parametrize("name", METHODS)
def test_all_methods_play_the_same_number_of_episodes_a_round(name: str) -> None:
    rollout = _configured(name).rollout
    assert rollout.tasks * rollout.group_size == 128


def test_methods_differ_from_grpo_in_their_own_settings_only() -> None:
    grpo = dict(METHODS["grpo"].settings)
    own = {
        name: {path: value for path, value in METHODS[name].settings.items() if grpo.get(path) != value}
        for name in REWARD_ONLY
    }
    assert own == {
        "grpo": {},
        "dr_grpo": {"advantage.normalize_std": False, "update.aggregation": "sequence_sum"},
        "dapo": {
            "update.clip_low": 0.2,
            "update.clip_high": 0.28,
            "rollout.resample": 2,
            "update.aggregation": "token_mean",
        },
        "gigpo": {
            "advantage.credit": "anchor",
            "advantage.credit_weight": 1.0,
            "advantage.discount": 0.95,
        },
        "skill_grpo": {"rollout.with_skills": True, "evaluation.with_skills_always": True},
        "rlsd": {
            "advantage.credit": "teacher_ratio",
            "advantage.credit_share": 0.5,
            "advantage.credit_rounds": 100,
            "advantage.credit_clip": 0.2,
            "sdar.teacher": "live",
        },
        "agent_opsd": {
            "advantage.credit": "turn_belief",
            "advantage.credit_share": 0.5,
            "advantage.credit_clip": 0.2,
            "advantage.discount": 0.95,
            "sdar.teacher": "live",
        },
    }


def test_untrained_methods_end_after_one_evaluation() -> None:
    vanilla, prompted = _configured("vanilla"), _configured("skill_prompt")
    assert vanilla.stop.rounds == prompted.stop.rounds == 0
    assert not vanilla.evaluation.with_skills
    assert not prompted.evaluation.with_skills
    assert (vanilla.evaluation.prompt, prompted.evaluation.prompt) == ("plain", "skills")


@pytest.mark.parametrize("name", METHODS)
def test_every_file_opens_with_its_paper(name: str) -> None:
    text = (Path(methods.__file__).parent / f"{name}.py").read_text()
    docstring = ast.get_docstring(ast.parse(text))
    assert docstring
    assert "arXiv" in docstring.splitlines()[0]
    assert len(docstring.splitlines()) > 2


def test_unknown_methods_are_answered_with_the_nearest_and_all_names() -> None:
    with pytest.raises(ConfigError, match=r"'gpro'\. Did you mean grpo\? Allowed: sdar, .*rft\. See"):
        method("gpro")
    with pytest.raises(ConfigError, match=r"'zzzzz'\. Allowed:"):
        method("zzzzz")


def test_the_worked_example_is_a_method_that_changes_the_default() -> None:
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text()
    code = re.search(r"```python\n(\"\"\"Ours.*?)```", text, re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    assert isinstance(names["METHOD"], Method)
    assert names["METHOD"].name not in METHODS
    example = _with_settings("sdar_fading", names["METHOD"].settings)
    assert example.sdar == RunConfig().sdar.model_copy(update={"schedule": "cosine", "schedule_rounds": 30})


def test_the_registry_costs_no_torch() -> None:
    code = "import sys, sdar.rl.methods; sys.exit('torch' in sys.modules)"
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=paths)
