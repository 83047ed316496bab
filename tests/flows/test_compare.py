"""`sdar compare` as a user meets it: bad input, processes, an interruption, and the files of a result."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tiny_policy import save_tiny_policy

from sdar.flows import cli
from sdar.flows.study_chart import overview
from sdar.flows.study_page import page
from sdar.flows.study_pool import Event
from sdar.flows.study_tables import markdown
from sdar.flows.study_watch import LiveTable, PlainLines
from sdar.schemas.study import Member
from sdar.storage import open_store
from sdar.tasks.study import define_study, study_record
from sdar.tasks.study_data import Evaluation, MemberData
from sdar.tasks.study_results import study_result

SMALL = [
    *("env.max_steps=3", "rollout.tasks=2", "rollout.group_size=2", "advantage.invalid_penalty=0.5"),
    *("update.minibatch=2", "evaluation.panel_size=4", "evaluation.every=1", "evaluation.with_skills=false"),
    *("stop.floor=0", "stop.entropy_high=1"),
]
TIMED = {"seconds", "seconds_alone", "created", "written", "command", "run_id"}
ODD = "<b>&| odd"


def sdar(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["sdar", *map(str, arguments)])
    return cli.execute(sys.argv[1:])


def test_bad_input_exits_2_with_all_faults_and_makes_no_store(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = tmp_path / "store"
    arguments = ("--methods", "gpro", "--seeds", "0-x", "--set", "sdar.gaet=gap", "--store", store)
    assert sdar(monkeypatch, "compare", *arguments) == 2
    error = capsys.readouterr().err
    assert "the study has 4 faults" in error
    assert "Did you mean grpo?" in error
    assert not store.exists()


def test_resuming_takes_no_definition_and_needs_a_study(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert sdar(monkeypatch, "compare", "--resume", "--seeds", "0-4", "--store", tmp_path) == 2
    assert "a study keeps its own" in capsys.readouterr().err
    assert sdar(monkeypatch, "compare", "--resume", "gone", "--store", tmp_path) == 2
    assert "no study 'gone'; it has: none" in capsys.readouterr().err


def test_an_unknown_baseline_is_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    arguments = ("--methods", "grpo,opsd", "--baseline", "ppo", "--store", tmp_path)
    assert sdar(monkeypatch, "compare", *arguments) == 2
    assert "found 'ppo'; allowed: grpo, opsd" in capsys.readouterr().err
    assert open_store(tmp_path, read_only=True).runs() == []


def command(store: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "sdar", "compare", *arguments, "--store", str(store)]


def definition(policy: Path) -> list[str]:
    settings = [f"policy.path={policy}", *SMALL]
    arms = ["--methods", "grpo", "--arm", f"{ODD}: method=grpo update.learning_rate=1e-2"]
    return [*arms, "--seeds", "0,1", "--rounds", "1", "--name", "tiny"] + [
        part for text in settings for part in ("--set", text)
    ]


def processes_of(store: Path) -> list[str]:
    """Command lines of living processes that carry out runs in a store."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if "study_worker" in text and str(store) in text:
            found.append(text)
    return found


def untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: untimed(item) for key, item in value.items() if key not in TIMED}
    return [untimed(item) for item in value] if isinstance(value, list) else value


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_jobs_and_interruptions_change_no_result(tmp_path: Path) -> None:
    policy = save_tiny_policy(tmp_path / "policy")
    once, cut = tmp_path / "once", tmp_path / "cut"
    ended = subprocess.run(
        command(once, *definition(policy), "--jobs", "2"), capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "4 of 4 runs" in ended.stdout
    words = command(cut, *definition(policy), "--jobs", "1")
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert any(" done in " in line for line in child.stdout)
        os.kill(child.pid, signal.SIGTERM)
        assert child.wait(60) == 143
        assert "Continue with: sdar compare --resume tiny --store" in child.stderr.read()
    assert processes_of(cut) == []
    statuses = [run.status for run in open_store(cut, read_only=True).runs()]
    assert statuses[0] == "done"
    assert set(statuses[1:]) <= {"interrupted"}
    resumed = subprocess.run(
        command(cut, "--resume", "tiny", "--jobs", "2", "--json"), capture_output=True, text=True, check=False
    )
    assert resumed.returncode == 0, resumed.stderr
    last = json.loads(resumed.stdout.splitlines()[-1])
    results = [json.loads((path / "studies" / "tiny" / "result.json").read_text()) for path in (once, cut)]
    assert untimed(results[0]) == untimed(results[1]) == untimed(last["result"])
    assert results[0]["complete"]
    assert len(results[0]["arms"][0]["curve"]) == 2
    text = (once / "studies" / "tiny" / "index.html").read_text()
    assert "&lt;b&gt;&amp;| odd" in text


def fake_document() -> dict[str, Any]:
    study = define_study(["grpo", "opsd"], [f"{ODD}: sdar.beta=1"], "0-1", rounds=4)
    members = [
        MemberData(
            arm.label,
            seed,
            f"{arm.label}-{seed}",
            tuple(Evaluation(number, "p" * 64, {"t0": number > 2, "t1": seed == 1}) for number in (0, 4)),
            (),
            60.0,
            60.0,
            10,
            10,
            4,
            "rounds",
            4,
        )
        for arm in study.arms
        for seed in study.seeds
    ]
    about = {
        "name": "odd <script>",
        "created": "2026-01-01",
        "written": "2026-01-02",
        "command": "sdar compare --arm '<b>'",
        "machine": {"system": "Linux", "processor": "x", "cores": 2, "python": "3.11"},
        "versions": {"torch": "2"},
    }
    document: dict[str, Any] = json.loads(
        json.dumps({**about, **study_result(study, members, "grpo").as_dict()})
    )
    return document


class Reader(HTMLParser):
    """Notes tags that are open, and every attribute that could load something."""

    VOID = frozenset({"meta", "line", "path", "polyline", "polygon", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.sources: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_escapes_its_text_and_loads_nothing() -> None:
    text = page(fake_document())
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert reader.sources == []
    assert not {"script", "b", "img", "iframe", "a"} & reader.seen
    assert not re.search(r"https?:|url\(|@import", text)
    assert "odd &lt;script&gt;" in text
    assert "&lt;b&gt;&amp;| odd" in text
    assert text.count("<desc") == text.count("<svg viewBox") == 3  # all arms, and two beside the baseline
    assert "prefers-color-scheme: dark" in text
    # A median of the page: the learning curve as a table, 0 % or 100 % of one task of two by seed.
    assert "25.0 [0.0, 100.0]" in text
    assert "75.0 [0.0, 100.0]" in text


def test_markdown_escapes_the_table_signs() -> None:
    text = markdown(fake_document())
    assert "&lt;b>&\\| odd" in text
    assert "# odd &lt;script>" in text


def test_labels_in_the_chart_do_not_touch() -> None:
    document = fake_document()
    arms = [{**document["arms"][0], "label": f"arm {number}"} for number in range(12)]
    chart = overview(arms, 4)
    places = sorted(line.label_y for line in chart.lines)
    assert min(after - before for before, after in pairwise(places)) >= 17.9
    assert chart.top <= places[0]
    assert places[-1] <= chart.bottom
    assert len({(line.colour, line.dash) for line in chart.lines}) == 12


def test_lines_and_table_follow_the_runs(capsys: pytest.CaptureFixture[str]) -> None:
    study = study_record(define_study(["grpo", "opsd"], [], "0-1", rounds=4), "s", _now(), "x")
    first = study.members[0]
    summary = {"success": 0.5, "low": 0.4, "high": 0.6}
    stage: Event = {"event": "stage", "round": 0, "stage": "evaluate", "reused": True, "summary": summary}
    lines = PlainLines(sys.stdout, 4, clock=iter([10.0, 15.0]).__next__)
    table = LiveTable(study, {study.members[3].run_id}, clock=iter([0.0, 100.0, 100.0]).__next__)
    for event in ({"event": "begun"}, stage, {**stage, "stage": "collect", "round": 1}, {"event": "done"}):
        _tell(lines, first, event)
        _tell(table, first, event)
    assert capsys.readouterr().out.splitlines() == [
        "grpo  seed 0  round 0  50.0 % [40.0, 60.0]  (reused)",
        "grpo  seed 0  done in 5 s, 1 of 4 runs",
    ]
    # Two rounds took 100 s; two runs of rounds 0 to 4 are left.
    progress = table.render().renderables[1]
    cells = [str(cell) for column in progress.columns for cell in column.cells]  # type: ignore[union-attr]
    assert "2 of 4 runs" in cells
    assert "about 8 min 20 s left" in cells


def _tell(watch: PlainLines | LiveTable, member: Member, event: Event) -> None:
    watch.event(member, event)


def _now() -> Any:
    from datetime import UTC, datetime

    return datetime(2026, 1, 1, tzinfo=UTC)
