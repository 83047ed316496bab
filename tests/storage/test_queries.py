"""The queries of docs/queries, how results are written, and the explained schema."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_samples import evaluation, filled, judgement, policy, run, skill, stage, trial

from sdar.schemas.errors import ConfigError, InputError
from sdar.schemas.records import BankVersion, SkillLift, SkillState
from sdar.storage import SCHEMA_QUERY, schema_text, write_table

FOLDER = Path(__file__).parents[2] / "docs" / "queries"
FILES = sorted(FOLDER.glob("*.sql"))


BANK = {
    "skill": [skill("s1"), skill("s2")],
    "skill_state": [
        SkillState(skill_id="s1", evidence=("e1",), retired=False, reason=""),
        SkillState(skill_id="s2", evidence=(), retired=True, reason="It hurts."),
    ],
    "skill_trial": [trial("s1", "admitted"), trial("s3", "refused")],
    "skill_lift": [
        SkillLift(
            skill_id="s2",
            successes=2,
            lift_success=-0.5,
            failures=2,
            lift_failure=0.5,
            lift=-1.0,
            low=-1.5,
            high=-0.5,
        )
    ],
    "bank_version": [BankVersion(parent="a0", round=1, skills=2, retired=1)],
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Round 1 of r1 with a second evaluation and a policy made from the first, and r2 with other settings."""
    store = filled(tmp_path_factory.mktemp("store"))
    with store.writer("test"):
        child = policy().model_copy(update={"id": "p1", "parent": "p0", "method": "sdar", "round": 2})
        store.commit(stage("update", round=2), "policy", {"policy": [child]})
        better = evaluation(False).model_copy(update={"policy_id": "p1", "success": 0.75})
        store.commit(stage("evaluate", round=2), "evaluation", {"evaluation": [better]})
        store.commit(
            stage("judge"), "judgements", {"self_judgement": [judgement("e1", 0.5), judgement("e2", -0.5)]}
        )
        store.commit(stage("distill"), "bank", BANK)
        store.pin("p1")
        settings = {"sdar": {"gate": "none", "beta": 5.0}, "stop": {"minutes": None, "rounds": 3}}
        store.begin_run(run("r2", settings, created="2026-01-02T00:00:00"))
    return store


def ask(store, name):
    return store.query((FOLDER / f"{name}.sql").read_text()).to_pylist()


def test_there_are_fifteen():
    assert len(FILES) == 15


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_query_says_what_it_answers_and_finds_rows(store, file):
    text = file.read_text()
    assert text.startswith("-- ")
    assert "?" in text.splitlines()[0]
    # That of one environment finds nothing here; tests/envs/test_search_qa_sql.py gives it episodes.
    assert (store.query(text).num_rows > 0) == (file.stem != "answer_f1")


def test_learning_curve(store):
    rows = ask(store, "learning_curve")
    assert [(row["round"], row["success"], row["gain"]) for row in rows] == [(1, 0.25, None), (2, 0.75, 0.5)]


def test_rejected_and_endorsed_tokens(store):
    # Gaps of the successful episode: 0.5 on token 7, -1 on token 8, 0 on token 10; all of e2 are -0.5.
    (rejected,) = ask(store, "rejected_in_success")
    assert (rejected["token"], rejected["times"], rejected["gap"]) == ("<8>", 1, -1.0)
    assert rejected["gate"] == pytest.approx(1 / (1 + math.exp(5)), abs=1e-6)
    (endorsed,) = ask(store, "endorsed_tokens")
    assert (endorsed["token"], endorsed["total_gap"], endorsed["success"]) == ("<7>", 0.5, 1.0)


def test_hardest_task_and_invalid_actions(store):
    (task,) = ask(store, "hardest_tasks")
    assert (task["task_id"], task["goal"], task["episodes"], task["success"]) == (
        "t1",
        "take the mug",
        2,
        0.5,
    )
    (actions,) = ask(store, "invalid_actions")
    assert (actions["actions"], actions["invalid_share"], actions["commonest"]) == (4, 0.5, "take")


def test_what_runs_share_counts_once_and_what_they_measured_is_their_own(tmp_path):
    made = filled(tmp_path)
    elsewhere = evaluation(False).model_copy(update={"panel_id": "other", "success": 0.75})
    with made.writer("test"):
        made.begin_run(run("r2", parent="r1"))
        for name, number in (("bootstrap", 0), ("collect", 1)):
            made.reuse(stage(name, run_id="r2", round=number), made.find(f"key-{name}"))
        made.commit(stage("evaluate", "elsewhere", run_id="r2"), "evaluation", {"evaluation": [elsewhere]})
    (task,) = ask(made, "hardest_tasks")
    assert (task["episodes"], task["success"]) == (2, 0.5)
    lineage = [(row["run_id"], row["id"], row["success"]) for row in ask(made, "policy_lineage")]
    assert lineage == [("r1", "p0", 0.25), ("r2", "p0", 0.75)]


def test_self_judgement(store):
    (row,) = ask(store, "self_judgement")
    assert (row["episodes"], row["success"], row["consistency"], row["auroc"]) == (2, 0.5, 0.75, 1.0)
    assert (row["score_on_success"], row["score_on_failure"]) == (0.5, -0.5)


def test_distilled_skills(store):
    rows = ask(store, "distilled_skills")
    assert [(row["name"], row["verdict"], row["support"], row["reason"]) for row in rows] == [
        ("name of s1", "admitted", 2, "So it was."), ("name of s3", "refused", 2, "So it was."),
    ]  # fmt: skip


def test_the_report_of_a_bank_shows_where_each_skill_stands(store):
    report = store.query("SELECT * FROM skill_report WHERE run_id = 'r1'").to_pylist()
    found = [(row["skill"], row["support"], row["retired"], row["reason"], row["lift"]) for row in report]
    assert found == [("name of s1", 1, False, "", None), ("name of s2", 0, True, "It hurts.", -1.0)]
    assert [(row["uses"], row["last_round"]) for row in report] == [(1, 1), (2, 1)]


def test_a_retired_skill_stays_in_its_bank_and_is_not_given_out(store):
    (bank,) = [stage_run.artifact_id for stage_run in store.stage_runs("r1") if stage_run.stage == "distill"]
    assert [each.id for each in store.skills(bank)] == ["s1"]
    assert [each.id for each in store.skills(bank, retired=True)] == ["s1", "s2"]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([("e1", -0.5), ("e2", 0.5)], 0.0),
        ([("e1", 0.5), ("e2", 0.5)], 0.5),
        ([("e1", 0.5)], None),  # one outcome alone
    ],
)
def test_self_judgement_against_the_truth(tmp_path, scores, expected):
    store = filled(tmp_path)
    with store.writer("test"):
        rows = [judgement(name, score) for name, score in scores]
        store.commit(stage("judge"), "judgements", {"self_judgement": rows})
    (row,) = ask(store, "self_judgement")
    assert row["auroc"] == expected


def test_policy_lineage(store):
    rows = ask(store, "policy_lineage")
    found = [
        (row["generation"], row["id"], row["success"], row["has_weights"], row["pinned"]) for row in rows
    ]
    assert found == [(0, "p1", 0.75, False, True), (1, "p0", 0.25, False, False)]


def test_policy_lineage_ends_when_an_update_changed_nothing(tmp_path):
    store = filled(tmp_path)
    with store.writer("test"):
        itself = policy().model_copy(update={"parent": "p0"})
        store.commit(stage("update", round=2), "policy", {"policy": [itself]})
    assert {row["id"] for row in ask(store, "policy_lineage")} == {"p0"}


def test_configuration_changes(store):
    rows = {row["setting"]: (row["before"], row["after"]) for row in ask(store, "configuration_changes")}
    assert rows["sdar.gate"] == ('"gap"', '"none"')
    assert rows["stop.rounds"] == (None, "3")
    assert "sdar.beta" not in rows


def test_success_by_type_and_stop_reasons(store):
    first, second = ask(store, "success_by_type")
    assert (first["round"], first["type"], first["successes"], first["success"]) == (1, "pick", 1, 0.25)
    assert second["round"] == 2
    reasons = {row["stop_reason"]: (row["episodes"], row["share"]) for row in ask(store, "stop_reasons")}
    assert reasons == {"success": (1, 0.5), "max_steps": (1, 0.5)}


TABLE = pa.table(
    {
        "name": ['a, "b"', "x" * 70],
        "value": [0.1 + 0.2, float("nan")],
        "list": [[1, 2], None],
        "whole": [2**60, None],
    }
)


def test_csv_json_and_parquet_are_complete(tmp_path):
    stream = io.StringIO()
    write_table(TABLE, "csv", stream)
    rows = list(csv.DictReader(io.StringIO(stream.getvalue())))
    assert rows[0] == {
        "name": 'a, "b"',
        "value": "0.30000000000000004",
        "list": "[1, 2]",
        "whole": str(2**60),
    }
    assert (rows[1]["name"], rows[1]["list"]) == ("x" * 70, "")
    write_table(TABLE, "json", tmp_path / "out.json")
    first, second = json.loads((tmp_path / "out.json").read_text())
    assert first == {"name": 'a, "b"', "value": 0.1 + 0.2, "list": [1, 2], "whole": 2**60}
    assert second["value"] is None
    write_table(TABLE, "parquet", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").schema == TABLE.schema
    assert pq.read_table(tmp_path / "out.parquet")["value"][0].as_py() == 0.1 + 0.2


def test_text_is_aligned_and_cut():
    stream = io.StringIO()
    write_table(TABLE.slice(1), "table", stream)
    header, rule, row = stream.getvalue().splitlines()
    assert header.index("value") == rule.index("-", 61) == row.index("nan") == 62
    assert row.startswith("x" * 59 + "…")
    empty = io.StringIO()
    write_table(TABLE.slice(0, 0), "table", empty)
    assert empty.getvalue().splitlines() == ["name  value  list  whole", "----  -----  ----  -----"]


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(ConfigError, match=r"--out result\.parquet"):
        write_table(TABLE, "parquet", io.StringIO())
    with pytest.raises(ConfigError, match="table, csv, json, parquet; found 'xml'"):
        write_table(TABLE, "xml", io.StringIO())
    with pytest.raises(InputError, match="cannot write"):
        write_table(TABLE, "csv", tmp_path / "missing" / "out.csv")


def test_every_column_is_explained(store):
    rows = store.query(SCHEMA_QUERY).to_pylist()
    assert [(row["name"], row["column"]) for row in rows if not row["meaning"] or not row["comment"]] == []
    assert {"token_gap", "pin", "pruned", "_migration"} <= {row["name"] for row in rows}


def test_the_schema_as_text(store):
    text = schema_text(store.query(SCHEMA_QUERY))
    sections = text.split("\n\n## ")
    (pin,) = [section for section in sections if section.startswith("pin (table)")]
    assert pin.splitlines()[2] == "Policies whose weights prune keeps."
    assert pin.splitlines()[4:] == [
        "- `policy_id` VARCHAR: Id of the policy.", "- `note` VARCHAR: Why it is kept.",
    ]  # fmt: skip
    assert text.index("## token_gap (view)") < text.index("## artifact (table)")
