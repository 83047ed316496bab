"""Charts as inline SVG, drawn by matplotlib; their colours are the page's, so dark mode changes them too."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Number = float | None
Colour = Literal["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "soft", "rule", "paper"]

# matplotlib wants a colour of its own for each of the page's; what is written is a reference to the page's.
_STANDINS: dict[str, str] = {
    name: f"#0a0b{number:02x}"
    for number, name in enumerate(("c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7", "soft", "rule", "paper"))
}
_MARKERS = ("o", "s", "^", "D")
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_LONG = re.compile(r"\d+\.\d{3,}")
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "axes.edgecolor": _STANDINS["rule"],
    "axes.labelcolor": _STANDINS["soft"],
    "axes.titlecolor": _STANDINS["soft"],
    "axes.titlelocation": "left",
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _STANDINS["rule"],
    "grid.linewidth": 0.8,
    "xtick.color": _STANDINS["soft"],
    "ytick.color": _STANDINS["soft"],
    "xtick.labelsize": 10.5,
    "ytick.labelsize": 10.5,
    "ytick.left": False,
    "patch.linewidth": 0,
}


@dataclass(frozen=True)
class Line:
    """A line over rounds, with a band from `low` to `high` where both are given; None leaves a hole.

    `name` is for the legend, which is HTML; `colour` is one of the page's.
    """

    name: str
    rounds: Sequence[int]
    values: Sequence[Number]
    colour: Colour = "c1"
    low: Sequence[Number] = ()
    high: Sequence[Number] = ()
    style: int = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return all(value is None for value in self.values)


@dataclass(frozen=True)
class Axis:
    """The vertical axis: what it measures with its unit, and its ends where they are fixed.

    `zero` draws a line at 0; `last` is the last round that the horizontal axis reaches at least.
    """

    unit: str
    low: float | None = None
    high: float | None = None
    zero: bool = False
    last: int = 1


def line_chart(identity: str, lines: Sequence[Line], axis: Axis, *, width: float = 5.0) -> str:
    """Return a chart of lines over rounds as an SVG element without title; no text of a user is in it.

    Args:
        identity: makes the ids within the SVG unique on the page.
        lines: what to draw; empty lines are left out.
        axis: the vertical axis.
        width: in inches of 72 units; the page scales it.
    """
    from matplotlib import rc_context

    with rc_context(_style(identity)):
        figure, axes = _figure(width, axis)
        for line in lines:
            if not line.empty:
                _draw(axes, line)
        _scale(axes, axis)
        return _svg(figure, identity)


def stacked_bars(
    identity: str,
    rounds: Sequence[int],
    parts: Sequence[tuple[Colour, Sequence[float]]],
    axis: Axis,
    *,
    width: float = 5.0,
) -> str:
    """Return bars by round, each a stack of parts from the first below to the last, as an SVG element."""
    from matplotlib import rc_context

    with rc_context(_style(identity)):
        figure, axes = _figure(width, axis)
        base = [0.0] * len(rounds)
        for colour, values in parts:
            axes.bar(rounds, values, bottom=base, color=_STANDINS[colour], width=0.8)
            base = [below + value for below, value in zip(base, values, strict=True)]
        _scale(axes, axis)
        return _svg(figure, identity)


def _style(identity: str) -> dict[Any, Any]:
    return {**_STYLE, "svg.hashsalt": identity}


def _figure(width: float, axis: Axis) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    height = 0.58 * width
    figure = Figure(figsize=(width, height))
    # Fixed margins, in inches: to have them computed takes as long as the drawing.
    figure.subplots_adjust(0.52 / width, 0.5 / height, 1 - 0.08 / width, 1 - 0.26 / height)
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    axes.set_title(axis.unit)
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5))
    return figure, axes


def _draw(axes: Axes, line: Line) -> None:
    colour = _STANDINS[line.colour]
    values = [float("nan") if value is None else value for value in line.values]
    if line.low and line.high:
        low, high = ([float("nan") if end is None else end for end in ends] for ends in (line.low, line.high))
        axes.fill_between(line.rounds, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.vlines(line.rounds, low, high, color=colour, linewidth=1, alpha=0.6)
    dense = len(values) > 25
    axes.plot(
        line.rounds,
        values,
        color=colour,
        linewidth=1.8,
        linestyle=_DASHES[line.style % len(_DASHES)],
        marker=_MARKERS[line.style % len(_MARKERS)],
        markersize=2.5 if dense else 4.5,
        clip_on=False,
    )


def _scale(axes: Axes, axis: Axis) -> None:
    if axis.zero:
        axes.axhline(0, color=_STANDINS["soft"], linewidth=1)
    first, last = axes.get_xlim()
    axes.set_xlim(min(first, -0.3), max(last, axis.last + 0.3))
    low, high = axes.get_ylim()
    low = low if axis.low is None else axis.low
    # Nearly equal values would lie at the very top of an axis that begins at 0.
    axes.set_ylim(low, high + 0.08 * (high - low) if axis.high is None else axis.high)


def _rounded(found: re.Match[str]) -> str:
    return f"{float(found[0]):.2f}"


def _svg(figure: Figure, identity: str) -> str:
    """Return the figure as an element for an HTML page: page colours and font, no unused ids."""
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].strip()
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None, "matplotlib writes a view box"
    text = re.sub(r"<svg[^>]*>", f'<svg {box[0]} aria-hidden="true" focusable="false">', text, count=1)
    for unwanted in (
        r"<metadata>.*?</metadata>",
        r"<!--.*?-->",
        r"<style.*?</style>",
        r"<path[^>]*opacity: 0\"/>",
    ):
        text = re.sub(unwanted, "", text, flags=re.S)
    text = re.sub(r"<[^>]+>", lambda tag: _LONG.sub(_rounded, tag[0]), text)  # in tags only: not the labels
    text = re.sub(r' transform="rotate\(-0[^"]*"', "", text)
    text = re.sub(r" font-family: [^;\"]*;", "", text)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", text)
    for old in used:
        text = text.replace(f'"{old}"', f'"{identity}-{old}"').replace(f"#{old}", f"#{identity}-{old}")
    for name, standin in _STANDINS.items():
        text = text.replace(standin, f"var(--{name})")
    return re.sub(r"\s*\n\s*", " ", text)
