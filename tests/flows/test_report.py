"""`sdar report`: what the page says, that nothing in the store can attack it, and what is refused."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_store import ATTACK, CONFIG, report_store
from store_samples import run, stage

from sdar.flows import cli
from sdar.flows.commands.report import write_report
from sdar.flows.report import figures
from sdar.flows.report.charts import Axis, Line, line_chart, stacked_bars
from sdar.flows.report.page import page
from sdar.flows.report.tokens import MOST_TOKENS, heat_map, naming
from sdar.schemas.errors import InputError
from sdar.storage import Store, open_store
from sdar.tasks.report_data import ReportData, read_report
from sdar.tasks.report_episodes import ShownEpisode, chosen_episodes

Capture = pytest.CaptureFixture[str]
NOW = "2026-01-01T00:00:00+00:00"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The store of `report_store`; tests read it and must not write into it."""
    return report_store(tmp_path_factory.mktemp("report") / "store")


@pytest.fixture(scope="module")
def data(store: Store) -> ReportData:
    return read_report(store, store.run("r1"))


@pytest.fixture(scope="module")
def text(store: Store, data: ReportData) -> str:
    return page(data, chosen_episodes(store, "r1", 6), store.path, NOW)


@pytest.fixture
def begun(tmp_path: Path) -> Store:
    """A store with a run that has stored nothing yet: its page has no charts, and is soon made."""
    made = open_store(tmp_path / "store")
    with made.writer("test"):
        made.begin_run(run(config=CONFIG))
    return made


class Parts(HTMLParser):
    """What the page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.named: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.named += (dict(attrs).get("aria-labelledby") or "").split()

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_text_of_the_store_is_never_markup(text: str) -> None:
    parts = Parts(text)
    assert parts.tags.count("script") == 1
    assert "img" not in parts.tags
    assert "<img" not in text
    assert not [name for name, _ in parts.attributes if name.startswith("on")]
    shown = "".join(parts.words)
    for place in ("fetch the cup", "room", "s1", "Go to the drawer 2", "drawer 2", "So", "pick"):
        assert f"{place} {ATTACK}" in shown, place
    assert f"world {ATTACK}" in shown


def test_the_page_needs_no_network_and_names_what_it_shows(text: str) -> None:
    parts = Parts(text)
    addresses = [value for name, value in parts.attributes if name in ("src", "href", "xlink:href", "action")]
    assert addresses
    assert {address[:1] for address in addresses} == {"#"}
    assert "default-src 'none'" in text
    assert len(parts.ids) == len(set(parts.ids))
    assert set(parts.named) <= set(parts.ids)
    assert {address[1:] for address in addresses} <= set(parts.ids)
    assert all(value for name, value in parts.attributes if name == "aria-label")


def test_the_verdict_is_the_paired_difference(data: ReportData, text: str) -> None:
    assert data.gain is not None
    # Of 8 tasks 1 was solved before and 8 after: 7 of 8 won, 87.5 points.
    assert data.gain.difference.difference == 0.875
    assert data.gain.difference.verdict == "better"
    assert '<p class="word better">Better</p>' in text
    assert "87.5 points" in text
    assert "12.5\N{NO-BREAK SPACE}% [2.5, 22.5] in round 0" in text


def test_gaps_and_gates_are_those_of_the_scores(data: ReportData) -> None:
    first, second = data.gaps
    assert (first["tokens"], second["tokens"]) == (6, 3)
    assert first["on_success"] == pytest.approx(1.0)  # (1 + 2 + 0) / 3
    assert first["on_failure"] == pytest.approx(-0.5 / 3)
    assert second["on_failure"] is None
    assert first["endorsed"] == pytest.approx(2 / 6)  # 1 and 2; 0.5 is not above 0.5
    assert second["rejected"] == pytest.approx(1 / 3)


def test_chosen_episodes_tell_different_things(store: Store) -> None:
    shown = chosen_episodes(store, "r1", 6)
    assert [(each.about["id"], each.why) for each in shown] == [
        ("r1-won", "The teacher endorsed its tokens most, of all episodes."),
        ("r1-lost", "It failed; an attempt at the same goal in round 2 succeeded."),
        ("r2-won", "It succeeded; an attempt at the same goal in round 1 had failed."),
    ]
    assert [each.about["id"] for each in chosen_episodes(store, "r1", 1)] == ["r1-won"]
    assert chosen_episodes(store, "r1", 0) == ()
    asked = chosen_episodes(store, "r1", 2, ["r2"])
    assert asked[0].why == "It was asked for."
    assert [each.about["id"] for each in asked] == ["r2-won", "r1-won"]
    assert [each.about["id"] for each in chosen_episodes(store, "r1", 6, (), 2)] == ["r2-won"]


def test_tokens_have_colour_gate_and_the_skill_that_names_them(store: Store) -> None:
    (shown,) = chosen_episodes(store, "r1", 1)
    go, drawer, end = (token for turn in heat_map(shown).turns for token in turn.tokens)
    assert [token.kind for token in (go, drawer, end)] == ["e2", "e3", ""]
    assert (drawer.gap, drawer.student, drawer.teacher) == (
        "+2.00",
        "5.0\N{NO-BREAK SPACE}%",
        "36.8\N{NO-BREAK SPACE}%",
    )  # exp(-3) and exp(-1)
    assert go.gate == "0.99"  # sigmoid(5 * 1) = 0.9933
    assert go.width == 99
    assert (drawer.named, drawer.marks, end.named) == ((0,), "1", ())


def test_a_name_is_sought_as_a_whole_first_and_then_in_parts() -> None:
    bodies = ["The potato is in drawer 2.", "Any drawer may be closed.", "Heat it."]
    assert naming("drawer 2", bodies) == (0,)
    assert naming("drawer 7", bodies) == (0, 1)
    assert naming("potato 1", bodies) == (0,)
    assert naming("raw", bodies) == ()  # a part of another word
    assert naming("it", bodies) == ()  # too short to mean anything
    assert naming("", bodies) == ()


def _long(shown: ShownEpisode, turns: int) -> ShownEpisode:
    tokens = (shown.turns[0]["tokens"] * 60)[:100]
    return replace(shown, turns=tuple({**shown.turns[0], "turn": n, "tokens": tokens} for n in range(turns)))


def test_a_long_episode_is_cut_and_says_so(store: Store) -> None:
    (shown,) = chosen_episodes(store, "r1", 1)
    found = heat_map(_long(shown, 9))
    assert len(found.turns) == MOST_TOKENS // 100
    assert found.left_out == 3


def test_fifty_rounds_stay_below_3_megabytes(store: Store, data: ReportData) -> None:
    def repeated(rows: tuple[dict, ...]) -> tuple[dict, ...]:
        last = max(row["round"] for row in rows)
        several = [row for row in rows if row["round"] == last]
        return tuple({**row, "round": number} for number in range(51) for row in several)

    names = ("curve", "rounds", "gaps", "updates", "stages", "sampled", "contexts", "policies")
    long = replace(data, **{name: repeated(getattr(data, name)) for name in names}, skills=data.skills * 30)
    shown = [_long(each, 9) for each in chosen_episodes(store, "r1", 6)] * 2
    assert len(page(long, shown, store.path, NOW).encode()) < 3_000_000


def test_charts_take_the_colours_of_the_page() -> None:
    axis = Axis("nats a token", 0)
    made = line_chart("drift", [Line("a", [1, 2], [0.015, 0.005], "c3", [0.0, 0.0], [0.02, 0.01])], axis)
    assert made == line_chart(
        "drift", [Line("a", [1, 2], [0.015, 0.005], "c3", [0.0, 0.0], [0.02, 0.01])], axis
    )
    assert "var(--c3)" in made
    assert not re.search(r"#[0-9a-f]{6}\b", made)
    assert ">0.015<" in made  # labels keep their digits, coordinates do not
    assert "nats a token" in made
    assert set(re.findall(r' id="(\w+)-', made)) == {"drift"}
    bars = stacked_bars("time", [0, 1], [("c1", [1.0, 2.0]), ("c2", [0.5, 0.0])], axis)
    assert bars.count("var(--c1)") >= 2


def test_a_hole_in_a_line_is_drawn_and_an_empty_chart_is_not(data: ReportData) -> None:
    assert "<path" in line_chart("holes", [Line("a", [1, 2, 3], [None, 1.0, None])], Axis("x"))
    empty = replace(data, curve=(), gaps=(), stages=(), updates=(), rounds=(), contexts=(), sampled=())
    assert figures.learning(empty) is None
    assert figures.teacher(empty) == []
    assert figures.diagnostics(empty) == []
    assert figures.costs(empty) == []


def test_a_run_that_has_just_begun_has_a_report(begun: Store, capsys: Capture) -> None:
    with begun.writer("test"):  # the run is still going: its process holds the store
        assert cli.execute(["report", "--store", str(begun.path)]) == 0
    file = begun.path / "reports" / "r1.html"
    assert re.fullmatch(rf"Wrote {re.escape(str(file))} \([\d.]+ [kM]B\)\.\n", capsys.readouterr().out)
    assert "Not measured yet" in file.read_text()
    assert "sdar run --resume r1" in file.read_text()


def test_branches_are_compared_with_the_run(tmp_path: Path) -> None:
    made = report_store(tmp_path / "store")
    with made.writer("test"):
        config = {**CONFIG, "sdar": {"gate": "half", "beta": 5.0}, "branch": {"round": 2, "stage": "update"}}
        made.begin_run(run("r2", config, parent="r1", created="2026-01-03T00:00:00"))
        first = next(each for each in made.stage_runs("r1") if each.stage == "evaluate")
        for number in (0, 2, 5):  # the branch stays where it began; only rounds 0 and 2 are common
            copy = stage("evaluate", f"r2 {number}", run_id="r2", round=number, inputs=first.inputs)
            made.reuse(copy, made.artifact(str(first.artifact_id)))
    found = read_report(made, made.run("r1"))
    (relative,) = found.relatives
    assert relative.gain is not None
    assert (relative.gain.after_round, relative.gain.difference.difference) == (2, -0.875)
    plain = replace(found, curve=(), gaps=(), stages=(), updates=(), rounds=(), contexts=(), sampled=())
    text = page(plain, [], made.path, NOW)
    assert "Against its branches" in text
    assert "sdar.gate=half" in text
    assert "No episode to show." in text


def test_open_shows_the_file_in_the_browser(
    begun: Store, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or False)
    out = tmp_path / "new folder" / "r.html"
    assert cli.execute(["report", "--store", str(begun.path), "--out", str(out), "--open"]) == 0
    assert opened == [out.as_uri()]
    assert "No web browser was found" in capsys.readouterr().err
    assert [file.name for file in out.parent.iterdir()] == ["r.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", "r9"], "r9"),
        (["--episode", "r1"], "several scored episodes with an id that begins with 'r1'"),
        (["--episode", "x"], "no scored episode with an id that begins with 'x'"),
        (["--round", "7"], "no scored episode in round 7"),
    ],
)
def test_what_is_not_there_is_refused(
    store: Store, capsys: Capture, arguments: list[str], message: str
) -> None:
    assert cli.execute(["report", "--store", str(store.path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_named(begun: Store, capsys: Capture) -> None:
    assert cli.execute(["report", "--store", str(begun.path), "--out", "/dev/null/r.html"]) == 2
    assert "cannot write /dev/null/r.html" in capsys.readouterr().err


def test_nothing_stays_of_a_report_that_could_not_be_written(
    begun: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(file: Path, text: str, encoding: str) -> None:
        file.write_bytes(b"<html>")
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "out" / "r.html"
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", fill)
        with pytest.raises(InputError, match="No space left"):
            write_report(begun, begun.run("r1"), out)
    assert list(out.parent.iterdir()) == []


def test_two_processes_may_write_a_report_at_once(
    begun: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, replace_file = tmp_path / "r.html", Path.replace

    def late(file: Path, target: Path) -> Path:
        with monkeypatch.context() as other:  # which begins and ends before this one has finished
            other.setattr(Path, "replace", replace_file)
            other.setattr(os, "getpid", lambda: 0)
            write_report(begun, begun.run("r1"), out)
        return replace_file(file, target)

    monkeypatch.setattr(Path, "replace", late)
    write_report(begun, begun.run("r1"), out)
    assert [file.name for file in tmp_path.glob("*r.html*")] == ["r.html"]


def test_a_report_needs_a_store_with_a_run(tmp_path: Path, capsys: Capture) -> None:
    assert cli.execute(["report", "--store", str(tmp_path / "none")]) == 2
    assert "no store in" in capsys.readouterr().err
    open_store(tmp_path / "empty")
    assert cli.execute(["report", "--store", str(tmp_path / "empty")]) == 2
    assert "has no run yet" in capsys.readouterr().err
