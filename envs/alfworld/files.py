"""Game files in ALFWorld's folder layout: the official ones, and those that `generate` writes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from sdar.envs.alfworld.game import FAMILIES, Wanted
from sdar.schemas.errors import ConfigError, InputError

FOLDERS = {"train": "train", "seen": "valid_seen", "unseen": "valid_unseen"}
"""ALFWorld's folder by split."""
GAME, TRAJECTORY = "game.tw-pddl", "traj_data.json"
GENERATE = "sdar envs alfworld generate --out DIR"
_GOAL = re.compile(r"Your task is to: (.*?)\.?(?:\\+\"|\")")


def data_root(data: str) -> Path | None:
    """Return the folder with the splits, or None where games are to be made from the package's own data.

    Args:
        data: `env.data`; empty takes `$ALFWORLD_DATA` if that has games.

    Raises:
        ConfigError: `data` names a folder without games.
    """
    named = data or os.environ.get("ALFWORLD_DATA", "")
    for root in (Path(named), Path(named) / "json_2.1.1") if named else ():
        if (root / "train").is_dir():
            return root
    if data:
        raise ConfigError(
            f"env.data={data!r} has no folder 'train' with ALFWorld games. Allowed: a folder with train/, "
            "valid_seen/ and valid_unseen/ (or json_2.1.1/ with these), or nothing for generated games. "
            f"Make one with: {GENERATE}"
        )
    return None


@lru_cache(maxsize=8)
def listed(root: Path, split: str) -> tuple[Mapping[str, Any], ...]:
    """Return the playable games of a split: path below the root, goal, what is wanted, family, scene.

    Games that ALFWorld itself leaves out (movable receptacles, slices, not solvable) are left out.
    """
    folder = root / FOLDERS[split]
    found = (_entry(root, path) for path in sorted(folder.rglob(GAME)))
    return tuple(each for each in found if each is not None)


def data_files(data: str) -> list[Path]:
    """Return the game files of all splits and what lies beside them; none for games that are made here.

    Args:
        data: `env.data`, see `data_root`.
    """
    root = data_root(data)
    if root is None:
        return []
    games = [path for folder in FOLDERS.values() for path in (root / folder).rglob(GAME)]
    return [*games, *(path.with_name(TRAJECTORY) for path in games)]


def wanted_in(trajectory: Mapping[str, Any]) -> Wanted:
    """Return what a `traj_data.json` asks for."""
    names = trajectory["pddl_params"]
    thing, target, lamp = (
        str(names[key]).lower() for key in ("object_target", "parent_target", "toggle_target")
    )
    return Wanted(str(trajectory["task_type"]), thing, target, lamp)


def read_game(path: Path) -> dict[str, Any]:
    """Return the content of a game file.

    Raises:
        InputError: it is missing or malformed.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        missing = {"pddl_domain", "grammar", "pddl_problem"} - set(data)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the game {path} ({error}). Make games with: {GENERATE}") from error
    if missing:
        raise InputError(f"the game {path} lacks {', '.join(sorted(missing))}. Make games with: {GENERATE}")
    return data


def _entry(root: Path, path: Path) -> Mapping[str, Any] | None:
    name = path.parent.relative_to(root).as_posix()
    if "movable" in name or "Sliced" in name:
        return None
    try:
        trajectory = json.loads((path.parent / TRAJECTORY).read_text(encoding="utf-8"))
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the game in {path.parent} ({error})") from error
    goal = _GOAL.search(text)
    if trajectory["task_type"] not in FAMILIES or '"solvable": true' not in text or goal is None:
        return None
    return {"file": f"{name}/{GAME}", "goal": f"{goal[1]}.", "wanted": wanted_in(trajectory)}


def splits_of(root: Path) -> Iterator[str]:
    """Yield the splits that a folder has."""
    yield from (split for split, folder in FOLDERS.items() if (root / folder).is_dir())
