"""The rules of search_qa: actions, scores by hand, hand-played episodes, and the contract."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdar.envs.base import StepResult
from sdar.envs.conformance import check_environment
from sdar.envs.demonstration import Demonstrates
from sdar.envs.search_qa.actions import INVALID, NOTHING, WELCOME, Action, information, parse_action
from sdar.envs.search_qa.corpus import Library, question_task
from sdar.envs.search_qa.environment import SearchQa
from sdar.envs.search_qa.kind import KIND
from sdar.envs.search_qa.options import DEFAULTS, Options, read_options
from sdar.envs.search_qa.records import Hit, Passage, Question
from sdar.envs.search_qa.scoring import exact_match, f1, normalise
from sdar.schemas.config import EnvironmentConfig, RunConfig
from sdar.schemas.errors import ConfigError
from sdar.schemas.records import TaskSpec

CONFIG = EnvironmentConfig(name="search_qa", max_steps=4)
ELMFORD = Passage("1", "Elmford", "Elmford lies on\nthe  Aller.")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The  Cat's Meow!", "cats meow"),
        ("A, an and THE", "and"),
        ("  U.S.A.\t", "usa"),
        ("theatre banana", "theatre banana"),
        ("the-end", "theend"),
        ("“the” end", "“ ” end"),
        ("São Paulo", "são paulo"),
        ("Sa\u0303o Paulo", "são paulo"),
        ("İzmir", "i\u0307zmir"),
        ("12,000 €", "12000 €"),
        ("The", "the"),
        ("A.", "a"),
        ("?!", "?!"),
        (" ", ""),
    ],
)
def test_normalisation(text: str, expected: str) -> None:
    assert normalise(text) == expected


@pytest.mark.parametrize(
    ("answer", "golds", "exact", "score"),
    [
        ("the Eiffel Tower.", ["Eiffel tower"], True, 1.0),
        ("Tower", ["Eiffel Tower"], False, 2 / 3),
        ("Eiffel Tower in Paris", ["Eiffel Tower"], False, 2 * 2 / 6),
        ("Paris", ["London", "Paris, France"], False, 2 / 3),
        ("paris", ["London", "Paris"], True, 1.0),
        ("no", ["yes"], False, 0.0),
        # One shared word counts as often as both have it: twice here, of three and of two.
        ("big big dog", ["big big"], False, 2 * 2 / 5),
        ("big dog", ["big big"], False, 2 * 1 / 4),
        # Nothing of these is left by SQuAD's rules, so that they would equal each other and an empty answer.
        ("a", ["The"], False, 0.0),
        ("A.", ["a"], True, 1.0),
        ("", ["A"], False, 0.0),
        ("the", ["?"], False, 0.0),
        ("!", ["yes"], False, 0.0),
        ("Tōkyō", ["To\u0304kyo\u0304"], True, 1.0),
        ("12,000", ["12000"], True, 1.0),
        ("3.5", ["35"], True, 1.0),
    ],
)
def test_exact_match_and_f1(answer: str, golds: list[str], exact: bool, score: float) -> None:
    assert exact_match(answer, golds) is exact
    assert f1(answer, golds) == pytest.approx(score, abs=1e-12)


words = st.lists(st.sampled_from(["the", "river", "Aller", "old", "a", "town,"]), max_size=6).map(" ".join)


@settings(max_examples=50)
@given(words, words)
def test_f1_is_symmetric_and_1_where_the_match_is_exact(answer: str, gold: str) -> None:
    assert f1(answer, [gold]) == f1(gold, [answer])
    assert 0 <= f1(answer, [gold]) <= 1
    if exact_match(answer, [gold]):
        assert f1(answer, [gold]) == 1


@settings(max_examples=50)
@given(words, st.lists(words, min_size=1, max_size=4))
def test_more_gold_answers_never_hurt(answer: str, golds: list[str]) -> None:
    assert f1(answer, golds) == max(f1(answer, [gold]) for gold in golds)
    assert exact_match(answer, golds) == any(exact_match(answer, [gold]) for gold in golds)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<search>old  river\n</search>", Action("search", "old river")),
        ("I know. <answer>Aller</answer> Thanks", Action("answer", "Aller")),
        ("<think>or <answer>x</answer>?</think><search>y</search>", Action("search", "y")),
        ("<search>a</search><answer>b</answer>", Action("search", "a")),
        ("<search>a</answer>", None),
        ("<search>a", None),
        ("<search> \n</search>", None),
        ("<SEARCH>a</SEARCH>", None),
        ("search for a", None),
        ("", None),
    ],
)
def test_what_counts_as_an_action(text: str, expected: Action | None) -> None:
    assert parse_action(text) == expected


def test_information_is_that_of_search_r1() -> None:
    hits = [Hit(ELMFORD, 2.0), Hit(Passage("2", "Aller", "A river."), 1.0)]
    assert information(hits) == (
        "<information>Doc 1(Title: Elmford) Elmford lies on the Aller.\n"
        "Doc 2(Title: Aller) A river.\n</information>"
    )
    assert information([]) == NOTHING


def one_question(*answers: str) -> tuple[SearchQa, TaskSpec, list[tuple[str, int]]]:
    asked: list[tuple[str, int]] = []

    def search(query: str, k: int) -> tuple[Hit, ...]:
        asked.append((query, k))
        return (Hit(ELMFORD, 1.0),)

    task = question_task(Question("q", "Which river?", answers, "mine"), "train", 0)
    return SearchQa(Library(search, {"train": (task,), "unseen": ()})), task, asked


def test_an_episode_by_hand() -> None:
    world, task, asked = one_question("the Aller", "River Aller")
    assert (task.id, task.type, task.goal, task.payload["answers"]) == (
        "search_qa/q", "mine", "Which river?", ["the Aller", "River Aller"],
    )  # fmt: skip
    assert world.reset(task, 1) == WELCOME
    assert world.step("look around") == StepResult(INVALID, 0.0, False, False, False)
    assert world.step("<search>Elmford river</search>") == StepResult(
        "<information>Doc 1(Title: Elmford) Elmford lies on the Aller.\n</information>",
        0.0,
        False,
        False,
        True,
    )
    assert asked == [("Elmford river", 2)]
    assert world.step("<answer>river aller</answer>") == StepResult(
        "Exact match: 1. F1: 1.000. Right answer: the Aller", 1.0, True, True, True
    )
    with pytest.raises(RuntimeError, match="reset"):
        world.step("<search>x</search>")


def test_a_wrong_answer_ends_the_episode_and_shows_f1() -> None:
    world, task, _ = one_question("the Aller river")
    world.reset(task, 1)
    assert world.step("<answer>Aller</answer>") == StepResult(
        "Exact match: 0. F1: 0.667. Right answer: the Aller river", 0.0, True, False, True
    )


@pytest.mark.parametrize("number", [0, 7])
def test_search_qa_keeps_every_rule(number: int) -> None:
    config = CONFIG.model_copy(update={"options": {"world": number}})
    assert check_environment(KIND.load(), config, episodes=24) == []


def test_the_kind_says_what_the_environment_reads() -> None:
    assert set(KIND.options) == {each.name for each in dataclasses.fields(Options)}
    assert read_options(CONFIG) == Options()
    fields = RunConfig().model_dump()
    for path in KIND.settings:
        section, name = path.split(".")
        assert name in fields[section]
    whole = re.compile(KIND.names)
    assert whole.findall("the oak register: Abram, 1310; soapy May charter year") == [
        "oak register", "Abram", "1310", "May", "charter year",
    ]  # fmt: skip
    assert isinstance(SearchQa.from_config(CONFIG), Demonstrates)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("world", 10_000, "0 to 9999"),
        ("world", "x", "type int"),
        ("world", True, "type int"),
        ("retriever", "bm26", "bm25, dense, remote"),
        ("timeout", 0, "seconds above 0"),
        ("top_k", 0, "1 to 50"),
        ("split_seed", -1, "0 to 2147483647"),
        ("unseen_share", 1.0, "above 0 and below 1"),
        ("index", 3, "type str"),
    ],
)
def test_options_out_of_range(name: str, value: str | int | float | bool, allowed: str) -> None:
    with pytest.raises(ConfigError, match=rf"env\.options\.{name} of search_qa is .*{allowed}"):
        read_options(CONFIG.model_copy(update={"options": {name: value}}))


def test_whole_numbers_will_do_for_seconds() -> None:
    assert read_options(CONFIG.model_copy(update={"options": {"timeout": 3}})).timeout == 3.0
    assert DEFAULTS["timeout"] == 10.0


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="allowed are: train, unseen"):
        SearchQa.from_config(CONFIG).tasks("dev")
