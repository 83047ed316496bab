"""What the Prefect page shows of a run, without Prefect; test_server.py has it on a real server."""

from __future__ import annotations

from pathlib import Path

from sdar.flows.artifacts import progress_percent, round_table, run_name, run_tags, verdict_text
from sdar.schemas.config import RunConfig
from sdar.schemas.records import Verdict

GOING_ON = Verdict(
    round=1,
    stop=False,
    reason="continue",
    sentence=f"Going on: 30 % in round 1, policy {'b' * 64}.",
    best_policy="b" * 64,
    best_round=1,
    best_success=0.3,
)


def test_runs_are_found_by_world_method_and_engine() -> None:
    assert run_tags(RunConfig()) == ["env:household", "method:sdar", "engine:transformers"]
    assert run_name("20260301-020000-sdar-seed3", RunConfig()) == "household: 20260301-020000-sdar-seed3"


def test_the_table_has_titles_units_and_intervals() -> None:
    (row,) = round_table(
        [{"round": 1, "success": 0.3, "low": 0.2, "high": 0.45, "gap": -0.12, "seconds": 61.04}]
    )
    assert (row["round"], row["success on the panel"]) == ("1", "30.0 % [20.0, 45.0]")
    assert (row["gap"], row["gate"], row["seconds"]) == ("-0.120", "\N{EN DASH}", "61.0")


def test_progress_ends_with_the_verdict() -> None:
    # Round 0 and three more: each is a quarter; a run may go on beyond what was planned, but not beyond all.
    assert [progress_percent(number, 3, GOING_ON) for number in (0, 1, 3, 4)] == [25.0, 50.0, 100.0, 100.0]
    stopped = GOING_ON.model_copy(update={"stop": True})
    assert progress_percent(1, 3, stopped) == 100.0


def test_the_verdict_names_warnings_and_the_report() -> None:
    rows = [{"round": 1, "warnings": "Few groups vary: 2 of 8."}]
    paragraphs = verdict_text("run-1", Path("/a store"), GOING_ON, rows).split("\n\n")
    assert paragraphs[:2] == ["## Going on", f"30 % in round 1, policy {'b' * 12}."]
    assert paragraphs[3] == "- Warning in round 1: Few groups vary: 2 of 8."
    assert "--store '/a store'" in paragraphs[4]
    assert "`/a store/reports/run-1.html`" in paragraphs[4]
    reached = GOING_ON.model_copy(update={"sentence": "The target was reached."})
    assert verdict_text("run-1", Path("s"), reached, []).startswith("## The target was reached.\n\nBest")
    assert verdict_text("run-1", Path("/a store"), None, []).startswith("## No verdict yet\n\n`sdar report")
