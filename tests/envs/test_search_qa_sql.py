"""The query for F1 over stored answers agrees with the function."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from sdar.envs.search_qa import scoring
from sdar.storage.migrate import migrate

QUERY = Path(__file__).parents[2] / "docs" / "queries" / "answer_f1.sql"
ANSWERS = [
    ("The Eiffel Tower!", ["Eiffel Tower"]),
    ("tower", ["Eiffel Tower", "The tower in Paris"]),
    ("big big dog", ["big big"]),
    ("the a the an  dog", ["A dog"]),
    ("“the” end of cañada", ["“ ” END of can\u0303ada", "x"]),
    ("a", ["The"]),
    ("A.", ["a"]),
    ("the a", ["A"]),
    ("!", ["yes"]),
    ("?", ["?!", "?"]),
    ("it's 3.5 -- [sic] \\ ^ `x` {y}|~", ["its 35 sic x y"]),
    ("tea\u00a0the\u2003cup\nfull", ["tea cup"]),
    ("naïve a_b the_c", ["naive ab thec"]),
]


@pytest.fixture
def store() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    migrate(connection)
    connection.execute(
        "INSERT INTO stage_run "
        "SELECT 'r1', 2, 'collect', 'k', 1, '{}', '{}', '', '', 0, 'a1', 'done', NULL, '{}'"
    )
    return connection


def add(
    store: duckdb.DuckDBPyConnection, name: str, golds: list[str], actions: list[str], success: bool
) -> None:
    payload = json.dumps({"answers": golds, "lookups": []})
    store.execute(
        "INSERT INTO task VALUES ('a0', 0, ?, 'search_qa', 'train', 'mine', '?', 0, ?)", [name, payload]
    )
    store.execute(
        "INSERT INTO episode SELECT 'a1', 0, ?, ?, 'mine', 0, 0, 0, 1, [1], [true], [0], 0, ?, 'x', NULL, "
        "'conversation', 'e', 1",
        [name, name, success],
    )
    for number, action in enumerate(actions):
        store.execute("INSERT INTO turn VALUES ('a1', 0, ?, ?, '', ?, 0, true, 0, 1)", [name, number, action])


@pytest.mark.parametrize(("answer", "golds"), ANSWERS)
def test_the_query_scores_as_the_function(
    store: duckdb.DuckDBPyConnection, answer: str, golds: list[str]
) -> None:
    add(
        store,
        "t1",
        golds,
        ["<search>x</search>", f"<think><answer>no</answer></think><answer>{answer}</answer>"],
        False,
    )
    [row] = store.execute(QUERY.read_text(encoding="utf-8")).fetchall()
    assert row == (
        "r1",
        2,
        "collect",
        "mine",
        1,
        1.0,
        0.0,
        pytest.approx(scoring.f1(answer, golds), abs=1e-12),
    )


def test_episodes_without_an_answer_count_as_0(store: duckdb.DuckDBPyConnection) -> None:
    add(store, "t1", ["Aller"], ["<search>x</search>", "<answer>aller</answer>"], True)
    add(store, "t2", ["Aller"], ["<answer>Aller", "<search>Aller</search><answer>Aller</answer>"], False)
    add(store, "t3", ["Aller"], ["<answer> \n</answer>"], False)
    add(store, "t4", ["Aller river"], ["<answer>Aller</answer>"], False)
    [row] = store.execute(QUERY.read_text(encoding="utf-8")).fetchall()
    assert row == ("r1", 2, "collect", "mine", 4, 0.5, 0.25, pytest.approx((1 + 2 / 3) / 4))
