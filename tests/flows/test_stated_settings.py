"""What the documents say of the settings of environments is what the environments set."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sdar.envs.registry import BUILTIN
from sdar.schemas.config import RunConfig

DOCS = Path(__file__).parents[2] / "docs"


def paragraph(page: str, words: str) -> str:
    """Return the one paragraph of a page that has these words, in one line."""
    parts = re.split(r"\n\n|\n(?=- )", (DOCS / page).read_text(encoding="utf-8"))
    (found,) = [" ".join(part.split()) for part in parts if words in " ".join(part.split())]
    return found


def setting(environment: str, path: str) -> object:
    section, name = path.split(".")
    return BUILTIN[environment].settings.get(path, getattr(getattr(RunConfig(), section), name))


@pytest.mark.parametrize(
    ("page", "words"), [("algorithms.md", "`update.epochs` times"), ("faq.md", "it is the default of")]
)
def test_passes_over_the_rows(page: str, words: str) -> None:
    said = {name for name in BUILTIN if name in paragraph(page, words)}
    assert said == {name for name in BUILTIN if setting(name, "update.epochs") == 3}


def test_actions_of_an_episode() -> None:
    table = (DOCS / "results" / "environments.md").read_text(encoding="utf-8")
    (names,) = re.findall(r"^\| +\|(.+)\|$", table, re.M)[:1]
    (actions,) = re.findall(r"^\| actions of an episode, at most \|(.+)\|$", table, re.M)
    said = dict(zip(re.findall(r"\w+", names), map(int, re.findall(r"\d+", actions)), strict=True))
    assert said == {name: setting(name, "env.max_steps") for name in said}
    stated = f"The default is {setting('alfworld', 'env.max_steps')} actions"
    assert stated in paragraph("alfworld.md", "The default is")
