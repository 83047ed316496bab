"""Misleading skills are wrong about the house, one fact each, and read like right ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar.envs.household.handbook import facts, handbook, skill_name
from sdar.envs.household.house import house
from sdar.envs.household.misleading import BESIDE, misleading_skills, wrong_house
from sdar.envs.household.vocabulary import APPLIANCES, LAMPS, RECEPTACLES
from sdar.schemas.errors import InputError
from sdar.schemas.seeds import generator
from sdar.skills.files import builtin_skills, parse_skill


@given(number=st.integers(0, 50), fact=st.sampled_from(facts(house(0))), seed=st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_exactly_one_fact_is_wrong(number: int, fact: str, seed: int) -> None:
    home = house(number)
    other = wrong_house(home, fact, generator(seed, "test"))
    differing = {name for name in home.homes if home.homes[name] != other.homes[name]}
    differing |= {name for name in home.appliances if home.appliances[name] != other.appliances[name]}
    differing |= {"light"} if home.lamp != other.lamp else set()
    assert differing == {fact}
    assert set(other.homes.values()) <= set(RECEPTACLES)
    assert other.lamp in LAMPS
    assert all(other.appliances[function] in names for function, names in APPLIANCES.items())
    assert other.lamp_places == home.lamp_places


@pytest.mark.parametrize("instead", [False, True])
def test_the_skills_read_like_right_ones(instead: bool) -> None:
    home = house(0)
    wrong = misleading_skills(home, 16, 3, instead)
    right = handbook(home)
    for fact in facts(home):
        name = skill_name(fact) + ("" if instead else BESIDE)
        bad = parse_skill(wrong[name], Path(name) / "SKILL.md")
        good = parse_skill(right[skill_name(fact)], Path(skill_name(fact)) / "SKILL.md")
        assert (bad.description, bad.task_types) == (good.description, good.task_types)
        assert bad.body != good.body
        value = home.homes.get(fact) or home.appliances.get(fact) or home.lamp
        # A wrong tool may be said to be the only one; then the right one is named as broken.
        said = bad.body.lower().split(".")[0].split(";")[0].split(",")[0]
        assert value not in said


def test_the_seed_decides(tmp_path: Path) -> None:
    first = misleading_skills(house(0), 3, 0)
    assert first == misleading_skills(house(0), 3, 0) != misleading_skills(house(0), 3, 1)
    assert len(first) == 3
    assert misleading_skills(house(0), 0, 0) == {}
    # They come on top of the shipped bank without a clash, or take the place of its skills.
    shipped = {skill.name for skill in builtin_skills("household")}
    assert shipped.isdisjoint(first)
    assert set(misleading_skills(house(0), 16, 0, instead=True)) <= shipped
    with pytest.raises(InputError, match=r"17 misleading skills .* 0 to 16 facts"):
        misleading_skills(house(0), 17, 0)
