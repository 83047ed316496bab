"""`sdar skills search` explains what every strategy finds."""

from __future__ import annotations

import json

import pytest

from sdar.flows import cli
from sdar.skills.strategies import STRATEGIES

GOAL = "put a hot mug on the shelf"


def search(capture: pytest.CaptureFixture[str], strategy: str, *arguments: str) -> str:
    capture.readouterr()
    code = cli.execute(["skills", "search", *arguments, "--set", f"skills.strategy={strategy}"])
    printed = capture.readouterr()
    assert (code, printed.err) == (0, "")
    return printed.out


@pytest.mark.parametrize("strategy", sorted(set(STRATEGIES) - {"none"}))
def test_hits_are_shown_with_the_meaning_of_their_scores(
    capsys: pytest.CaptureFixture[str], strategy: str
) -> None:
    text = search(capsys, strategy, GOAL, "--task-type", "heat_and_place")
    found = json.loads(search(capsys, strategy, GOAL, "--task-type", "heat_and_place", "--json"))
    assert text.startswith(f"Score: {STRATEGIES[strategy].score} (strategy {strategy}")
    assert len(found) == 26 if strategy == "full" else 1 <= len(found) <= 4
    assert all(hit["skill"] in text and hit["body"] in text for hit in found)


def test_every_hit_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    goal = "heat an egg and put it on the table"
    first, *others = json.loads(search(capsys, "hybrid", goal, "--json"))
    assert (first["skill"], first["ranks"]) == ("home-of-bread-egg-cheese", {"embedding": 1, "keyword": 1})
    assert first["score"] == pytest.approx(2 / 61, abs=1e-4)
    assert set(first["weights"]["embedding"]) == set(first["weights"]["keyword"]) == {"egg"}
    budget = ("--set", f"skills.budget={first['tokens']}")
    small = json.loads(search(capsys, "hybrid", goal, "--json", *budget))
    assert [hit["fits"] for hit in small] == [True] + [False] * len(others)
    assert all(hit["tokens"] > 0 for hit in small)
    text = search(capsys, "hybrid", goal, *budget)
    assert f"{first['tokens']} tokens, in the prompt" in text
    assert f"left out, does not fit the budget of {first['tokens']}" in text
    assert f"1 of 4 in the teacher's prompt, {first['tokens']} tokens." in text
    weight = first["weights"]["keyword"]["egg"]
    assert f"keyword: rank 1, egg {weight:.2f}" in text


def test_options_reach_the_strategy(capsys: pytest.CaptureFixture[str]) -> None:
    assert search(capsys, "random", GOAL, "--seed", "1") != search(capsys, "random", GOAL, "--seed", "2")
    typed = search(capsys, "task_type", GOAL, "--task-type", "pick_two", "--set", "skills.top_k=20")
    assert "steps-pick-two" in typed
    assert "steps-pick-two" not in search(capsys, "task_type", GOAL, "--set", "skills.top_k=20")


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_a_bank_without_skills_is_told_from_a_goal_that_finds_none(
    capsys: pytest.CaptureFixture[str], strategy: str
) -> None:
    assert "The bank has no skill" in search(capsys, strategy, GOAL, "--set", "skills.path=empty")


@pytest.mark.parametrize(("strategy", "remedy"), [("none", "choose another"), ("keyword", "Use words")])
def test_no_hit_says_what_to_change(capsys: pytest.CaptureFixture[str], strategy: str, remedy: str) -> None:
    assert remedy in search(capsys, strategy, "xyzzy")
