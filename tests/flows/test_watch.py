"""`sdar watch`: what is seen of a run that goes on, ended, died, or has not begun."""

from __future__ import annotations

import io
import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from store_samples import run, stage, task

from sdar.flows.commands import watch as command
from sdar.flows.report.texts import duration
from sdar.flows.watch_view import band, changed, facts, line, picture
from sdar.flows.watching import Observer, Published, Scene
from sdar.schemas.errors import InputError
from sdar.schemas.records import Verdict
from sdar.storage import Store, open_store
from sdar.storage.news import News, told

CONFIG: dict[str, Any] = {"env": {"name": "household"}, "stop": {"rounds": 4}}
PLAN = ("collect", "score", "update", "evaluate", "decide")
NEWS = News(run_id="r1", round=2, rounds=4, stage="score", plan=PLAN, began="2026-01-01T00:00:10+00:00")


def begun(folder: Path, identity: str = "r1") -> Store:
    """A store with round 0 and round 1 of a run: success 25 %, then 50 %; a gap of -0.5; 14 s a round."""
    store = open_store(folder)
    with store.writer("test"):
        store.begin_run(run(identity, CONFIG))
        commit(store, identity, 0, "evaluate", 6.0, {"success": 0.25, "low": 0.125, "high": 0.5})
        commit(store, identity, 1, "collect", 4.0, {"success": 0.1})
        commit(store, identity, 1, "score", 2.0, {"gap": -0.5})
        commit(store, identity, 1, "update", 1.0, {"gate_mean": 0.75})
        commit(store, identity, 1, "evaluate", 6.0, {"success": 0.5, "low": 0.25, "high": 0.75})
        commit(store, identity, 1, "decide", 1.0, {})
        commit(store, identity, 2, "collect", 4.0, {"success": 0.1})
    return store


def commit(store: Store, run_id: str, number: int, name: str, seconds: float, summary: Any) -> None:
    made = stage(
        name, f"{run_id}{number}{name}", run_id=run_id, round=number, seconds=seconds, summary=summary
    )
    rows = {"panel": [task(f"{run_id}{number}{name}")]}
    if name == "decide":
        verdict = Verdict(
            round=number, stop=False, reason="continue", sentence=f"Going on, policy {'ab' * 32}.",
            best_policy="p1", best_round=1, best_success=0.5,
        )  # fmt: skip
        store.commit(made, "verdict", {"verdict": [verdict]})
    else:
        store.commit(made, "panel", rows)


def shown(scene: Scene, height: int = 40, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=stream, width=100, height=height)
    console.print(picture(scene, console))
    stream.flush()
    stream.seek(0)
    return stream.read()


def at(moment: str) -> Any:
    from datetime import datetime

    return lambda: datetime.fromisoformat(moment).timestamp()


def test_a_running_stage_is_seen_with_its_time_left(tmp_path: Path) -> None:
    store = begun(tmp_path)
    with (
        store.writer("sdar run"),
        told(tmp_path, NEWS.model_copy(update={"done": 3, "total": 12, "unit": "rows"})),
    ):
        scene = Observer(store, clock=at("2026-01-01T00:00:11+00:00")).look()
        assert (scene.status, scene.ended, scene.elapsed) == ("running", False, 1.0)
        assert scene.run is not None
        assert scene.run.round_seconds == (14.0,)
        # The last time the stage took 2 s; then update 1 s, evaluate 6 s, decide 1 s, and two rounds of 14 s.
        assert (scene.stage_left, scene.run_left) == (1.0, 37.0)
        assert line(scene) == (
            "r1  round 2 of 4: score (2 of 5), 3 of 12 rows  success 50.0 % [25.0, 75.0] after round 1  "
            "gap -0.500  at most 37 s left"
        )
        text = shown(scene)
        assert "r1  household, sdar, seed 0  running" in text
        assert "1 s so far, about 1 s left" in text
        assert "Verdict of round 1: Going on, policy abababababab." in text
        assert f"Written by process {os.getpid()} on " in text
        values = facts(scene)
        assert (values["done"], values["total"], values["stage_seconds_left"], values["gap"]) == (
            3,
            12,
            1.0,
            -0.5,
        )
        assert [row["round"] for row in values["curve"]] == [0, 1]
        assert values["resume"] is None
        json.dumps(values)


def test_a_stage_that_takes_longer_than_before_is_judged_by_its_pace(tmp_path: Path) -> None:
    store = begun(tmp_path)
    with (
        store.writer("sdar run"),
        told(tmp_path, NEWS.model_copy(update={"done": 3, "total": 12, "unit": "rows"})),
    ):
        scene = Observer(store, clock=at("2026-01-01T00:00:13+00:00")).look()
        assert scene.stage_left == 9.0  # 3 of 12 in 3 s
    with store.writer("sdar run"), told(tmp_path, NEWS):
        assert Observer(store, clock=at("2026-01-01T00:00:13+00:00")).look().stage_left is None


def test_between_two_stages_the_last_one_stays(tmp_path: Path) -> None:
    store = begun(tmp_path)
    observer = Observer(store)
    with store.writer("sdar run"):
        with told(tmp_path, NEWS):
            before = observer.look()
        after = observer.look()
        assert (after.status, after.news) == ("running", NEWS)
        assert changed(after) == changed(before)
        with told(tmp_path, NEWS.model_copy(update={"stage": "update"})):
            assert changed(observer.look()) != changed(before)
    # A new process has not said anything of the run yet.
    with store.writer("sdar skills add"):
        assert (observer.look().status, observer.look().news) == ("busy", None)


def test_a_run_that_died_is_told_with_its_last_stage_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = begun(tmp_path)
    (tmp_path / "live").mkdir()
    (tmp_path / "live" / "r1.json").write_text(NEWS.model_dump_json())  # as SIGKILL leaves it
    scene = Observer(store).look()
    assert (scene.status, scene.ended) == ("died", True)
    said = (
        "Run r1 was never ended, and its process has gone. It was at round 2 of 4: score (2 of 5). "
        f"Go on with it: sdar run --resume r1 --store {tmp_path}"
    )
    assert line(scene) == said
    assert facts(scene)["resume"] == f"sdar run --resume r1 --store {tmp_path}"
    with pytest.raises(typer.Exit) as ended:
        command.watch(store=tmp_path)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().out == f"{said}\n"


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        ("done", 0, "Run r1 is done. Everything about it: sdar report --open --run r1 --store "),
        ("failed", 1, "Run r1 has failed. Go on with it: sdar run --resume r1 --store "),
        ("interrupted", 1, "Run r1 was interrupted. Go on with it: sdar run --resume r1 --store "),
    ],
)
def test_a_run_that_ended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], status: Any, code: int, said: str
) -> None:
    store = begun(tmp_path)
    with store.writer("test"):
        store.finish_run("r1", status)
    scene = Observer(store).look()
    assert scene.status == status
    assert line(scene) == f"{said}{tmp_path}"
    with nullcontext() if code == 0 else pytest.raises(typer.Exit, match=str(code)):
        command.watch(once=True, store=tmp_path)
    assert said.split(". ")[1] in capsys.readouterr().out


def test_no_run_yet(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    with pytest.raises(InputError, match=r"has no run yet\. Start one with: sdar run --store"):
        Observer(store).look()
    with store.writer("sdar run"):  # it is going to begin one
        scene = Observer(store).look()
        assert (scene.status, scene.run) == ("busy", None)
        assert line(scene).startswith(f"No run is recorded yet; the store is held by process {os.getpid()} ")
        assert "no run is recorded yet" in shown(scene)
        assert facts(scene)["run"] is None
    with pytest.raises(InputError, match="no store in"):
        command.watch(store=tmp_path / "none")


def test_of_several_runs_the_one_seen_first_stays(tmp_path: Path) -> None:
    store = begun(tmp_path)
    begun(tmp_path, "r2")
    observer = Observer(store)
    with store.writer("sdar compare"), told(tmp_path, NEWS):
        assert observer.look().others == ()
        with told(tmp_path, NEWS.model_copy(update={"run_id": "r2", "round": 3})):
            scene = observer.look()
            assert scene.run is not None
            assert scene.run.run_id == "r1"
            assert "Also going on: r2 (round 3)" in shown(scene)


def test_nothing_is_read_again_unless_something_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, queries = begun(tmp_path), []
    real = store.query
    monkeypatch.setattr(store, "query", lambda sql: queries.append(sql) or real(sql))
    observer = Observer(store)
    for _ in range(3):
        observer.look()
    assert len(queries) == 3  # runs, stages, verdict: once each
    with store.writer("test"):
        store.finish_run("r1", "done")
    assert observer.look().status == "done"
    assert len(queries) == 6


def test_changes_are_told_once_and_the_watch_ends_with_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    looks = [NEWS, NEWS, NEWS.model_copy(update={"stage": "update"}), None]
    published = Published("r1", "sdar", 0, "household", 4, "running", (), {}, (), None)
    scenes = iter(
        [Scene(Path("s"), "running" if news else "done", None, published, news, 1.0) for news in looks]
    )
    begun(tmp_path)
    monkeypatch.setattr(Observer, "look", lambda _: next(scenes))
    monkeypatch.setattr(command, "LOOK_S", 0.0)
    command.watch(store=tmp_path)
    assert capsys.readouterr().out.splitlines() == [
        "r1  round 2 of 4: score (2 of 5)",
        "r1  round 2 of 4: update (3 of 5)",
        "Run r1 is done. Everything about it: sdar report --open --run r1 --store s",
    ]


def test_bands_are_drawn_to_scale() -> None:
    row = {"success": 0.5, "low": 0.25, "high": 0.75}
    assert band(row, 8) == "  ──●── "
    assert band(row, 8, plain=True) == "  --o-- "
    assert band({"success": 1.0, "low": 1.0, "high": 1.0}, 4, plain=True) == "   o"
    assert band({"success": 0.0, "low": 0.0, "high": 0.0}, 4, plain=True) == "o   "


def test_a_picture_fits_the_terminal(tmp_path: Path) -> None:
    row = {"round": 0, "success": 0.5, "low": 0.25, "high": 0.75, "seconds": 1.0}
    table = tuple({**row, "round": number} for number in range(50))
    scene = Scene(
        Path("s"), "done", None, Published("r1", "sdar", 0, "trip", 50, "done", table, {}, (), None)
    )
    text = shown(scene, height=17)
    assert sum("50.0 %" in each for each in text.splitlines()) == 5
    assert "   49  " in text
    assert "●" in text
    assert shown(scene, encoding="ascii").isascii()


def test_durations() -> None:
    assert [duration(seconds, 0) for seconds in (0.4, 59, 61, 3661)] == [
        "0 s",
        "59 s",
        "1 min 01 s",
        "1 h 01 min",
    ]
