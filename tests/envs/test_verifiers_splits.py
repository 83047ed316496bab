"""How the rows of a verifiers environment are shared out; the package itself is not needed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sdar.envs.verifiers_adapter import VerifiersEnvironment


def split(goals: list[str]) -> tuple[list[str], list[str]]:
    """Return the goals of the splits `train` and `unseen` for a data set without an evaluation set."""
    rows: list[dict[str, Any]] = [
        {"example_id": number, "prompt": [{"role": "user", "content": goal}], "answer": goal.upper()}
        for number, goal in enumerate(goals)
    ]
    environment = VerifiersEnvironment(make=lambda: None)
    environment.world = SimpleNamespace(  # type: ignore[misc]
        get_dataset=lambda: rows, dataset_source=rows, eval_dataset_source=None
    )
    train, unseen = ([task.goal for task in environment.tasks(name)] for name in ("train", "unseen"))
    return train, unseen


def test_every_fifth_row_is_on_the_panel() -> None:
    assert split(list("abcdefghijk")) == (list("abcdfghik"), list("ej"))


def test_a_row_that_repeats_is_on_one_side_only() -> None:
    """By place alone the fifth, tenth and fifteenth rows would be on the panel, and trained on as well."""
    assert split(list("abcde" * 3)) == (list("abcd" * 3), list("eee"))
    assert split(list("aaaaabcdefe")) == (list("aaaaabcdf"), list("ee"))
