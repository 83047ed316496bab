"""Where the lines, bands and labels of learning curves lie; the page's template only draws them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

COLOURS = 8
"""Colours that the page's style sheet defines, the first for the first arm alone; other arms that share a
colour differ by dash and marker."""
DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4", "4 2")
MARKERS = ("circle", "square", "triangle", "diamond")
MOST_BANDS = 4
"""With more arms the bands in one chart hide each other; every arm has them in its own chart."""
LONGEST = 30
"""Characters of a label in the chart; the rest is in its tooltip."""

Arm = Mapping[str, Any]


@dataclass(frozen=True)
class Marker:
    """A mark at a measured round: `shape` is an SVG path."""

    path: str
    text: str


@dataclass(frozen=True)
class Line:
    """One arm in a chart: a polyline, its band as a polygon (empty for none), its marks, and its label."""

    label: str
    colour: int
    dash: str
    points: str
    band: str
    markers: tuple[Marker, ...]
    end_x: float
    end_y: float
    label_x: float
    label_y: float


@dataclass(frozen=True)
class Tick:
    """A tick of an axis."""

    position: float
    text: str


@dataclass(frozen=True)
class Chart:
    """A chart of learning curves; lengths are in units of its view box."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class _Frame:
    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float
    rounds: int

    def x(self, round: int) -> float:
        return self.left + (self.right - self.left) * round / max(self.rounds, 1)

    def y(self, share: float) -> float:
        return self.bottom - (self.bottom - self.top) * share


def overview(arms: Sequence[Arm], rounds: int) -> Chart:
    """Return the chart of all arms, with a label at the end of each line."""
    drawn = [(index, arm) for index, arm in enumerate(arms) if arm["curve"]]
    longest = max((len(arm["label"]) for arm in arms), default=0)
    margin = 24 + 8.4 * min(longest, LONGEST)
    height = max(380.0, 60 + 20 * len(drawn))
    frame = _Frame(760, height, 46, 760 - margin, 14, height - 42, rounds)
    lines = [_line(arm, index, frame, band=len(drawn) <= MOST_BANDS) for index, arm in drawn]
    spread = _spread([line.end_y for line in lines], 18, frame.top + 4, frame.bottom)
    moved = [
        _with_label(line, frame.right + 14, position) for line, position in zip(lines, spread, strict=True)
    ]
    return _chart(frame, moved)


def small(arm: Arm, index: int, baseline: Arm, baseline_index: int, rounds: int) -> Chart:
    """Return the chart of one arm with its band, before the baseline's line and band."""
    frame = _Frame(340, 210, 36, 328, 12, 176, rounds)
    pairs = [(baseline, baseline_index)] if baseline["label"] != arm["label"] else []
    pairs += [(arm, index)]
    return _chart(frame, [_line(each, place, frame, band=True) for each, place in pairs if each["curve"]])


def largest_end(differences: Sequence[Mapping[str, Any]]) -> float:
    """Return the largest end of the intervals, so that all bars share one scale; shares."""
    ends = [abs(float(row[end])) for row in differences for end in ("low", "high", "difference")]
    return max([0.05, *ends])


def _line(arm: Arm, index: int, frame: _Frame, *, band: bool) -> Line:
    curve = arm["curve"]
    places = [(frame.x(point["round"]), frame.y(point["mean"])) for point in curve]
    upper = [(frame.x(p["round"]), frame.y(p["high"])) for p in curve if p["high"] is not None]
    lower = [(frame.x(p["round"]), frame.y(p["low"])) for p in curve if p["low"] is not None]
    markers = tuple(
        Marker(_shape(MARKERS[index % len(MARKERS)], x, y), f"{arm['label']}, {_point_text(point)}")
        for (x, y), point in zip(places, curve, strict=True)
    )
    end_x, end_y = places[-1]
    return Line(
        label=arm["label"],
        colour=1 + (index - 1) % (COLOURS - 1) if index else 0,
        dash=DASHES[index % len(DASHES)],
        points=_points(places),
        band=_points([*upper, *reversed(lower)]) if band else "",
        markers=markers,
        end_x=end_x,
        end_y=end_y,
        label_x=end_x,
        label_y=end_y,
    )


def _point_text(point: Mapping[str, Any]) -> str:
    text = f"round {point['round']}: {100 * point['mean']:.1f} %"
    return text if point["low"] is None else f"{text} [{100 * point['low']:.1f}, {100 * point['high']:.1f}]"


def _with_label(line: Line, x: float, y: float) -> Line:
    return replace(line, label_x=x, label_y=y)


def _chart(frame: _Frame, lines: Sequence[Line]) -> Chart:
    step = next(step for step in (1, 2, 5, 10, 20, 50, 100, 10**9) if frame.rounds / step <= 6)
    return Chart(
        width=frame.width,
        height=frame.height,
        left=frame.left,
        right=frame.right,
        top=frame.top,
        bottom=frame.bottom,
        x_ticks=tuple(Tick(frame.x(number), str(number)) for number in range(0, frame.rounds + 1, step)),
        y_ticks=tuple(Tick(frame.y(share / 100), f"{share}") for share in range(0, 101, 20)),
        lines=tuple(lines),
    )


def _spread(positions: Sequence[float], gap: float, top: float, bottom: float) -> list[float]:
    """Return positions at least `gap` apart, in the same order and as near as may be to the given ones."""
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    blocks: list[list[int]] = []

    def first(block: list[int]) -> float:
        middle = sum(positions[index] for index in block) / len(block)
        start = middle - gap * (len(block) - 1) / 2
        return max(top, min(start, bottom - gap * (len(block) - 1)))

    for index in order:  # neighbours that would touch become one block around the middle of all of them
        blocks.append([index])
        while len(blocks) > 1 and first(blocks[-2]) + gap * len(blocks[-2]) > first(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    placed = {index: first(block) + gap * rank for block in blocks for rank, index in enumerate(block)}
    return [placed[index] for index in range(len(positions))]


def _points(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def _shape(name: str, x: float, y: float) -> str:
    """Return the path of a mark about 7 units wide."""
    if name == "square":
        return f"M{x - 3.2:.1f} {y - 3.2:.1f}h6.4v6.4h-6.4z"
    if name == "triangle":
        return f"M{x:.1f} {y - 4.2:.1f}l4.2 7.4h-8.4z"
    if name == "diamond":
        return f"M{x:.1f} {y - 4.6:.1f}l4.6 4.6l-4.6 4.6l-4.6 -4.6z"
    return f"M{x - 3.5:.1f} {y:.1f}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z"
