"""The tables of a report as text: skills, stages, policies, settings, and runs that share a beginning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sdar.flows.report import texts
from sdar.flows.report.texts import (
    DASH,
    duration,
    known,
    moment,
    number,
    percent,
    points,
    setting,
    short,
    signed,
    success,
)
from sdar.schemas.config import RunConfig
from sdar.schemas.resolve import changes, flatten
from sdar.tasks.report_data import Gain, ReportData

Row = dict[str, Any]


@dataclass(frozen=True)
class SkillLine:
    """A skill of the latest bank; `bar` holds low, high and difference on a scale of 0 to 100, or nothing."""

    name: str
    description: str
    body: str
    uses: str
    last_round: str
    usefulness: str
    kind: str
    bar: dict[str, float]
    lift: str
    state: str


def skills(data: ReportData) -> list[SkillLine]:
    """Return the skills, the most useful first and retired ones last."""
    ends = [abs(row[end]) for row in data.skills for end in ("low", "high", "difference") if known(row[end])]
    scale = max([0.05, *ends])
    return [_skill(row, scale) for row in data.skills]


def _skill(row: Row, scale: float) -> SkillLine:
    ends = {end: 50 + 46 * row[end] / scale for end in ("low", "high", "difference") if known(row[end])}
    whole = len(ends) == 3
    kind = "better" if whole and row["low"] > 0 else "worse" if whole and row["high"] < 0 else "unclear"
    state = f"retired: {row['reason']}" if row["retired"] else row["reason"] or "active"
    return SkillLine(
        name=row["skill"],
        description=row["description"] or "",
        body=row["body"] or "",
        uses=f"{row['uses']:,}",
        last_round=DASH if row["last_round"] is None else str(row["last_round"]),
        usefulness=signed(row["difference"], row["low"], row["high"]),
        kind=kind,
        bar=ends if whole else {},
        lift=signed(row["lift"], row["lift_low"], row["lift_high"]),
        state=state,
    )


STAGE_COLUMNS = ("stage", "times", "computed", "in all", "share", "longest")


def stages(data: ReportData) -> list[tuple[str, ...]]:
    """Return the time of each stage over all rounds, the longest first."""
    sums: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    for row in data.stages:
        counts[row["stage"]] = counts.get(row["stage"], 0) + 1
        if row["reused_from"] is None:
            sums.setdefault(row["stage"], []).append(row["seconds"])
    total = sum(map(sum, sums.values())) or 1.0
    return [
        (
            name,
            str(counts[name]),
            str(len(sums.get(name, []))),
            duration(sum(sums.get(name, []))),
            percent(sum(sums.get(name, [])) / total),
            duration(max(sums.get(name, [0.0]))),
        )
        for name in sorted(counts, key=lambda name: -sum(sums.get(name, [])))
    ]


POLICY_COLUMNS = ("round", "policy", "made from", "success on the panel", "weights", "stored")


def policies(data: ReportData) -> list[tuple[str, ...]]:
    """Return the policies of the run, the first one first."""
    tested = {row["policy_id"]: row for row in data.curve}
    best = data.verdicts[-1]["best_policy"] if data.verdicts else None
    return [
        (
            str(row["round"]),
            short(row["id"]) + (" (best)" if row["id"] == best else ""),
            short(row["parent"]),
            success(tested.get(row["id"])),
            "there" if row["kept"] else "removed",
            moment(row["finished"]) + (f", taken from {row['reused_from']}" if row["reused_from"] else ""),
        )
        for row in data.policies
    ]


STORED_COLUMNS = ("round", "stage", "artifact", "version", "seconds", "origin")


def stored(data: ReportData) -> list[tuple[str, ...]]:
    """Return every stage of the run with the artifact that it gave."""
    return [
        (
            str(row["round"]),
            row["stage"],
            short(row["artifact_id"]),
            str(row["version"]),
            number(row["seconds"], ".2f"),
            row["reused_from"] or "computed here",
        )
        for row in data.stages
    ]


def facts(data: ReportData) -> list[tuple[str, str]]:
    """Return what identifies the run."""
    first = data.policies[0] if data.policies else None
    branch = data.run.branch
    found = [
        ("Run", data.run.id),
        ("Begun", moment(data.run.created)),
        ("Method", data.run.method),
        ("Seed", str(data.run.seed)),
        ("Parameters of the policy", f"{first['parameters']:,}" if first else DASH),
        ("Panel", short(data.curve[-1]["panel_id"]) if data.curve else DASH),
    ]
    if branch and data.run.parent:
        found.append(("Branched from", f"{data.run.parent}, at {branch[1]} of round {branch[0]}"))
    return [*found, *(("Part of study", f"{row['study']}: arm {row['arm']}") for row in data.studies)]


def settings(data: ReportData) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return the settings that differ from the defaults, with those, and all settings."""
    values, defaults = flatten(data.run.settings), flatten(RunConfig().model_dump(mode="json"))
    changed: list[tuple[str, ...]] = [
        (path, setting(value), setting(defaults[path]) if path in defaults else DASH)
        for path, value in values.items()
        if path not in defaults or defaults[path] != value
    ]
    return changed, [(path, setting(value)) for path, value in values.items()]


RELATIVE_COLUMNS = ("run", "status", "what differs", "last success", "against this run", "verdict")


def _against(gain: Gain | None) -> tuple[str, str]:
    if gain is None:
        return DASH, "no round and panel in common"
    found = gain.difference
    return f"{points(found.difference, found.low, found.high)} in round {gain.after_round}", found.verdict


def relatives(data: ReportData) -> list[tuple[str, ...]]:
    """Return the runs that share a beginning with this one, compared with it."""
    found: list[tuple[str, ...]] = []
    for each in data.relatives:
        differing = changes(data.run.settings, each.run.settings)
        last = each.curve[-1] if each.curve else None
        found.append(
            (
                each.run.id,
                each.run.status,
                texts.settings(differing) or "nothing",
                success(last) + (f" in round {last['round']}" if last else ""),
                *_against(each.gain),
            )
        )
    return found
