from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "policy"))

from tiny_policy import tiny_policy
from told_episodes import HEATED, LIT, LOST, told

from sdar.policy.sampler import TransformersSampler
from sdar.schemas.errors import ConfigError
from sdar.schemas.records import Episode
from sdar.skills.evidence import Fact, phrasebook, places_seen, read_episode
from sdar.skills.writers import LESSON, POLICY, TEMPLATE, Candidate, write_templates, write_with_policy

BOOK = phrasebook("household")
GOALS = {
    "t1": "put a hot cup on the bed",
    "t2": "find a vase and put it on the sofa",
    "t3": "look at the book",
}


def write(episodes: list[Episode], support: int = 1) -> dict[str, Candidate]:
    found = write_templates(episodes, GOALS, BOOK, "household", support)
    return {candidate.skill.name: candidate for candidate in found}


def test_what_an_episode_states() -> None:
    found = read_episode(told("e1", HEATED, True), GOALS["t1"], BOOK)
    assert found.held == {
        Fact("home", "vase", "shelf 2", "shelf 2"),
        Fact("home", "candle", "shelf 2", "shelf 2"),
        Fact("home", "cup", "cabinet 3", "cabinet 3"),
        Fact("tool", "heat", "stove 1", "stove 1"),
    }
    assert found.failed == {Fact("tool", "heat", "toaster 1", "toaster 1")}


def test_a_thing_counts_where_it_was_before_the_agent_moved_it() -> None:
    back = [*HEATED, ("go to desk 1", "You arrive at desk 1. On it you see nothing."), ("go to bed 1", "")]
    back[-1] = ("go to bed 1", "You arrive at bed 1. On it you see a cup 1.")
    held = read_episode(told("e1", [*back, ("look", "")], True), GOALS["t1"], BOOK).held
    assert [fact.value for fact in held if fact.subject == "cup"] == ["cabinet 3"]


def test_the_last_action_of_a_success_worked_and_that_of_a_failure_says_nothing() -> None:
    won = read_episode(told("e1", LIT, True), "look at the book", BOOK)
    assert Fact("light", "light", "floorlamp 1", "sofa 1") in won.held
    lost = read_episode(told("e1", LIT, False), "look at the book", BOOK)
    assert {fact.kind for fact in (*lost.held, *lost.failed)} == {"home"}


def test_places_are_listed_once_in_order() -> None:
    twice = [*LOST, ("go to bed 1", "You arrive at bed 1. On it you see nothing."), ("look", "")]
    assert places_seen(told("e1", twice, False), BOOK) == ["bed 1", "cabinet 1"]


def test_facts_of_successes_become_skills_with_their_episodes() -> None:
    found = write([told("e1", HEATED, True), told("e2", HEATED, True), told("e3", LOST, False, group=1)], 2)
    home = found["home-of-cup"]
    assert home.skill.body == "If you need the cup, go to cabinet 3 first."
    assert home.skill.description == "Where the cup is kept."
    assert (home.support, home.contradictions, home.skill.parents) == (2, 0, ("e1", "e2"))
    assert found["what-can-heat"].skill.body == "Stove 1 is the one to heat with."
    assert found["what-can-heat"].skill.task_types == ("heat_and_place",)
    assert {each.skill.source for each in found.values()} == {TEMPLATE}
    # No goal asks for a vase or a candle, and only a failed episode saw the pan.
    assert set(found) == {"home-of-cup", "what-can-heat"}


def test_support_counts_episodes_and_a_tie_is_no_fact() -> None:
    other = [(a.replace("cabinet 3", "drawer 1"), o.replace("cabinet 3", "drawer 1")) for a, o in HEATED]
    both = [told("e1", HEATED, True), told("e2", other, True)]
    assert "home-of-cup" not in write(both)
    most = write([*both, told("e3", HEATED, True)])["home-of-cup"]
    assert (most.support, most.contradictions) == (2, 1)
    assert "home-of-cup" not in write([told("e1", HEATED, True)], support=2)


def test_a_goal_of_any_task_makes_a_thing_worth_a_skill() -> None:
    vase = told("e2", LOST, False, task_id="t2", group=1)
    assert write([told("e1", HEATED, True), vase])["home-of-vase"].skill.parents == ("e1",)


def test_a_lesson_says_what_was_tried_in_vain_and_what_worked() -> None:
    bad = told("e2", HEATED[:6], False)  # ends at the toaster
    found = write([told("e1", HEATED, True), bad, told("e3", [*HEATED[:6], ("look", "")], False)])
    lesson = found["lesson-what-can-heat"]
    assert lesson.skill.body == "Only stove 1 can heat things. Do not try toaster 1."
    # The last answer of e2 is no part of it: only e3 shows that the toaster failed.
    assert (lesson.support, lesson.skill.parents, lesson.skill.source) == (1, ("e1", "e3"), LESSON)
    assert "lesson-home-of-cup" not in found  # both found the cup


def test_a_lesson_about_a_thing_that_was_not_found() -> None:
    found = write([told("e1", HEATED, True), told("e2", [*LOST, ("look", "")], False)])
    assert (
        found["lesson-home-of-cup"].skill.body
        == "Look in cabinet 3 for the cup, not on bed 1 or in cabinet 1."
    )
    assert "lesson-home-of-vase" not in found  # nobody asked the failed one for a vase


def test_no_lesson_without_a_success_in_the_same_group() -> None:
    apart = [told("e1", HEATED, True, group=0), told("e2", [*LOST, ("look", "")], False, group=1)]
    assert not any(name.startswith("lesson") for name in write(apart))


def test_facts_come_before_lessons_and_the_order_of_episodes_does_not_matter() -> None:
    episodes = [told("e1", HEATED, True), told("e2", [*LOST, ("look", "")], False), told("e3", HEATED, True)]
    names = [c.skill.name for c in write_templates(episodes, GOALS, BOOK, "household", 1)]
    assert names == ["home-of-cup", "what-can-heat", "lesson-home-of-cup"]


def test_an_environment_without_phrases_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"household.*distill\.writer=policy"):
        phrasebook("webshop")


def test_the_model_writes_in_its_own_words() -> None:
    policy = tiny_policy()
    episodes = [told("e1" * 5, HEATED, True), told("e2" * 5, HEATED, False), told("e3" * 5, LIT, True, "t3")]
    written = write_with_policy(
        episodes, GOALS, TransformersSampler(policy, 6), policy.dialogue, "household", 1024, 6
    )
    again = write_with_policy(
        episodes, GOALS, TransformersSampler(policy, 6), policy.dialogue, "household", 1024, 6
    )
    assert written == again
    assert written
    assert {c.skill.parents for c in written} <= {("e1" * 5,), ("e3" * 5,)}
    for candidate in written:
        assert candidate.skill.source == POLICY
        assert (
            candidate.skill.description
            == f"What helped to {GOALS['t1' if 'e1' in candidate.skill.name else 't3']}."
        )
        assert 0 < policy.dialogue.count(candidate.skill.body) <= 12


def test_a_long_episode_is_told_from_its_end() -> None:
    policy = tiny_policy()
    long = told("e1" * 5, HEATED * 40, True)
    sampler = TransformersSampler(policy, 4)
    assert write_with_policy([long], GOALS, sampler, policy.dialogue, "household", 120, 4)
    assert write_with_policy([], GOALS, sampler, policy.dialogue, "household", 120, 4) == []
