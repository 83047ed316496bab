"""The top of a report: whether it got better, in figures and words, and what to do next."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdar.flows.commands.options import resume_command
from sdar.flows.display import warned
from sdar.flows.report.texts import DASH, duration, number, percent, points, shortened, success
from sdar.tasks.report_data import ReportData

_STATUS = {
    "running": "still going, or killed",
    "done": "done",
    "failed": "failed",
    "interrupted": "interrupted",
}


@dataclass(frozen=True)
class Headline:
    """The verdict in one word (`kind` is its style class), and the sentences that explain it."""

    word: str
    kind: str
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Step:
    """What to do, and the command for it; no command where there is nothing to type."""

    sentence: str
    command: str = ""


def headline(data: ReportData) -> Headline:
    """Return whether the last policy does better than the first on the frozen panel."""
    why = (shortened(data.verdicts[-1]["sentence"]),) if data.verdicts else ()
    if not data.curve:
        return Headline("Not measured yet", "unclear", ("The frozen panel has not been played yet.", *why))
    first, last = data.curve[0], data.curve[-1]
    if data.gain is None:
        now = f"Success on the frozen panel is {success(last)} in round {last['round']}; "
        if len(data.curve) == 1:
            return Headline("One evaluation", "unclear", (now + "a second one is needed to compare.", *why))
        return Headline("Not comparable", "unclear", (now + "the panel is not that of the first.", *why))
    found = data.gain.difference
    word = {"better": "Better", "worse": "Worse"}.get(found.verdict, "Not distinguishable")
    moved = (
        f"Success on the frozen panel went from {success(first)} in round {first['round']} to "
        f"{success(last)} in round {last['round']}: {points(found.difference, found.low, found.high)}, "
        f"paired on the same {data.gain.tasks} tasks."
    )
    return Headline(word, found.verdict.replace(" ", "-"), (moved, *why))


def tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """Return the figures below the verdict: what, how much, and a note."""
    last = data.curve[-1] if data.curve else None
    skilled = data.skilled[-1] if data.skilled else None
    trained = [row for row in data.rounds if row["episodes"]]
    actions = sum(row["actions"] for row in data.sampled)
    seconds = sum(row["seconds"] for row in data.stages if row["reused_from"] is None)
    planned = data.run.settings.get("stop", {}).get("rounds", DASH)
    return [
        ("Success now", percent(last and last["success"]), _interval(last)),
        ("Gain", *_gain(data)),
        (
            "With skills",
            percent(skilled and skilled["success"]),
            f"in the prompt, round\N{NO-BREAK SPACE}{skilled['round']}" if skilled else "not measured",
        ),
        ("Rounds", str(len(trained)), f"of at most {planned}"),
        (
            "Training episodes",
            f"{sum(row['episodes'] for row in trained):,}",
            f"{actions:,} tokens sampled in all",
        ),
        ("Computing time", duration(seconds), "without what other runs gave"),
    ]


def _interval(row: dict[str, Any] | None) -> str:
    if row is None:
        return "no evaluation yet"
    return f"95 % interval {100 * row['low']:.1f} to {100 * row['high']:.1f}, {row['episodes']} tasks"


def _gain(data: ReportData) -> tuple[str, str]:
    if data.gain is None:
        return DASH, "needs two evaluations"
    found = data.gain.difference
    ends = [number(100 * end, "+.1f") for end in (found.low, found.high)]
    return number(100 * found.difference, "+.1f"), f"points, 95 % interval {ends[0]} to {ends[1]}"


def warnings(data: ReportData) -> list[str]:
    """Return each kind of warning once."""
    return [str(each) for each in warned(data.rounds)]


def subtitle(data: ReportData) -> str:
    """Return what ran, and how far it is."""
    world = data.run.settings.get("env", {}).get("name", "unknown world")
    last = max((row["round"] for row in data.stages), default=0)
    return (
        f"Method {data.run.method} in {world}, seed {data.run.seed}. The run is {_STATUS[data.run.status]}; "
        f"its latest stored stage is of round {last}."
    )


def next_steps(data: ReportData, store: Path) -> list[Step]:
    """Return what to do now, the most useful first."""
    place, steps = shlex.quote(str(store)), []
    if data.run.status == "running":
        steps.append(Step("The run may still be going; look again with", f"sdar report --store {place}"))
    if data.run.status != "done":
        steps.append(Step("If it has stopped, go on with it", resume_command(data.run.id, store)))
    verdict = data.verdicts[-1] if data.verdicts else None
    if verdict and verdict["reason"] == "collapse":
        steps.append(Step("It collapsed: choose other settings, for instance a lower update.learning_rate."))
    if data.gain is not None and data.gain.difference.verdict == "not distinguishable":
        sentence = "The change is within chance: more rounds, or a larger evaluation.panel_size, tell more."
        steps.append(Step(sentence))
    if verdict and (folder := _folder(data, store, verdict["best_policy"])):
        sentence = f"Begin a new run from the best policy, of round {verdict['best_round']}"
        start = shlex.quote(f"policy.path={folder}")
        steps.append(Step(sentence, f"sdar run --set {start} --store {place}{_world(data)}"))
    steps.append(Step("Ask the store anything", f"sdar sql --tables --store {place}"))
    return steps


def _folder(data: ReportData, store: Path, policy_id: str) -> str | None:
    blobs = [row["blob"] for row in data.policies if row["id"] == policy_id and row["kept"]]
    return str(store / "blobs" / blobs[-1]) if blobs else None


def _world(data: ReportData) -> str:
    name = data.run.settings.get("env", {}).get("name", "household")
    return "" if name == "household" else f" --env {shlex.quote(name)}"
