"""Environments are found by name: those of this package and those that other packages register."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from foreign_package import install

from sdar.envs import registry
from sdar.envs.household.environment import Household
from sdar.envs.registry import (
    BUILTIN,
    KINDS,
    environment_config,
    environment_factory,
    environment_kind,
    environment_names,
    missing_extra,
)
from sdar.schemas.errors import EnvironmentMissingError

WORLDS = """
from sdar.envs.base import EnvironmentKind
from sdar.envs.household.environment import Household

def bare(config):
    return Household(config.house)

def unfinished():
    import a_module_that_is_not_there
KIND = EnvironmentKind("other name", "A house.", lambda: bare, {"env.max_steps": 7}, {"rooms": 3})
HALF = EnvironmentKind("half", "Cannot be imported.", unfinished)
NUMBER = 3
"""


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {name: f"foreign_worlds:{value}" for name, value in _POINTS.items()}
    site = install(
        tmp_path, "foreign", {"foreign_worlds.py": WORLDS}, {**points, "gone": "no_such_module:KIND"}
    )
    monkeypatch.syspath_prepend(site)
    monkeypatch.delitem(sys.modules, "foreign_worlds", raising=False)


_POINTS = {"cottage": "KIND", "hut": "bare", "half": "HALF", "number": "NUMBER", "household": "KIND"}


def test_the_built_in_ones_are_registered_under_their_names() -> None:
    assert "household" in BUILTIN
    assert all(kind.name == name for name, kind in BUILTIN.items())
    assert set(BUILTIN) <= set(environment_names())
    assert [name for name, kind in BUILTIN.items() if kind.starter] == ["household"]


@pytest.mark.usefixtures("foreign")
def test_other_packages_register_a_kind_or_a_bare_factory() -> None:
    assert {"cottage", "hut", "half", "number", "gone"} <= set(environment_names())
    cottage, hut = environment_kind("cottage"), environment_kind("hut")
    assert (cottage.name, cottage.settings, cottage.options) == (
        "cottage",
        {"env.max_steps": 7},
        {"rooms": 3},
    )
    assert (hut.name, hut.settings, hut.options, hut.starter) == ("hut", {}, {}, False)
    assert "foreign" in hut.summary
    config = environment_config("cottage")
    assert (config.name, config.max_steps) == ("cottage", 7)
    assert isinstance(environment_factory("hut")(environment_config("hut")), Household)


@pytest.mark.usefixtures("foreign")
def test_a_built_in_name_cannot_be_taken() -> None:
    assert environment_kind("household") is BUILTIN["household"]


@pytest.mark.usefixtures("foreign")
def test_what_cannot_be_used_says_why() -> None:
    with pytest.raises(EnvironmentMissingError, match=r"no_such_module:KIND.*ModuleNotFoundError"):
        environment_kind("gone")
    with pytest.raises(EnvironmentMissingError, match="is a int; allowed: an EnvironmentKind, or a function"):
        environment_kind("number")
    with pytest.raises(EnvironmentMissingError, match=r"a_module_that_is_not_there.*repair the package"):
        environment_factory("half")
    with pytest.raises(EnvironmentMissingError, match=r"'castle' is not installed; installed are: .*cottage"):
        environment_kind("castle")


@pytest.mark.usefixtures("foreign")
def test_kinds_are_imported_only_when_they_are_asked_for() -> None:
    assert "gone" in list(KINDS)
    assert len(KINDS) == len(environment_names())
    assert "castle" not in KINDS
    assert "foreign_worlds" not in sys.modules
    assert KINDS["hut"].name == "hut"
    assert "foreign_worlds" in sys.modules


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = replace(BUILTIN["household"], name="far", extra="no_such_extra")
    assert missing_extra(kind) == "pip install 'sdar[no_such_extra]'"
    assert missing_extra(BUILTIN["household"]) == ""
    assert missing_extra(replace(kind, extra="numpy")) == ""
    monkeypatch.setitem(registry.BUILTIN, "far", kind)
    with pytest.raises(EnvironmentMissingError, match=r"pip install 'sdar\[no_such_extra\]'"):
        environment_factory("far")


def test_listing_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "import sdar.envs.pytest_plugin\n"
        "assert not {'numpy', 'pydantic', 'yaml', 'sdar.schemas.config'} & set(sys.modules)\n"
        "from sdar.envs.registry import environment_kind, environment_names, missing_extra\n"
        "for name in environment_names():\n"
        "    missing_extra(environment_kind(name))\n"
        "heavy = {'torch', 'faiss', 'textworld', 'alfworld', 'bm25s', 'gymnasium'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "worlds = {name for name in sys.modules if name.endswith('.environment')}\n"
        "assert not worlds, worlds\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
