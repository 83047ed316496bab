from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from sdar.flows.display import (
    COLUMNS,
    Closing,
    JsonLines,
    LiveTable,
    PlainLines,
    Warned,
    cell,
    close,
    fitting,
    open_watch,
    time_left,
    warned,
)
from sdar.flows.improve import run_rounds
from sdar.flows.output import aligned, size
from sdar.schemas.records import Verdict

ROW: dict[str, Any] = {
    "round": 3,
    "success": 0.5,
    "low": 0.404,
    "high": 0.596,
    "gap": 0.1234,
    "drift": None,
    "seconds": 2.0,
}


class Report:
    """A stage report by hand."""

    stage, round, artifact_id, reused, seconds = "evaluate", 3, "a" * 64, False, 1.25
    summary: dict[str, float | str] = {"success": 0.5, "low": 0.404, "high": 0.596, "policy": "b" * 64}  # noqa: RUF012


def _verdict(stop: bool, round: int = 3) -> Verdict:
    return Verdict(
        round=round,
        stop=stop,
        reason="target",
        sentence="The target was reached.",
        best_policy="b" * 64,
        best_round=3,
        best_success=0.5,
    )


def test_cells_carry_intervals_and_dashes() -> None:
    assert cell(ROW, "success") == "50.0 % [40.4, 59.6]"
    assert cell({"success": 1.0}, "success") == "100.0 %"
    assert cell(ROW, "gap") == "+0.123"
    assert cell(ROW, "drift") == "-"
    assert cell(ROW, "entropy") == "-"
    assert cell({"drift": float("nan")}, "drift") == "nan"


def test_time_left_is_the_mean_round_times_the_rounds_left() -> None:
    assert time_left(0, 10, 5.0) == ""
    assert time_left(4, 10, 20.0) == "30 s"
    assert time_left(1, 21, 9.0) == "3 min 00 s"
    assert time_left(10, 10, 20.0) == "0 s"
    assert time_left(1, 41, 300.0) == "3 h 20 min"


def test_plain_lines_show_one_stage_a_line() -> None:
    stream = io.StringIO()
    PlainLines(stream).finished(Report(), [ROW])
    expected = "round   3  evaluate                 1.2 s  success=50.0 % [40.4, 59.6]  policy=bbbbbbbbbbbb\n"
    assert stream.getvalue() == expected


EQUAL = "The share of groups with equal returns is {}, above 0.8: rewards hardly teach any more."
GAP = "The mean gap is -2.5, outside [-2, 2]."


def test_a_warning_is_told_when_its_kind_comes_up() -> None:
    stream = io.StringIO()
    lines = PlainLines(stream)
    for texts in ([EQUAL.format(0.83)], [EQUAL.format(1), GAP], [EQUAL.format("nan")]):
        report = Report()
        report.summary = {"warnings": " ".join(texts)}
        lines.finished(report, [])
    told = [line.strip() for line in stream.getvalue().splitlines() if "warning" in line]
    assert told == [f"warning: {EQUAL.format(0.83)}", f"warning: {GAP}"]


def test_warnings_are_counted_by_kind() -> None:
    texts = ["", EQUAL.format(0.83), f"{EQUAL.format(1)} {GAP}", EQUAL.format(0.9), ""]
    rows: list[dict[str, Any]] = [
        {"round": number} | ({"warnings": text} if text else {}) for number, text in enumerate(texts)
    ]
    assert warned(rows) == [Warned(EQUAL.format(0.83), 1, 3), Warned(GAP, 2, 1)]
    table, console = LiveTable(rounds=4), Console(file=io.StringIO(), width=160)
    table.finished(Report(), rows)
    console.print(table.render())
    closing, as_json = io.StringIO(), io.StringIO()
    close(Closing("run-1", "s", "p", _verdict(True), rows), stream=closing)
    for shown in (console.file.getvalue(), closing.getvalue()):  # type: ignore[attr-defined]
        assert f"Warning in 3 rounds, first in round 1: {EQUAL.format(0.83)}" in shown
        assert f"Warning in round 2: {GAP}" in shown
    close(Closing("run-1", "s", "p", _verdict(True), rows), as_json=True, stream=as_json)
    first = json.loads(as_json.getvalue())["warnings"][0]
    assert first == {"sentence": EQUAL.format(0.83), "first": 1, "rounds": 3}


def test_after_a_collapse_the_closing_lines_say_how_to_go_on() -> None:
    stream = io.StringIO()
    verdict = _verdict(True).model_copy(update={"reason": "collapse"})
    close(Closing("run-1", "my store", "my store/blobs/x", verdict, [ROW]), stream=stream)
    assert "choose other settings" in stream.getvalue()
    assert "  sdar run --set 'policy.path=my store/blobs/x' --store 'my store'  #" in stream.getvalue()


def test_the_next_command_names_the_environment() -> None:
    stream = io.StringIO()
    close(Closing("run-1", "s", "p", _verdict(True), [ROW], environment="trip"), stream=stream)
    assert "  sdar run --env trip --set policy.path=p --store s  #" in stream.getvalue()


def test_json_lines_have_one_object_a_stage() -> None:
    stream = io.StringIO()
    JsonLines(stream).finished(Report(), [ROW])
    line = json.loads(stream.getvalue())
    assert line == {
        "event": "stage",
        "round": 3,
        "stage": "evaluate",
        "artifact_id": "a" * 64,
        "reused": False,
        "seconds": 1.25,
        "summary": Report.summary,
    }


def test_a_pipe_gets_plain_lines_and_json_is_json() -> None:
    with open_watch(3, stream=io.StringIO()) as watch:
        assert isinstance(watch, PlainLines)
    with open_watch(3, as_json=True, stream=io.StringIO()) as watch:
        assert isinstance(watch, JsonLines)


def test_the_live_table_shows_rounds_stage_and_time_left() -> None:
    now = [100.0]
    table = LiveTable(rounds=4, clock=lambda: now[0])
    table.started("evaluate", 3)
    now[0] = 110.0
    table.finished(Report(), [ROW])
    table.started("collect", 4)
    console = Console(file=io.StringIO(), width=160)
    console.print(table.render())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "50.0 % [40.4, 59.6]" in text
    assert "round 4: collect" in text
    assert "at most 1 s left" in text  # round 3 took 1.25 s, and round 4 is the last


def test_a_narrow_terminal_gets_fewer_columns_of_the_live_table() -> None:
    row = {
        "round": 1,
        "success": 0.5,
        "low": 0.404,
        "high": 0.596,
        "seconds": 61.04,
        "tokens_per_second": 1e4,
    }
    # 5 + 20 + 9 + 3 + 4 + 5 + 2 + 7 + 8 + 7 characters, and two between each two of the ten columns.
    assert fitting([row], 88) == list(COLUMNS)
    assert fitting([row], 87) == [key for key in COLUMNS if key != "tokens_per_second"]
    assert fitting([row], 10) == ["round", "success", "seconds"]
    assert fitting([], 200) == list(COLUMNS)
    console = Console(file=io.StringIO(), width=80)
    table = LiveTable(rounds=4, console=console)
    table.finished(Report(), [ROW])
    console.print(table.render())
    assert "…" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_live_table_of_a_run_that_ended_has_no_stage_and_no_time_left() -> None:
    table = LiveTable(rounds=4)
    console = Console(file=io.StringIO(), width=160)
    console.print(table.render())
    assert "at most" not in console.file.getvalue()  # type: ignore[attr-defined]  # nothing is known yet
    table.finished(Report(), [ROW])
    table.ended = True
    console.print(table.render())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("so far") == 1
    assert "50.0 % [40.4, 59.6]" in text


def test_the_closing_summary_names_policy_verdict_and_next_commands() -> None:
    stream = io.StringIO()
    closing = Closing("run-1", "my-store", "my-store/blobs/x", _verdict(True), [ROW])
    close(closing, stream=stream)
    text = stream.getvalue()
    for part in ("The target was reached.", "b" * 64, "my-store/blobs/x", "50.0 % [40.4, 59.6]", "sdar sql"):
        assert part in text


def test_the_closing_json_has_the_verdict_and_no_nan() -> None:
    stream = io.StringIO()
    rows: list[dict[str, Any]] = [ROW, {"round": 4, "drift": float("nan")}]
    close(Closing("run-1", "s", "p", _verdict(True), rows), as_json=True, stream=stream)
    final = json.loads(stream.getvalue())
    assert final["event"] == "run"
    assert final["verdict"]["best_policy"] == "b" * 64
    assert final["best"] == {"success": 0.5, "low": 0.404, "high": 0.596}
    assert final["rounds"][1]["drift"] is None


def test_rounds_go_on_until_the_verdict_says_stop() -> None:
    class Session:
        run_id, verdict = "run-1", None

        def plan(self, round: int) -> tuple[str, ...]:
            return ("a", "decide") if round % 2 == 0 else ("a",)

        def execute(self, stage: str, round: int) -> Any:
            raise AssertionError("the flow executes stages, not run_rounds")

        def table(self) -> list[dict[str, Any]]:
            return []

    session = Session()
    seen: list[tuple[str, int]] = []
    published: list[int] = []

    def execute(stage: str, round: int) -> None:
        seen.append((stage, round))
        if stage == "decide":
            session.verdict = _verdict(stop=round == 2)  # type: ignore[assignment]

    run_rounds(session, execute, published.append)
    assert seen == [("a", 0), ("decide", 0), ("a", 1), ("a", 2), ("decide", 2)]
    assert published == [0, 1, 2]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert aligned(["n", "text"], [["1", "a"], ["10", "b c"]]) == "n   text\n1   a\n10  b c"
    assert aligned(["n", "text"], []) == "n  text"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0.0 kB"), (1540, "1.5 kB"), (99_999, "100.0 kB"), (1.25e7, "12.5 MB")]
)
def test_sizes_are_in_decimal_units(count: int, text: str) -> None:
    assert size(count) == text
