"""The shipped banks of all environments can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

import sdar.skills
from sdar.envs.registry import BUILTIN
from sdar.skills.files import builtin_skills

SHIPPED = sorted(file.parent.parent.name for file in Path(sdar.skills.__file__).parent.glob("*/*/SKILL.md"))


@pytest.mark.parametrize("environment", sorted(set(SHIPPED)))
def test_a_shipped_bank_is_read_whole_and_belongs_to_its_environment(environment: str) -> None:
    bank = builtin_skills(environment)
    assert environment in BUILTIN
    assert len(bank) == SHIPPED.count(environment) >= 8
    assert {skill.environment for skill in bank} == {environment}
