"""What of ALFWorld needs no engine: rooms, shares, ALFRED's positions, files, words."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from sdar.envs.alfworld.alfred import read_trajectories
from sdar.envs.alfworld.files import data_root
from sdar.envs.alfworld.handbook import GENERAL
from sdar.envs.alfworld.kind import KIND
from sdar.envs.alfworld.package import receptacle_type
from sdar.envs.alfworld.places import beside, count_places, nearest, scene_group, usual_places
from sdar.schemas.errors import ConfigError, InputError
from sdar.skills.files import builtin_skills

ROOMS = [f"FloorPlan{base + n}" for base in (0, 200, 300, 400) for n in range(1, 31)]
ACCEPTS = {"shelf": frozenset({"mug", "book"}), "sinkbasin": frozenset({"mug"})}
RECEPTACLES = ["Shelf|+00.00|+01.00|+00.00", "Sink|+02.00|+01.00|+00.00"]


def test_every_room_is_for_one_purpose_and_held_out_rooms_are_the_panels() -> None:
    assert Counter(map(scene_group, ROOMS)) == {"train": 55, "demonstration": 35, "unseen": 30}
    for number in (9, 10, 29, 215, 219, 226, 308, 315, 325, 404, 424, 425):
        assert scene_group(f"FloorPlan{number}") == "unseen"


def test_a_thing_is_in_the_nearest_receptacle_that_accepts_it() -> None:
    # 0.5 m from the sink and 1.5 m from the shelf; a book does not go into a sink.
    assert nearest("mug", (1.5, 1.0, 0.0), RECEPTACLES, ACCEPTS) == RECEPTACLES[1]
    assert nearest("book", (1.5, 1.0, 0.0), RECEPTACLES, ACCEPTS) == RECEPTACLES[0]
    assert nearest("bed", (1.5, 1.0, 0.0), RECEPTACLES, ACCEPTS) == ""


def test_a_lamp_stands_on_furniture_only() -> None:
    drawer, desk = "Drawer|+00.10|+00.00|+00.00", "Desk|+00.40|+00.00|+00.00"
    assert beside("DeskLamp|+00.00|+00.00|+00.00", [drawer, desk]) == desk


def test_shares_are_counted_by_hand() -> None:
    starts = [(RECEPTACLES, [("Mug", 1.9, 1.0, 0.0), ("Mug", 0.1, 1.0, 0.0), ("Book", 1.9, 1.0, 0.0)])]
    starts += [(RECEPTACLES, [("Mug", 1.9, 1.0, 0.0), ("Mug", 1.8, 1.0, 0.0)])]
    assert count_places(starts, ACCEPTS) == {
        "book": {"shelf": 1.0},
        "mug": {"sinkbasin": 0.75, "shelf": 0.25},
    }


def test_basins_are_named_as_the_engine_names_them() -> None:
    assert receptacle_type("Sink|-01.90|+00.97|-01.50|SinkBasin") == "sinkbasin"
    assert receptacle_type("Cabinet|-01.90|+00.97|-01.50") == "cabinet"


def test_usual_places_are_shares() -> None:
    table = usual_places()
    assert len(table) > 50
    for shares in table.values():
        # What is below 1 % is left out, and the rest is rounded.
        assert 0.9 < sum(shares.values()) < 1.01
        assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_data_folders_are_found_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALFWORLD_DATA", raising=False)
    assert data_root("") is None
    with pytest.raises(ConfigError, match="sdar envs alfworld generate"):
        data_root(str(tmp_path))
    official = tmp_path / "json_2.1.1"
    (official / "train").mkdir(parents=True)
    assert data_root(str(tmp_path)) == official
    monkeypatch.setenv("ALFWORLD_DATA", str(tmp_path))
    assert data_root("") == official


def test_a_folder_without_trajectories_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no trajectories\. Allowed: .*traj_data\.json"):
        read_trajectories(tmp_path)
    broken = tmp_path / "train" / "task" / "trial_1" / "traj_data.json"
    broken.parent.mkdir(parents=True)
    broken.write_text('{"task_id": "trial_1"}', encoding="utf-8")
    with pytest.raises(InputError, match=r"trial_1/traj_data\.json is no trajectory .*KeyError: 'scene'"):
        read_trajectories(tmp_path)


def test_the_bank_holds_one_skill_per_fact() -> None:
    bank = builtin_skills("alfworld")
    assert len({skill.name for skill in bank}) == len(bank) == 33
    assert {skill.environment for skill in bank} == {"alfworld"}
    conduct = {skill.name: skill.description for skill in bank if skill.name in GENERAL}
    assert conduct["two-of-a-kind"] == "How to act: two of a kind."
    assert len(conduct) == 7


def test_the_kind_has_what_a_run_needs() -> None:
    assert KIND.extra == "alfworld"
    assert json.dumps(dict(KIND.settings))
