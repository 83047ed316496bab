"""ALFRED's own folders, `<split>/<task>/<trial>/traj_data.json`, in the form of the condensed file.

Source:
    askforalfred/alfred, data/README.md, which describes the fields; checked against its json_2.1.0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sdar.envs.alfworld.files import TRAJECTORY
from sdar.envs.alfworld.package import receptacle_ids, receptacle_type, rules
from sdar.envs.alfworld.places import LAMPS
from sdar.schemas.errors import InputError

RELEASE = "json_2.1.0"
_PARAMS = ("object_sliced", "object_target", "parent_target", "toggle_target")
_NAMED = ("objectId", "receptacleObjectId", "cleanObjectId")


def condense(folder: Path) -> dict[str, Any]:
    """Return `scenes` and `games` of a folder of trajectories, as `read_trajectories` reads them from a file.

    A room's receptacles are those that the `alfworld` package lists and those that plans of the folder name:
    the package leaves out lamps and a few others. ALFRED's test splits have other folders, and no plans.

    Args:
        folder: what holds the splits, or holds `json_2.1.0`.

    Raises:
        InputError: there are no such files, or one of them is something else.
    """
    release = folder / RELEASE
    root = release if release.is_dir() else folder
    games, named = [], dict[str, set[str]]()
    for path in sorted(root.glob(f"*/*/*/{TRAJECTORY}")):
        try:
            trajectory = json.loads(path.read_bytes())
            games.append(_game(trajectory, path.parents[2].name))
            scene = trajectory["scene"]["floor_plan"]
            if scene not in named:
                named[scene] = set(receptacle_ids(scene))
            named[scene].update(_named(trajectory))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is no trajectory of ALFRED ({type(error).__name__}: {error}). Repair or remove it; "
                "docs/alfworld.md says what is read"
            ) from error
    if not games:
        raise InputError(
            f"{folder} has no trajectories. Allowed: a folder with SPLIT/TASK/TRIAL/{TRAJECTORY} in it or in "
            f"its {RELEASE}, such as train/ of ALFRED; or a file, see docs/alfworld.md"
        )
    return {"scenes": {scene: sorted(ids) for scene, ids in named.items()}, "games": games}


def _game(trajectory: Mapping[str, Any], split: str) -> dict[str, Any]:
    scene = trajectory["scene"]
    return {
        "id": trajectory["task_id"],
        "split": split,
        "task_type": trajectory["task_type"],
        "pddl_params": {name: trajectory["pddl_params"][name] for name in _PARAMS},
        "scene": scene["floor_plan"],
        "objects": [_placed(pose) for pose in scene["object_poses"]],
        "task_descs": [each["task_desc"] for each in trajectory["turk_annotations"]["anns"]],
    }


def _placed(pose: Mapping[str, Any]) -> tuple[str, float, float, float]:
    """Return the type, which is the name without its number, and the position."""
    x, y, z = (float(pose["position"][axis]) for axis in "xyz")
    return pose["objectName"].split("_")[0], x, y, z


def _named(trajectory: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ids of receptacles and lamps that the plan's steps name."""
    for step in trajectory["plan"]["high_pddl"]:
        for key in _NAMED:
            identifier = step["planner_action"].get(key, "")
            kind = receptacle_type(identifier)
            if kind in LAMPS or kind in rules().accepts:
                yield identifier
