"""`sdar.open_store`: the answers of its methods on a store with hand-worked numbers, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_store import GAPS, report_store

import sdar
from sdar.schemas.errors import InputError
from sdar.storage import open_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> sdar.StoreReader:
    folder = tmp_path_factory.mktemp("reader") / "store"
    report_store(folder)
    return sdar.open_store(folder)


def test_runs_and_curve(store: sdar.StoreReader) -> None:
    assert [(row["id"], row["status"]) for row in store.runs().to_pylist()] == [("r1", "done")]
    curve = store.learning_curve().to_pylist()
    assert [(row["round"], row["success"]) for row in curve] == [(0, 1 / 8), (2, 1.0)]
    assert store.learning_curve("r1").equals(store.learning_curve())


def test_gaps_and_episodes_by_round(store: sdar.StoreReader) -> None:
    gaps = store.token_gaps(round=1)
    assert gaps["gap"].to_pylist() == [*GAPS["r1-won"], *GAPS["r1-lost"]]
    assert store.token_gaps().num_rows == 9
    assert store.episodes(round=2)["id"].to_pylist() == ["r2-won"]
    assert store.episodes()["success"].to_pylist() == [True, False, True]


def test_rounds_skills_and_schema(store: sdar.StoreReader) -> None:
    assert store.rounds()["round"].to_pylist() == [0, 1, 2]
    assert store.skills()["run_id"].unique().to_pylist() in ([], ["r1"])
    columns = store.schema().to_pylist()
    assert {"token_gap", "learning_curve"} <= {row["name"] for row in columns}


def test_sql_reads_and_nothing_else(store: sdar.StoreReader) -> None:
    assert store.sql("SELECT count(*) AS n FROM episode").to_pylist() == [{"n": 19}]
    with pytest.raises(InputError, match="found DROP"):
        store.sql("DROP TABLE episode")


def test_an_unknown_run_is_named_with_those_there_are(store: sdar.StoreReader) -> None:
    with pytest.raises(InputError, match=r"no run \"x' OR 1\" .* the latest are: r1"):
        store.episodes("x' OR 1")


def test_no_store_and_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no store in"):
        sdar.open_store(tmp_path / "none")
    open_store(tmp_path / "empty")
    with pytest.raises(InputError, match="has no run yet"):
        sdar.open_store(tmp_path / "empty").episodes()
    assert sdar.open_store(tmp_path / "empty").runs().num_rows == 0


def test_data_frames_where_their_packages_are_installed(store: sdar.StoreReader) -> None:
    polars = pytest.importorskip("polars")
    assert polars.from_arrow(store.learning_curve())["success"].to_list() == [1 / 8, 1.0]
    pytest.importorskip("pandas")
    assert store.learning_curve().to_pandas()["success"].tolist() == [1 / 8, 1.0]
