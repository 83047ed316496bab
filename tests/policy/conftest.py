"""Makes `tiny_policy` importable for the tests of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_policy import tiny_policy

from sdar.policy.model import Policy


@pytest.fixture(scope="session")
def policy() -> Policy:
    return tiny_policy()
