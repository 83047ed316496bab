"""The charts of a report, each with a title, one sentence that explains it, a legend, and its numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sdar.flows.report.charts import Axis, Colour, Line, line_chart, stacked_bars
from sdar.flows.report.texts import number, percent, success
from sdar.rl.statistics import wilson_interval
from sdar.tasks.report_data import CLEAR_GAP, Relative, ReportData

Row = dict[str, Any]

SMALL = 3.6
STAGE_COLOURS: dict[str, Colour] = {
    "collect": "c1",
    "score": "c2",
    "update": "c3",
    "evaluation": "c4",
    "everything else": "soft",
}
_COLOURS: tuple[Colour, ...] = ("c1", "c2", "c3", "c4", "c5", "c6", "c7")
_EVALUATIONS = ("evaluate", "evaluate_with_skills", "decide")


@dataclass(frozen=True)
class Legend:
    """An entry of a legend: the colour's class, and whether it is a line, a dashed line or an area."""

    name: str
    colour: str
    style: int = 0


@dataclass(frozen=True)
class Figure:
    """A chart with all that a reader needs; `svg` comes from `charts` and holds no text of a user."""

    title: str
    svg: str
    sentence: str
    alt: str
    legend: tuple[Legend, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def learning(data: ReportData) -> Figure | None:
    """Return the learning curve with its band, beside training episodes and evaluations with skills."""
    if not data.curve:
        return None
    trained = [row for row in data.rounds if row["success"] is not None]
    lines = [
        _share_line("success on the panel", data.curve, "c1", band=True),
        _share_line("with skills in the prompt", data.skilled, "c3", band=True, style=2),
        _share_line("training episodes", trained, "c2", style=1),
    ]
    by_round = {row["round"]: [success(row), "", ""] for row in data.curve}
    for place, rows in ((1, data.skilled), (2, trained)):
        for row in rows:
            cells = by_round.setdefault(row["round"], ["", "", ""])
            cells[place] = success(row) if place == 1 else percent(row["success"])
    return _figure(
        "learning",
        "Success by round",
        lines,
        Axis("success, per cent", 0, 100, last=_last(data)),
        f"Share of the {data.curve[-1]['episodes']} frozen tasks that the policy solves alone, with its 95 % "
        "Wilson interval. Training episodes are other tasks at another temperature: the lines may differ.",
        ("round", "panel", "with skills", "training"),
        [(str(number_), *cells) for number_, cells in sorted(by_round.items())],
    )


def by_type(data: ReportData) -> list[Figure]:
    """Return a small learning curve with its band for each task type, the most frequent first."""
    counts: dict[str, list[Row]] = {}
    for row in data.curve:
        for name, (wins, tasks) in json.loads(row["by_type"]).items():
            ends = wilson_interval(wins, tasks)
            point = {"round": row["round"], "success": wins / tasks if tasks else None, "tasks": tasks}
            counts.setdefault(name, []).append({**point, "low": ends.low, "high": ends.high})
    order = sorted(counts, key=lambda name: (-counts[name][-1]["tasks"], name))
    found = [
        _figure(
            f"type{place}",
            name,
            [_share_line("", counts[name], "c1", band=True)],
            Axis("success, per cent", 0, 100, last=_last(data)),
            f"{counts[name][-1]['tasks']} tasks of the panel.",
            ("round", "success"),
            [(str(row["round"]), success(row)) for row in counts[name] if row["tasks"]],
            width=SMALL,
        )
        for place, name in enumerate(order)
    ]
    return [each for each in found if each]


def teacher(data: ReportData) -> list[Figure]:
    """Return gap, clear judgements and gate over rounds."""
    rounds = [row["round"] for row in data.gaps]
    means = {row["round"]: row for row in data.rounds}

    def line(name: str, key: str, colour: Colour, style: int, factor: float = 1) -> Line:
        return Line(name, rounds, [_times(row[key], factor) for row in data.gaps], colour, style=style)

    gates = Line(
        "mean gate",
        rounds,
        [means.get(number_, {}).get("gate_mean") for number_ in rounds],
        "c4",
        low=[row["gate_low"] for row in data.gaps],
        high=[row["gate_high"] for row in data.gaps],
    )
    last = _last(data)
    found = [
        _figure(
            "gap",
            "Mean gap",
            [
                line("successful episodes", "on_success", "c3", 0),
                line("failed episodes", "on_failure", "c2", 1),
            ],
            Axis("nats a token", zero=True, last=last),
            "Log-prob of the sampled tokens with skills in the context minus without: above 0 the teacher "
            "would write them more often. Below 0 is usual, since the policy sampled them without skills.",
            ("round", "successful", "failed"),
            [
                (str(row["round"]), number(row["on_success"], "+.3f"), number(row["on_failure"], "+.3f"))
                for row in data.gaps
            ],
            width=SMALL,
        ),
        _figure(
            "clear",
            "Clear judgements of the teacher",
            [line("endorsed", "endorsed", "c1", 0, 100), line("rejected", "rejected", "c2", 1, 100)],
            Axis("per cent of tokens", 0, last=last),
            f"Tokens whose gap is above {CLEAR_GAP} nats (endorsed) or below {number(-CLEAR_GAP, '.1f')} "
            "(rejected); the rest, most of them, the skills have nothing to say about.",
            ("round", "endorsed", "rejected", "tokens"),
            [
                (
                    str(row["round"]),
                    percent(row["endorsed"], 2),
                    percent(row["rejected"], 2),
                    f"{row['tokens']:,}",
                )
                for row in data.gaps
            ],
            width=SMALL,
        ),
        _figure(
            "gate",
            "Gate",
            [gates],
            Axis("weight of the term", 0, 1, last=last),
            "How much of the teacher's advice the loss of a token lets in: the mean, and as a band the "
            "middle 80 per cent of the tokens.",
            ("round", "mean", "10th percentile", "90th percentile"),
            [
                (
                    str(row["round"]),
                    number(means.get(row["round"], {}).get("gate_mean"), ".2f"),
                    number(row["gate_low"], ".2f"),
                    number(row["gate_high"], ".2f"),
                )
                for row in data.gaps
            ],
            width=SMALL,
        ),
    ]
    return [each for each in found if each]


_DIAGNOSTICS: tuple[tuple[str, str, str, float, str, str], ...] = (
    ("drift", "Drift", "nats a token", 1, ".4f", "KL of the policy that sampled and the one that learns."),
    ("entropy", "Entropy", "share of log(vocabulary)", 1, ".3f", "Towards 0 the policy stops exploring."),
    ("gradient_norm", "Gradient norm", "before the clip", 1, ".2f", "Spikes: single steps dominate."),
    ("clip_share", "Clipped tokens", "per cent", 100, ".1f", "Tokens whose ratio left the clip range."),
    (
        "zero_spread_share", "Groups without a signal", "per cent", 100, ".0f",
        "Groups whose returns are all equal; rewards teach nothing there.",
    ),
    ("invalid_share", "Invalid actions", "per cent", 100, ".1f", "Turns that the world could not read."),
    ("coefficient", "Lambda", "weight", 1, ".2f", "Weight of the distillation term that was in force."),
    (
        "logprob_difference", "Sampler against learner", "millionths of a nat", 1e6, ".1f",
        "Largest difference of the two log-probs of one token: rounding, or something is broken.",
    ),
)  # fmt: skip


def diagnostics(data: ReportData) -> list[Figure]:
    """Return what tells early that learning goes wrong, and the parts of the loss."""
    rows = [row for row in data.rounds if row["episodes"]]
    rounds = [row["round"] for row in rows]
    found = []
    for key, title, unit, factor, form, sentence in _DIAGNOSTICS:
        values = [_times(row[key], factor) for row in rows]
        cells = [(str(place), number(value, form)) for place, value in zip(rounds, values, strict=True)]
        line = Line("", rounds, values, "c1")
        axis = Axis(unit, 0, last=_last(data))
        found.append(_figure(key, title, [line], axis, sentence, ("round", unit), cells, width=SMALL))
    return [each for each in [*found, _losses(data)] if each]


def _losses(data: ReportData) -> Figure | None:
    rounds = [row["round"] for row in data.updates]
    lines = [
        Line("policy loss", rounds, [row["policy_loss"] for row in data.updates], "c1"),
        Line("distillation", rounds, [row["distillation"] for row in data.updates], "c2", style=1),
    ]
    cells = [
        (str(row["round"]), number(row["policy_loss"]), number(row["distillation"]), number(row["loss"]))
        for row in data.updates
    ]
    sentence = "Parts of the loss as they entered the total, means over the optimiser steps."
    columns = ("round", "policy", "distillation", "total")
    axis = Axis("loss", zero=True, last=_last(data))
    return _figure("loss", "Loss", lines, axis, sentence, columns, cells, width=SMALL)


def costs(data: ReportData) -> list[Figure]:
    """Return where time and tokens went."""
    return [each for each in (timing(data), tokens(data), skill_budget(data)) if each]


def timing(data: ReportData) -> Figure | None:
    """Return seconds by round and stage."""
    rounds = sorted({row["round"] for row in data.stages})
    sums: dict[str, dict[int, float]] = {name: dict.fromkeys(rounds, 0.0) for name in STAGE_COLOURS}
    for row in data.stages:
        if row["reused_from"] is None:
            sums[_kind(row["stage"])][row["round"]] += row["seconds"]
    parts = [(name, colour) for name, colour in STAGE_COLOURS.items() if any(sums[name].values())]
    if not parts:
        return None
    stacks = [(colour, [sums[name][place] for place in rounds]) for name, colour in parts]
    sentence = "Wall time of the stages that this run computed; what came from another run counts as 0."
    return Figure(
        "Time by round",
        stacked_bars("timing", rounds, stacks, Axis("seconds", 0, last=_last(data)), width=SMALL),
        sentence,
        f"Stacked bars of seconds by round and stage. {sentence}",
        tuple(Legend(name, colour, 9) for name, colour in parts),
        ("round", *(name for name, _ in parts)),
        tuple((str(place), *(number(sums[name][place], ".1f") for name, _ in parts)) for place in rounds),
    )


def _kind(stage: str) -> str:
    if stage in _EVALUATIONS:
        return "evaluation"
    return stage if stage in STAGE_COLOURS else "everything else"


def tokens(data: ReportData) -> Figure | None:
    """Return action tokens by round: those that were sampled for training and those that were scored."""
    sampled = {row["round"]: row["actions"] for row in data.sampled if row["stage"] == "collect"}
    scored = {row["round"]: row["tokens"] for row in data.gaps}
    rounds = sorted({*sampled, *scored})
    lines = [
        Line("sampled", rounds, [_times(sampled.get(place), 1e-3) for place in rounds], "c1"),
        Line(
            "scored",
            rounds,
            [_times(scored.get(place), 1e-3) for place in rounds],
            "c2",
            style=1,
        ),
    ]
    cells = [(str(place), *(f"{found.get(place, 0):,}" for found in (sampled, scored))) for place in rounds]
    sentence = "Tokens that the policy wrote in training episodes, and how many of them the teacher scored."
    axis, columns = Axis("thousand tokens", 0, last=_last(data)), ("round", "sampled", "scored")
    return _figure("tokens", "Action tokens by round", lines, axis, sentence, columns, cells, SMALL)


def skill_budget(data: ReportData) -> Figure | None:
    """Return how much of the teacher's budget the skills took."""
    rounds = [row["round"] for row in data.contexts]
    lines = [
        Line("mean", rounds, [row["used"] for row in data.contexts], "c1"),
        Line("longest", rounds, [row["most"] for row in data.contexts], "c4", style=1),
        Line("budget", rounds, [row["budget"] for row in data.contexts], "soft", style=2),
    ]
    cells = [
        (
            str(row["round"]),
            number(row["used"], ".1f"),
            *(f"{row[key]:,}" for key in ("most", "budget", "cut")),
        )
        for row in data.contexts
    ]
    cut = sum(row["cut"] for row in data.contexts)
    sentence = f"Tokens of skill text that the teacher read for an episode; {cut:,} did not fit and were cut."
    columns = ("round", "mean", "longest", "budget", "cut in all")
    axis = Axis("tokens", 0, last=_last(data))
    return _figure(
        "budget", "Skill text in the teacher's context", lines, axis, sentence, columns, cells, SMALL
    )


def family(data: ReportData) -> Figure | None:
    """Return the learning curves of this run and of the runs that share its beginning."""
    shown: list[Relative] = [each for each in data.relatives if each.curve][: len(_COLOURS)]
    if not shown or not data.curve:
        return None
    curves = [("this run", "c0", data.curve)]
    curves += [(each.run.id, colour, each.curve) for each, colour in zip(shown, _COLOURS, strict=False)]
    lines = [
        _share_line(name, curve, colour, band=place == 0, style=place)  # type: ignore[arg-type]
        for place, (name, colour, curve) in enumerate(curves)
    ]
    cells = [
        (name, str(row["round"]), success(row)) for name, _, curve in curves for row in (curve[0], curve[-1])
    ]
    sentence = "Success on the panel of this run and of those that branched from it or that it came from."
    columns = ("run", "first and last round", "success")
    axis = Axis("success, per cent", 0, 100, last=_last(data))
    return _figure("family", "Branches", lines, axis, sentence, columns, cells)


def _share_line(
    name: str, rows: Sequence[Row], colour: Colour, *, band: bool = False, style: int = 0
) -> Line:
    ends = [[_times(row[end], 100) for row in rows] if band else [] for end in ("low", "high")]
    values = [_times(row["success"], 100) for row in rows]
    return Line(name, [row["round"] for row in rows], values, colour, ends[0], ends[1], style)


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None or value != value else factor * value  # NaN is what old rows have


def _last(data: ReportData) -> int:
    return max((row["round"] for row in data.stages), default=1)


def _figure(
    identity: str,
    title: str,
    lines: Sequence[Line],
    axis: Axis,
    sentence: str,
    columns: tuple[str, ...],
    rows: Sequence[tuple[str, ...]],
    width: float = 4.6,
) -> Figure | None:
    drawn = [line for line in lines if not line.empty]
    if not drawn:
        return None
    legend = tuple(Legend(line.name, line.colour, line.style) for line in drawn if line.name)
    ends = f"From round {drawn[0].rounds[0]} to round {drawn[0].rounds[-1]}; vertical axis: {axis.unit}."
    alt = f"{sentence} {ends} The numbers are in the table below."
    svg = line_chart(identity, drawn, axis, width=width)
    return Figure(title, svg, sentence, alt, legend, columns, tuple(rows))
