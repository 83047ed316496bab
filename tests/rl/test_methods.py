from __future__ import annotations

import os
import subprocess
import sys
from functools import reduce
from typing import Any

import pytest

from sdar.rl.methods import METHODS, Method, method
from sdar.schemas.config import RunConfig
from sdar.schemas.errors import ConfigError


def _configured(name: str) -> RunConfig:
    values: dict[str, Any] = {"method": name}
    for path, value in method(name).settings.items():
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
    assert list(METHODS) == ["sdar", "sdar_paper", "grpo", "opsd", "grpo_opsd"]
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
    ablation = _configured("grpo_opsd").sdar
    assert ablation == paper.model_copy(update={"gate": "half"})


def test_unknown_methods_are_answered_with_the_nearest_and_all_names() -> None:
    with pytest.raises(ConfigError, match=r"'gpro'\. Did you mean grpo\? Allowed: sdar, sdar_paper, grpo"):
        method("gpro")
    with pytest.raises(ConfigError, match=r"'zzzzz'\. Allowed:"):
        method("zzzzz")


def test_the_registry_costs_no_torch() -> None:
    code = "import sys, sdar.rl.methods; sys.exit('torch' in sys.modules)"
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=paths)
