"""The views against numbers worked by hand, and what SQL may not do."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from store_samples import context, episode, evaluation, filled, run, scores, stage, task

from sdar.schemas.errors import InputError
from sdar.storage import TABLES_QUERY

GAPS = np.array([0.5, -1.0, 0.0, -0.5, -0.5, -0.5])
ENTROPIES = np.array([0.25, 0.5, 1.0] * 2)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_token_gap(tmp_path):
    rows = filled(tmp_path).query("SELECT * FROM token_gap").to_pylist()
    assert [row["episode_id"] for row in rows] == ["e1"] * 3 + ["e2"] * 3
    assert [row["position"] for row in rows[:3]] == [2, 3, 5]
    assert [row["turn"] for row in rows[:3]] == [0, 0, 1]
    assert [row["token_id"] for row in rows[:3]] == [7, 8, 10]
    assert [row["token"] for row in rows[:3]] == ["<7>", "<8>", None]  # 10 is outside the stored vocabulary
    assert rows[0]["skills"] == ["name of s1", "name of s2"]
    assert rows[3]["skills"] == ["name of s2"]
    np.testing.assert_allclose([row["gap"] for row in rows], GAPS, atol=1e-7)
    # 1 / (1 + e^-2.5), 1 / (1 + e^5), 1/2
    np.testing.assert_allclose([row["gate"] for row in rows[:3]], [0.924142, 0.006693, 0.5], atol=1e-6)


def test_gate_follows_the_configuration(tmp_path):
    expected = {
        ("gap", 2.0): sigmoid(2 * GAPS),
        ("gap", 1e6): [1, 0, 0.5, 0, 0, 0],
        ("entropy", 5.0): sigmoid(5 * ENTROPIES),
        ("soft_or", 5.0): sigmoid(5 * (1 - (1 - ENTROPIES) * (1 - GAPS))),
        ("none", 5.0): np.ones(6),
        ("half", 5.0): np.full(6, 0.5),
    }
    store = filled(tmp_path)
    scored = store.find("key-score")
    with store.writer("test"):
        for gate, beta in expected:
            store.begin_run(run(f"{gate} {beta}", {"sdar": {"gate": gate, "beta": beta}}))
            store.reuse(stage("score", run_id=f"{gate} {beta}"), scored)
    for (gate, beta), values in expected.items():
        rows = store.query(
            f"SELECT gate FROM token_value WHERE run_id = '{gate} {beta}' ORDER BY episode_id, position"
        )
        np.testing.assert_allclose(rows["gate"].to_numpy(), values, atol=1e-6)


def test_undefined_gap_has_an_undefined_gate(tmp_path):
    store = filled(tmp_path)
    table = store.query(
        "SELECT sigmoid(NULL) AS a, sigmoid('nan'::DOUBLE) AS b, sigmoid('-inf'::DOUBLE) AS c"
    )
    (row,) = table.to_pylist()
    assert row["a"] is None
    assert np.isnan(row["b"])
    assert row["c"] == pytest.approx(0.0, abs=1e-300)


def test_branches_keep_their_own_scores(tmp_path):
    store = filled(tmp_path)
    with store.writer("test"):
        store.begin_run(run("r2", {"sdar": {"gate": "half", "beta": 5.0}}, parent="r1"))
        store.reuse(stage("collect", run_id="r2"), store.find("key-collect"))
        store.commit(
            stage("score", key="k2", run_id="r2"), "scores", {"token_score": [scores("e1", (1.0, 1.0, 1.0))]}
        )
    query = "SELECT run_id, count(*) n, avg(gap) gap, max(gate) gate FROM token_gap GROUP BY 1 ORDER BY 1"
    first, second = store.query(query).to_pylist()
    assert (first["run_id"], first["n"], second["run_id"], second["n"]) == ("r1", 6, "r2", 3)
    assert first["gap"] == pytest.approx(GAPS.mean())
    assert (second["gap"], second["gate"]) == (pytest.approx(1.0), 0.5)


def test_rounds_that_a_branch_shares_keep_the_gate_they_were_updated_with(tmp_path):
    store = filled(tmp_path)
    with store.writer("test"):
        store.begin_run(run("r2", {"sdar": {"gate": "none", "beta": 5.0}}, parent="r1"))
        for name in ("collect", "score"):
            store.reuse(stage(name, run_id="r2"), store.find(f"key-{name}"))
    gate = "SELECT max(gate) AS highest FROM {} WHERE run_id = 'r2'"
    views = ("token_value", "scored_token", "token_gap")
    assert [store.query(gate.format(view)).to_pylist() for view in views] == [[{"highest": 1.0}]] * 3
    with store.writer("test"):  # the update that both share was made by the first run, with its settings
        update = {"config": {"sdar": {"gate": "half", "beta": 5.0}}, "run_id": "r2"}
        store.commit(stage("update", **update), "policy", {})
    assert [store.query(gate.format(view)).to_pylist() for view in views] == [[{"highest": 0.5}]] * 3
    (row,) = store.query("SELECT * FROM round_summary WHERE run_id = 'r2'").to_pylist()
    assert (row["gate_mean"], row["gate_share"]) == (0.5, 0.0)


def test_round_summary(tmp_path):
    first, second = filled(tmp_path).query("SELECT * FROM round_summary").to_pylist()
    assert (first["round"], first["episodes"], first["seconds"]) == (0, None, 2.0)
    assert (second["round"], second["episodes"], second["seconds"]) == (1, 2, 8.0)
    assert (second["success"], second["mean_return"], second["mean_turns"]) == (0.5, 0.5, 2.0)
    assert second["gap_mean"] == pytest.approx(GAPS.mean(), abs=1e-6)
    assert second["gate_mean"] == pytest.approx(sigmoid(5 * GAPS).mean(), abs=1e-6)
    assert second["gate_share"] == pytest.approx(1 / 6)


def test_learning_curve_is_without_skills_and_in_order(tmp_path):
    store = filled(tmp_path)
    with store.writer("test"):
        store.commit(stage("evaluate", round=0), "evaluation", {"evaluation": [evaluation(False)]})
    rows = store.query(
        "SELECT run_id, method, round, success, low, high, episodes FROM learning_curve"
    ).to_pylist()
    expected = {"run_id": "r1", "method": "sdar", "success": 0.25, "low": 0.05, "high": 0.7, "episodes": 4}
    assert rows == [{**expected, "round": 0}, {**expected, "round": 1}]


def test_skill_usefulness_and_audit(tmp_path):
    store = filled(tmp_path)
    useful, other = store.query("SELECT * FROM skill_usefulness").to_pylist()
    # Mean gaps: e1 (success) -1/6, e2 (failure) -1/2; s2 was in both contexts, s1 in that of e1 only.
    assert (useful["skill"], useful["uses"]) == ("name of s2", 2)
    assert useful["difference"] == pytest.approx(1 / 3, abs=1e-6)
    assert (other["skill"], other["uses"], other["gap_on_failure"]) == ("name of s1", 1, None)
    assert other["gap_on_success"] == pytest.approx(-1 / 6, abs=1e-6)
    assert (useful["last_round"], useful["successes"], useful["failures"]) == (1, 1, 1)
    assert (useful["low"], useful["high"]) == (None, None)  # one episode has no spread
    audit = store.query("SELECT episode_id, skill, rank FROM retrieval_audit").to_pylist()
    assert [tuple(row.values()) for row in audit] == [
        ("e1", "name of s1", 0), ("e1", "name of s2", 1), ("e2", "name of s2", 0),
    ]  # fmt: skip


def test_the_interval_of_usefulness(tmp_path):
    store = filled(tmp_path)
    episodes = [episode("e1"), episode("e2", success=False), episode("e3"), episode("e4", success=False)]
    gaps = {"e1": (0.2, 0.2, 0.2), "e2": (-0.1, -0.1, -0.1), "e3": (0.6, 0.6, 0.6), "e4": (0.1, 0.1, 0.1)}
    with store.writer("test"):
        store.commit(stage("collect", "k2"), "episodes", {"task": [task()], "episode": episodes})
        store.commit(
            stage("retrieve", "k3"),
            "contexts",
            {"teacher_context": [context(name, ("s1",)) for name in gaps]},
        )
        rows = [scores(name, gap) for name, gap in gaps.items()]
        store.commit(stage("score", "k4"), "scores", {"token_score": rows})
    (row,) = store.query("SELECT * FROM skill_usefulness").to_pylist()
    # Means 0.4 and 0, sample variances 0.08 and 0.02, error sqrt(0.04 + 0.01) = 0.223607, times 1.959964.
    assert (row["uses"], row["successes"], row["failures"]) == (4, 2, 2)
    assert row["difference"] == pytest.approx(0.4, abs=1e-6)
    assert (row["low"], row["high"]) == (
        pytest.approx(0.4 - 0.438261, abs=1e-5), pytest.approx(0.4 + 0.438261, abs=1e-5),
    )  # fmt: skip


def test_every_table_and_view_is_explained(tmp_path):
    rows = filled(tmp_path).query(TABLES_QUERY).to_pylist()
    assert {row["name"] for row in rows} >= {"token_gap", "learning_curve", "episode", "_migration"}
    assert [row["name"] for row in rows if not row["comment"]] == []


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM episode",
        "INSERT INTO run SELECT * FROM run",
        "DROP TABLE run",
        "CREATE TEMP TABLE x AS SELECT 1",
        "SELECT 1; DROP TABLE run",
        "COPY run TO 'out.csv'",
        "SELECT * FROM read_text('/etc/hostname')",
        "ATTACH 'other.duckdb'",
        "SET enable_external_access = true",
        "INSTALL fts",
        "EXPLAIN ANALYZE DELETE FROM episode",
        "SELEC 1",
        "SELECT nothing FROM run",
        "",
    ],
)
def test_sql_only_reads(shared, sql):
    with pytest.raises(InputError, match="sdar sql --tables"):
        shared.query(sql)
    assert shared.query("SELECT count(*) FROM episode")[0][0].as_py() == 2


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return filled(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize(
    "sql", ["SHOW TABLES", "DESCRIBE token_gap", "SUMMARIZE run", "EXPLAIN SELECT 1", "FROM run"]
)
def test_sql_that_reads(shared, sql):
    assert shared.query(sql).num_rows > 0


def test_the_queries_of_the_guide_run(shared):
    guide = (Path(__file__).parents[2] / "docs" / "store.md").read_text()
    queries = re.findall(r"```sql\n(.+?)```", guide, re.DOTALL)
    assert len(queries) == 3
    for sql in queries:
        assert shared.query(sql).num_rows > 0
