"""When slots are due, and which of them are carried out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sdar.flows import cli
from sdar.flows.commands.serve import _branch
from sdar.flows.slot_record import LATE, Begun, SlotRecord, why_not
from sdar.flows.timetable import next_slots, timetable
from sdar.schemas.errors import ConfigError
from sdar.schemas.lineage import RunRecord
from sdar.storage import open_store

TWO = datetime(2026, 3, 1, 2, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


def test_a_cron_line_keeps_its_hour_when_clocks_change() -> None:
    times = timetable("0 3 * * *", None, "Europe/Berlin")
    # Summer time began on 29 March 2026 at two; three o'clock was 02:00 UTC the day before, 01:00 UTC then.
    slots = next_slots(times, 3, datetime(2026, 3, 27, 12, tzinfo=UTC))
    assert [f"{slot:%d %H:%M %Z}" for slot in slots] == ["28 03:00 CET", "29 03:00 CEST", "30 03:00 CEST"]
    assert [slot.astimezone(UTC).hour for slot in slots] == [2, 1, 1]


def test_an_hour_that_a_change_of_clocks_leaves_out_is_the_one_before() -> None:
    slots = next_slots(
        timetable("0 2 * * *", None, "Europe/Berlin"), 2, datetime(2026, 3, 28, 12, tzinfo=UTC)
    )
    assert [f"{slot:%d %H:%M %Z}" for slot in slots] == ["29 01:00 CET", "30 02:00 CEST"]


def test_intervals_are_elapsed_time_from_a_midnight_in_winter() -> None:
    times = timetable(None, "12h", "Europe/Berlin")
    for month, expected in ((1, ["15 12:00 CET", "16 00:00 CET"]), (7, ["15 13:00 CEST", "16 01:00 CEST"])):
        slots = next_slots(times, 2, datetime(2026, month, 15, 8, tzinfo=UTC))
        assert [f"{slot:%d %H:%M %Z}" for slot in slots] == expected


def test_intervals_count_from_midnight() -> None:
    slots = next_slots(timetable(None, "6h", "UTC"), 3, datetime(2026, 1, 1, 7, 30, tzinfo=UTC))
    assert [f"{slot:%d %H:%M}" for slot in slots] == ["01 12:00", "01 18:00", "02 00:00"]
    assert timetable(None, "90", "UTC").interval == timedelta(seconds=90)


@pytest.mark.parametrize(
    ("cron", "interval", "timezone", "message"),
    [
        (None, None, "UTC", "found neither of --cron and --interval"),
        ("0 2 * * *", "1h", "UTC", "found both"),
        ("0 2 * *", None, "UTC", "--cron '0 2 \\* \\*' cannot be read.*five fields"),
        (None, "0m", "UTC", "--interval '0m' cannot be read.*90s, 30m, 12h or 1d"),
        (None, "1h", "Europe/Berln", "no timezone 'Europe/Berln'; .*Europe/Berlin"),
    ],
)
def test_what_cannot_be_read_is_refused(
    cron: str | None, interval: str | None, timezone: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        timetable(cron, interval, timezone)


def test_the_first_slot_after_a_pause_stands_for_all_that_were_missed() -> None:
    now, before = TWO + 10 * HOUR, Begun(TWO - HOUR, TWO - HOUR / 2)
    assert why_not(TWO, now, before, "one") is None
    working = Begun(now, None)
    for missed in (TWO + HOUR, TWO + 9 * HOUR, now):
        assert "stands for it" in (why_not(missed, now + MINUTE, working, "one") or "")
    assert why_not(now + HOUR, now + HOUR, working, "one") is None


def test_a_slot_of_a_clock_that_was_ahead_stands_for_none() -> None:
    ahead = Begun(TWO + 24 * 365 * HOUR, None)
    assert why_not(TWO, TWO + MINUTE, ahead, "one") is None


def test_reasons_name_moments_in_the_timezone_of_the_slot() -> None:
    due = (TWO + HOUR).astimezone(ZoneInfo("Europe/Berlin"))
    assert "began at 2026-03-01 06:00:00 CET" in (
        why_not(due, TWO + 4 * HOUR, Begun(TWO + 3 * HOUR, None), "one") or ""
    )
    assert "(2026-03-01 07:00:00 CET)" in (why_not(due, TWO + 4 * HOUR, None, "none") or "")


def test_no_catch_up_drops_missed_slots_but_not_those_that_queued() -> None:
    ended = Begun(TWO - HOUR, TWO + HOUR)
    late = TWO + LATE + timedelta(seconds=1)
    assert why_not(TWO, late + HOUR, ended, "none") is None  # it came due while another one worked
    for last in (None, Begun(TWO - HOUR, TWO - MINUTE), Begun(TWO - HOUR, None)):
        assert "it was missed" in (why_not(TWO, late, last, "none") or "")
        assert why_not(TWO, TWO + LATE, last, "none") is None


def test_the_record_knows_the_slot_that_worked_last(tmp_path: Path) -> None:
    record = SlotRecord(tmp_path / "logs" / "schedule.jsonl")
    assert record.last() is None
    record.note("began", TWO, pid=1)
    first = record.last()
    assert first is not None
    assert first.ended is None
    record.note("done", TWO, run="r")
    record.note("skipped", TWO + HOUR, reason="")
    second = record.last()
    assert second is not None
    assert (second.began, second.ended is None) == (first.began, False)
    record.note("began", TWO + HOUR, pid=2)
    with record.path.open("a") as stream:
        stream.write('{"event": "do')  # the process was killed here
    third = record.last()
    assert third is not None
    assert third.ended is None


def test_a_branch_with_other_settings_is_told_before_it_goes_on() -> None:
    made = {"id": "a", "created": "", "seed": 0, "method": "sdar", "status": "done"}
    first = RunRecord.model_validate({**made, "config": {"sdar": {"gate": "gap"}, "stop": {"rounds": 5}}})
    longer = first.model_copy(
        update={"id": "b", "parent": "a", "config": {**first.config, "stop": {"rounds": 9}}}
    )
    other = first.model_copy(update={"id": "c", "parent": "a", "config": {"sdar": {"gate": "none"}}})
    runs = [first, longer, other]
    assert list(_branch(first, runs)) == list(_branch(longer, runs)) == []
    assert list(_branch(other, runs)) == [
        "         It is a branch of a with sdar.gate=none; --run takes another run."
    ]


def test_a_store_without_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    open_store(tmp_path / "store")
    assert cli.execute(["serve", "--cron", "0 2 * * *", "--store", str(tmp_path / "store")]) == 2
    assert "start one with `sdar run`" in capsys.readouterr().err
