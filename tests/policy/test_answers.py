"""The rules by which an action is found in a completion."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar.policy.answers import Answer, read_answer


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("go to desk 1", "go to desk 1"),
        ("  go to desk 1\n", "go to desk 1"),
        ("<think>Mugs are there.</think>\n\ngo to desk 1", "go to desk 1"),
        ("Mugs are there.</think>go to desk 1", "go to desk 1"),  # the prompt had opened the block
        ("<search>who wrote it</search>", "<search>who wrote it</search>"),
        ("I go.\ngo to desk 1", "I go.\ngo to desk 1"),
        ("", ""),
    ],
)
def test_plain_answers(text: str, action: str) -> None:
    assert read_answer(text, "plain") == Answer(action)


@pytest.mark.parametrize(
    "text",
    [
        "<action>go to desk 1</action>",
        "<think>Where?</think><action>go to desk 1</action>",
        "<think>Not <action>look</action>.</think>\nSo: <action>\n go to desk 1 </action> done.",
        "Where?</think><action>go to desk 1</action>",
    ],
)
def test_tagged_answers(text: str) -> None:
    assert read_answer(text, "tagged") == Answer("go to desk 1")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("go to desk 1", "there is no <action>...</action>"),
        ("", "there is no <action>...</action>"),
        ("<think>so</think>go to desk 1</action>", "there is no <action>...</action>"),
        ("<action>go to desk 1", "<action> is not closed"),
        ("</action>go to desk 1<action>", "<action> is not closed"),
        ("<action> \n</action>", "<action> is empty"),
        ("<action>look</action><action>look</action>", "there is more than one <action>...</action>"),
        ("<action>look</action></action>", "there is more than one <action>...</action>"),
        ("<think>so <action>look</action>", "<think> is not closed"),
        ("<think>a</think><think>b<action>look</action>", "<think> is not closed"),
    ],
)
def test_faulty_answers_reach_the_world_behind_a_mark(text: str, fault: str) -> None:
    answer = read_answer(text, "tagged")
    assert answer == Answer(f"[{fault}] {text}", fault)
    assert answer.heard("Nothing happens.") == f"Your answer was not understood: {fault}.\nNothing happens."


def test_an_unclosed_thought_is_a_fault_without_tags_too() -> None:
    assert read_answer("<think>go to desk 1", "plain").fault == "<think> is not closed"


def test_an_answer_without_fault_is_not_talked_about() -> None:
    assert Answer("look").heard("You are at desk 1.") == "You are at desk 1."


@given(st.lists(st.sampled_from(["<think>", "</think>", "<action>", "</action>", "look", " "])).map("".join))
def test_an_action_is_given_by_one_pair_of_tags_or_not_at_all(text: str) -> None:
    answer = read_answer(text, "tagged")
    if answer.fault:
        assert answer.action == f"[{answer.fault}] {text}"
    else:
        assert answer.action.strip() == answer.action != ""
        assert not any(tag in answer.action for tag in ("<think>", "</think>", "<action>", "</action>"))
        assert answer.action in text
        assert text.rpartition("</think>")[2].count("<action>") == 1
