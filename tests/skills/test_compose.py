"""SKILL.md texts that are written say what they were given, and changed ones keep the rest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdar.schemas.errors import InputError
from sdar.skills.compose import changed_text, compose_text
from sdar.skills.markdown import Content, read_content

TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(" :#-'\"[]{},&*!|>%@`\n"))
LINES = TEXTS.map(lambda text: " ".join(text.split())).filter(bool)
WORDS = st.lists(LINES.map(lambda text: text[:20]), max_size=3).map(tuple)


@given(LINES.filter(lambda text: len(text) <= 1024), WORDS, LINES)
def test_what_is_composed_is_read_again(description: str, types: tuple[str, ...], body: str) -> None:
    types = tuple(" ".join(each.split()) for each in types)
    content = Content("cups", description, "household", types, body)
    assert read_content(compose_text(content), "cups") == content


def content_of(text: str) -> Content:
    found = read_content(text, None)
    assert isinstance(found, Content), found
    return found


FRONTS = {
    "block": "name: a\ndescription: >\n  Old\n  words.\nmetadata:\n  task_types:\n    - x\n    - y\n"
    "  author: me\n"
    "license: MIT",
    "unindented list": "name: a\ndescription: Old\nmetadata:\n  task_types:\n  - x\n  author: me\n"
    "license: MIT",
    "flow": "{name: a, description: Old, metadata: {author: me, task_types: [x]}, license: MIT}",
    "quoted": "license: MIT\nmetadata:\n    author: me # who\ndescription: 'Old: one'\nname: a",
    "no metadata": "license: MIT\nname: a\ndescription: Old",
    "no description": "name: a\nlicense: MIT\nmetadata: {author: me}",
    "empty metadata": "name: a\nlicense: MIT\ndescription: Old\nmetadata: {}",
}


@pytest.mark.parametrize("front", FRONTS.values(), ids=FRONTS)
def test_parts_are_replaced_and_all_other_keys_stay(front: str) -> None:
    text = f"---\n{front}\n---\n\nOld body.\n"
    new = changed_text(text, "New: words", "New body.\n", ["p", "q r"])
    assert content_of(new) == Content("a", "New: words", "any", ("p", "q r"), "New body.")
    assert "license: MIT" in new
    assert ("author: me" in new) == ("author: me" in text)
    assert content_of(changed_text(new, task_types=[])).task_types == ()


def test_what_is_not_given_stays() -> None:
    text = f"---\n{FRONTS['block']}\n---\nOld body.\n"
    assert changed_text(text) == text
    assert changed_text(text, body="Old body.") == text
    changed = content_of(changed_text(text, description="New"))
    assert changed == Content("a", "New", "any", ("x", "y"), "Old body.")


def test_a_text_without_front_matter_has_no_parts() -> None:
    with pytest.raises(InputError, match="Give the whole file with --from"):
        changed_text("no front matter", body="x")
