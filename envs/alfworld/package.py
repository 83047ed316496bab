"""The data inside the `alfworld` package: rules, texts, rooms.

It is read from the package's files, because importing the package makes a folder in the user's home; only its
two modules of constants are executed.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from sdar.schemas.errors import EnvironmentMissingError

INSTALL = "pip install 'sdar[alfworld]' (it compiles a planner: needs g++, make and cmake)"


@dataclass(frozen=True)
class Rules:
    """What holds in every ALFWorld game; all type names in lower case.

    Attributes:
        domain: the PDDL domain.
        grammar: the text grammar, with `UNKNOWN GOAL` in place of the task.
        goals: by family: the PDDL of its goal and the templates of its sentence.
        accepts: by type of receptacle: the types of object that can be put there.
        openable: types of receptacle that open and close.
        affords: `heatable`, `coolable`, `cleanable`, `sliceable`: the types of object that are so.
        carriers: types of object that can hold others, such as a bowl.
        rooms: by family: the kinds of room in which it is played.
    """

    domain: str
    grammar: str
    goals: Mapping[str, tuple[str, tuple[str, ...]]]
    accepts: Mapping[str, frozenset[str]]
    openable: frozenset[str]
    affords: Mapping[str, frozenset[str]]
    carriers: frozenset[str]
    rooms: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Layout:
    """One AI2-THOR room: how many receptacles of each type it has, and which types of object."""

    scene: str
    receptacles: Mapping[str, int]
    objects: frozenset[str]


def folder() -> Path:
    """Return the folder of the installed `alfworld` package.

    Raises:
        EnvironmentMissingError: the package, or the engine that it needs, is not installed.
    """
    for name in ("alfworld", "textworld", "fast_downward"):
        if importlib.util.find_spec(name) is None:
            raise EnvironmentMissingError(
                f"environment 'alfworld' needs the package {name!r}, which is not installed. Next: {INSTALL}"
            )
    spec = importlib.util.find_spec("alfworld")
    assert spec is not None
    return Path(next(iter(spec.submodule_search_locations or ())))


@lru_cache(maxsize=1)
def rules() -> Rules:
    """Return the rules that every game shares."""
    root = folder()
    constants, library = _module(root / "gen/constants.py"), _module(root / "gen/goal_library.py")
    movable = set(constants.MOVABLE_RECEPTACLES)
    affords: dict[str, set[str]] = constants.VAL_ACTION_OBJECTS
    return Rules(
        domain=(root / "data/alfred.pddl").read_text(encoding="utf-8"),
        grammar=(root / "data/alfred.twl2").read_text(encoding="utf-8"),
        goals={name: (each["pddl"], tuple(each["templates"])) for name, each in library.gdict.items()},
        accepts={
            place.lower(): _lower(things)
            for place, things in constants.VAL_RECEPTACLE_OBJECTS.items()
            if place not in movable
        },
        openable=_lower(set(constants.OPENABLE_CLASS_LIST) - movable),
        affords={name.lower(): _lower(things) for name, things in affords.items()},
        carriers=_lower(movable),
        rooms={family: _lower(kinds) for family, kinds in constants.GOALS_VALID.items()},
    )


@lru_cache(maxsize=1)
def layouts() -> Mapping[str, Layout]:
    """Return the rooms by scene name, in the order of their numbers."""
    found = (folder() / "gen/layouts").glob("*-openable.json")
    scenes = sorted((path.name.removesuffix("-openable.json") for path in found), key=scene_number)
    return {scene: _layout(scene) for scene in scenes}


def scene_number(scene: str) -> int:
    """Return the number in a scene's name: `FloorPlan301` is 301."""
    return int(scene.removeprefix("FloorPlan"))


def receptacle_type(identifier: str) -> str:
    """Return the type of receptacle that an AI2-THOR id such as `Sink|-01.90|+00.97|-01.50` names."""
    name = identifier.split("|")[0].lower()
    return {"sink": "sinkbasin", "bathtub": "bathtubbasin"}.get(name, name)


def receptacle_ids(scene: str) -> list[str]:
    """Return the AI2-THOR ids of the receptacles that the package lists for a room; lamps are not listed."""
    return list(json.loads((folder() / f"gen/layouts/{scene}-openable.json").read_text(encoding="utf-8")))


def _layout(scene: str) -> Layout:
    things = json.loads((folder() / f"gen/layouts/{scene}-objects.json").read_text(encoding="utf-8"))
    counts: dict[str, int] = {}
    for each in receptacle_ids(scene):
        counts[receptacle_type(each)] = counts.get(receptacle_type(each), 0) + 1
    return Layout(scene, counts, _lower(set(things)))


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"_sdar_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _lower(names: set[str]) -> frozenset[str]:
    return frozenset(name.lower() for name in names)
