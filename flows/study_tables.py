"""The numbers of a study as text: cells that the page and the Markdown file share, and the Markdown file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]

BENCHMARK = "ALFWorld"
MODEL = "Qwen2.5-3B"
PUBLISHED_TITLE = f"published: {MODEL}, {BENCHMARK} (other world, other model)"


def interval(value: Mapping[str, Any] | None) -> str:
    """Return a mean share in per cent with its 95 % interval; a dash for none."""
    if value is None:
        return "-"
    mean = f"{100 * value['mean']:.1f}"
    return mean if value["low"] is None else f"{mean} [{100 * value['low']:.1f}, {100 * value['high']:.1f}]"


def points(low: float | None, high: float | None) -> str:
    """Return the ends of an interval in percentage points; a dash for none."""
    return "-" if low is None or high is None else f"[{100 * low:+.1f}, {100 * high:+.1f}]"


def with_skills(arm: Mapping[str, Any]) -> str:
    """Return the success with skills in the prompt and the round in which it was measured."""
    found = interval(arm["with_skills"])
    return found if arm["with_skills"] is None else f"{found} (round {arm['with_skills_round']})"


def published_cell(arm: Mapping[str, Any]) -> str:
    """Return the published success of the arm's method on one benchmark."""
    return f"{arm['published'][MODEL][BENCHMARK]:.1f}" if arm["published"] else "-"


def published_table(document: Document) -> tuple[list[str], list[list[str]], str] | None:
    """Return titles, cells and the names of the benchmarks of everything that was published for the arms."""
    arms = [arm for arm in document["arms"] if arm["published"]]
    if not arms:
        return None
    models = list(arms[0]["published"])
    benchmarks = " / ".join(arms[0]["published"][models[0]])
    rows = [
        [
            arm["label"],
            *(" / ".join(f"{value:.1f}" for value in arm["published"][model].values()) for model in models),
        ]
        for arm in arms
    ]
    return ["arm", *models], rows, benchmarks


def seeds_cell(arm: Mapping[str, Any]) -> str:
    """Return how many seeds are in the means, and which collapsed."""
    collapsed = ", ".join(map(str, arm["collapsed"]))
    return f"{len(arm['seeds'])}" + (f" (collapsed: {collapsed})" if collapsed else "")


def per_seed(arm: Mapping[str, Any]) -> str:
    """Return the last success of every seed in per cent."""
    return ", ".join(f"{100 * seed['last']:.1f}" for seed in arm["seeds"]) or "-"


def result_columns() -> tuple[str, ...]:
    """Return the titles of the main table."""
    return (
        "arm", "seeds", "last", "best", "area", "with skills", "last by seed", PUBLISHED_TITLE,
    )  # fmt: skip


def result_rows(document: Document) -> list[list[str]]:
    """Return the cells of the main table, a row for each arm."""
    return [
        [
            arm["label"],
            seeds_cell(arm),
            interval(arm["last"]),
            interval(arm["best"]),
            interval(arm["area"]),
            with_skills(arm),
            per_seed(arm),
            published_cell(arm),
        ]
        for arm in document["arms"]
    ]


def difference_columns(document: Document) -> tuple[str, ...]:
    """Return the titles of the table of paired differences."""
    return (
        f"arm minus {document['baseline']}", "points", "95 % over seeds and tasks", "95 % over seeds",
        "verdict", "seeds x tasks",
    )  # fmt: skip


def difference_rows(document: Document) -> list[list[str]]:
    """Return the cells of the table of paired differences."""
    return [
        [
            row["arm"],
            f"{100 * row['difference']:+.1f}",
            points(row["low"], row["high"]),
            points(row["seeds_low"], row["seeds_high"]),
            row["verdict"],
            f"{row['seeds']} x {row['tasks']}",
        ]
        for row in document["differences"]
    ]


COST_COLUMNS = ("arm", "minutes alone", "minutes computed", "episodes", "tokens sampled", "tokens scored")


def cost_rows(document: Document) -> list[list[str]]:
    """Return the cells of the table of costs: means over seeds of one run."""
    return [
        [
            arm["label"],
            f"{arm['seconds_alone'] / 60:.1f}",
            f"{arm['seconds'] / 60:.1f}",
            f"{arm['episodes']:,.0f}",
            f"{arm['sampled_tokens']:,.0f}",
            f"{arm['scored_tokens']:,.0f}",
        ]
        for arm in document["arms"]
    ]


def switch_rows(document: Document) -> list[list[str]]:
    """Return the settings that differ: a path, and the value of each arm."""
    labels = [arm["label"] for arm in document["arms"]]
    return [
        [path, *(value_text(values[label]) for label in labels)]
        for path, values in document["switches"].items()
    ]


def value_text(value: Any) -> str:
    """Return the value of a setting as a user would type it."""
    return value if isinstance(value, str) else json.dumps(value)


def headline(document: Document) -> str:
    """Return what was compared, in one sentence."""
    panel = ", ".join(f"{identity} ({tasks} tasks)" for identity, tasks in document["panels"].items())
    return (
        f"{len(document['arms'])} arms x {len(document['seeds'])} seeds, {document['rounds']} rounds, "
        f"panel {panel or 'not played yet'}."
    )


def markdown(document: Document) -> str:
    """Return the result as Markdown."""
    labels = [arm["label"] for arm in document["arms"]]
    parts = [
        f"# {_cell(document['name'])}",
        headline(document)
        + " Success on the panel in per cent: means over seeds, brackets are 95 % Student-t "
        "intervals over seeds. `area` is the mean of the learning curve.",
        _table(result_columns(), result_rows(document)),
        "## Paired differences after the last round",
        _table(difference_columns(document), difference_rows(document)),
        "A verdict needs both intervals on one side of 0.",
        "## Cost of one run",
        _table(COST_COLUMNS, cost_rows(document)),
        "## Settings that differ",
        _table(("setting", *labels), switch_rows(document)),
        "## Notes",
        "\n".join(f"- {_cell(note)}" for note in document["notes"]),
        "## How to repeat it",
        f"```\n{document['command']}\n```",
        f"Written {document['written']} on {machine(document)}.",
    ]
    return "\n\n".join(parts) + "\n"


def machine(document: Document) -> str:
    """Return what the study ran on, in one sentence without its stop."""
    found = document["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    return (
        f"{found['system']} {found['processor']}, {found['cores']} cores, Python {found['python']}, "
        f"{versions}"
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return "None."
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
