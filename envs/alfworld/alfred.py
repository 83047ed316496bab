"""Games from ALFRED's trajectories: its tasks and starts in ALFWorld's engine.

These are not ALFWorld's official games, so success on them must not be compared with published figures.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdar.envs.alfworld.alfred_folder import condense
from sdar.envs.alfworld.game import FAMILIES, Game, Wanted, playable, sentence
from sdar.envs.alfworld.package import receptacle_type, rules
from sdar.envs.alfworld.places import LAMPS, Placed, beside, nearest, scene_group
from sdar.schemas.errors import InputError


@dataclass(frozen=True)
class Trajectory:
    """What is read of one ALFRED task.

    Attributes:
        id: its trial.
        split: ALFRED's split, such as `train` or `valid_seen`.
        scene: AI2-THOR room.
        wanted: what is to be done.
        things: types and positions of all objects, lamps and receptacles excluded.
        receptacles: AI2-THOR ids of the room's receptacles and lamps.
        sentences: how people described the task.
    """

    id: str
    split: str
    scene: str
    wanted: Wanted
    things: tuple[Placed, ...]
    receptacles: tuple[str, ...]
    sentences: tuple[str, ...]


def read_trajectories(path: Path) -> list[Trajectory]:
    """Return the trajectories of a file or folder; families that ALFWorld lacks, and slicing, are left out.

    Args:
        path: ALFRED's folder, see `condense`; or JSON, also gzipped: `scenes` (receptacle ids by room) and
            `games` (each with id, split, task_type, pddl_params, scene, objects as [type, x, y, z],
            task_descs).

    Raises:
        InputError: it cannot be read or is something else.
    """
    if path.is_dir():
        return _trajectories(condense(path))
    try:
        raw = path.read_bytes()
        return _trajectories(json.loads(gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no file of ALFRED trajectories ({type(error).__name__}: {error}). Allowed: JSON or "
            "gzipped JSON with `scenes` and `games`, or ALFRED's folder, see docs/alfworld.md"
        ) from error


def _trajectories(data: Mapping[str, Any]) -> list[Trajectory]:
    return [
        _trajectory(each, data["scenes"][each["scene"]])
        for each in data["games"]
        if each["task_type"] in FAMILIES and not each["pddl_params"]["object_sliced"]
    ]


def _trajectory(each: Mapping[str, Any], receptacles: Sequence[str]) -> Trajectory:
    names = each["pddl_params"]
    wanted = Wanted(
        each["task_type"],
        names["object_target"].lower(),
        names["parent_target"].lower(),
        names["toggle_target"].lower(),
    )
    things = tuple((str(kind), float(x), float(y), float(z)) for kind, x, y, z in each["objects"])
    texts = tuple(str(text) for text in each.get("task_descs", ()))
    return Trajectory(each["id"], each["split"], each["scene"], wanted, things, tuple(receptacles), texts)


def alfred_games(trajectories: Sequence[Trajectory]) -> Iterator[tuple[str, Game, Trajectory]]:
    """Yield `(split, game, trajectory)` for each trajectory that can be played.

    Rooms decide the split: training rooms give `train`, and `seen` where ALFRED's own split is `valid_seen`;
    panel rooms give `unseen`. Rooms kept for demonstrations are left out.
    """
    for each in trajectories:
        group = scene_group(each.scene)
        if group == "demonstration":
            continue
        contents = named_contents(each)
        if playable(each.wanted, contents):
            split = "seen" if group == "train" and each.split == "valid_seen" else group
            name = f"alfred-{each.wanted.family}-{each.scene}-{each.id}"
            yield (
                split,
                Game(name, each.scene, each.wanted, sentence(each.wanted, _template(each.id)), contents),
                each,
            )


def named_contents(each: Trajectory) -> dict[str, tuple[str, ...]]:
    """Return the things of a start by receptacle, each thing in the nearest receptacle that accepts it."""
    law = rules()
    lamps = [name for name in each.receptacles if receptacle_type(name) in LAMPS]
    places = sorted(name for name in each.receptacles if receptacle_type(name) in law.accepts)
    counts: Counter[str] = Counter()
    names = {place: _number(counts, receptacle_type(place)) for place in places}
    contents: dict[str, list[str]] = {name: [] for name in names.values()}
    for thing, *position in sorted(each.things):
        place = nearest(thing.lower(), position, places, law.accepts)
        if place:
            contents[names[place]].append(_number(counts, thing.lower()))
    for lamp in sorted(lamps):
        place = beside(lamp, places)
        if place:
            contents[names[place]].append(_number(counts, receptacle_type(lamp)))
    return {place: tuple(held) for place, held in contents.items()}


def _number(counts: Counter[str], kind: str) -> str:
    counts[kind] += 1
    return f"{kind} {counts[kind]}"


def _template(trial: str) -> int:
    digits = re.sub(r"\D", "", trial)
    return int(digits[-2:] or 0)


def params(wanted: Wanted) -> dict[str, Any]:
    """Return a goal as the `pddl_params` of a `traj_data.json` file."""
    return {
        "mrecep_target": "",
        "object_sliced": False,
        "object_target": wanted.thing,
        "parent_target": wanted.target,
        "toggle_target": wanted.lamp,
    }
