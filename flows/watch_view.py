"""How a watched run is shown: a picture on a terminal, one line a change without one, or JSON lines."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from sdar.flows.commands.options import resume_command
from sdar.flows.display import cell
from sdar.flows.report.texts import duration, shortened
from sdar.flows.watching import Published, Row, Scene

_COLUMNS = {
    "round": "round",
    "success": "success on the panel",
    "gap": "gap",
    "gate_mean": "gate",
    "seconds": "s",
}
_BAND = 30
_AROUND = 12
"""Lines of a picture beside its table, so that the latest rounds stay in sight."""
_STYLES = {"running": "green", "busy": "yellow", "done": "bold green"}
_ENDS = {"done": "is done", "failed": "has failed", "interrupted": "was interrupted"}


def picture(scene: Scene, console: Console) -> Group:
    """Return what a terminal shows of a scene.

    Args:
        scene: what was seen.
        console: where it is shown; its height limits the rounds, its encoding the signs.
    """
    parts: list[RenderableType] = [_head(scene)]
    if scene.run is not None and scene.run.table:
        plain = not console.encoding.startswith("utf")
        parts += ["", _curve(scene.run.table[-max(console.height - _AROUND, 3) :], plain=plain)]
    if scene.status == "running":
        parts += ["", Text(doing(scene), style="bold"), *_progress(scene)]
    parts += [Text(line) for line in _tail(scene)]
    return Group(*parts)


def line(scene: Scene) -> str:
    """Return a scene as one line of text."""
    if scene.status != "running" or scene.run is None:
        return " ".join(sentences(scene))
    parts = [f"{scene.run.run_id}  {doing(scene)}"]
    last = _last(scene.run, "success")
    if last:
        parts.append(f"success {cell(last, 'success')} after round {last['round']}")
    gap = _last(scene.run, "gap")
    if gap:
        parts.append(f"gap {cell(gap, 'gap')}")
    if scene.run_left is not None:
        parts.append(f"at most {duration(scene.run_left, 0)} left")
    return "  ".join(parts)


def facts(scene: Scene) -> dict[str, Any]:
    """Return a scene as values for programs; unknown ones are None."""
    run, news, owner = scene.run, scene.news, scene.owner
    return {
        "status": scene.status,
        "store": str(scene.store),
        "run": run.run_id if run else None,
        "environment": run.environment if run else None,
        "method": run.method if run else None,
        "seed": run.seed if run else None,
        "round": news.round if news else (run.table[-1]["round"] if run and run.table else None),
        "rounds": run.rounds if run else None,
        "stage": news.stage if news else None,
        "stages": list(news.plan) if news else None,
        "done": news.done if news else None,
        "total": news.total if news else None,
        "unit": news.unit if news else None,
        "stage_seconds": round(scene.elapsed, 1) if news else None,
        "stage_seconds_left": _rounded(scene.stage_left),
        "seconds_left_at_most": _rounded(scene.run_left),
        "curve": [row for row in run.table if "success" in row] if run else [],
        "gap": _last(run, "gap").get("gap") if run else None,
        "verdict": run.verdict if run else None,
        "owner": None if owner is None else vars(owner),
        "news_age_seconds": _rounded(scene.age),
        "also_running": [news.run_id for news in scene.others],
        "resume": resume_command(run.run_id, scene.store) if run and _broken(scene) else None,
    }


def changed(scene: Scene) -> tuple[object, ...]:
    """Return what has to differ for a scene to be worth a new line."""
    run, news = scene.run, scene.news
    place = (news.round, news.stage) if news else None
    return scene.status, run.run_id if run else None, place


def doing(scene: Scene) -> str:
    """Return what a run is doing as text."""
    news = scene.news
    if news is None:
        return "nothing"
    place = f" ({news.plan.index(news.stage) + 1} of {len(news.plan)})" if news.stage in news.plan else ""
    amount = f", {news.done} of {news.total} {news.unit}" if news.total else ""
    return f"round {news.round} of {news.rounds}: {news.stage}{place}{amount}"


def sentences(scene: Scene) -> Iterator[str]:
    """Yield how a run ended, or what keeps it, and the command to go on with."""
    run = scene.run
    if run is None:
        yield f"No run is recorded yet; the store is held by {scene.owner}."
        return
    if scene.status == "died":
        where = f" It was at {doing(scene)}." if scene.news else ""
        yield f"Run {run.run_id} was never ended, and its process has gone.{where}"
    elif scene.status == "busy":
        ended = _ENDS.get(run.status)
        state = f"Run {run.run_id} {ended}" if ended else f"Nothing is told of run {run.run_id}"
        yield f"{state}; the store is held by {scene.owner}."
    elif scene.ended:
        yield f"Run {run.run_id} {_ENDS[scene.status]}."
    if _broken(scene):
        yield f"Go on with it: {resume_command(run.run_id, scene.store)}"
    elif scene.status == "done":
        store = shlex.quote(str(scene.store))
        yield f"Everything about it: sdar report --open --run {run.run_id} --store {store}"


def band(row: Row, width: int = _BAND, *, plain: bool = False) -> str:
    """Return an interval from 0 to 100 % as a line of signs with a point for the value.

    Args:
        row: with `success`, `low` and `high`, shares.
        width: signs for 100 %.
        plain: ASCII only.
    """
    span, point = ("-", "o") if plain else ("─", "●")
    low, middle, high = (min(int(row[key] * width), width - 1) for key in ("low", "success", "high"))
    signs = [span if low <= place <= high else " " for place in range(width)]
    signs[middle] = point
    return "".join(signs)


def _head(scene: Scene) -> Text:
    run = scene.run
    if run is None:
        return Text("no run is recorded yet", style="yellow")
    style = _STYLES.get(scene.status, "bold red")
    return Text.assemble(
        (run.run_id, "bold"), f"  {run.environment}, {run.method}, seed {run.seed}  ", (scene.status, style)
    )


def _curve(rows: tuple[Row, ...], *, plain: bool) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in _COLUMNS.values():
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("0 %" + "100 %".rjust(_BAND - 3), no_wrap=True)
    for row in rows:
        drawn = Text(band(row, plain=plain), style="cyan") if "success" in row else Text()
        table.add_row(*(cell(row, key) for key in _COLUMNS), drawn)
    return table


def _progress(scene: Scene) -> Iterator[RenderableType]:
    """Yield how far the present stage is; by its last time where nothing is counted."""
    news, left = scene.news, scene.stage_left
    if news is None:
        return
    share = news.done / news.total if news.total else 0.0
    if not news.total and left is not None:
        share = scene.elapsed / max(scene.elapsed + left, 1e-9)
    time = f"{duration(scene.elapsed, 0)} so far" + (f", about {duration(left, 0)} left" if left else "")
    grid = Table.grid(padding=(0, 2))
    grid.add_row(ProgressBar(total=1.0, completed=share, width=_BAND), Text(time))
    yield grid


def _tail(scene: Scene) -> Iterator[str]:
    run = scene.run
    if scene.run_left is not None:
        yield f"The run: at most {duration(scene.run_left, 0)} left."
    if run is not None and run.verdict is not None:
        sentence = shortened(run.verdict["sentence"])
        yield f"Verdict of round {run.verdict['round']}: {sentence}"
    if scene.others:
        yield "Also going on: " + ", ".join(f"{each.run_id} (round {each.round})" for each in scene.others)
    if scene.status == "running":
        yield f"Written by {scene.owner}."
    if scene.age is not None:
        yield f"Last heard of {duration(scene.age, 0)} ago."
    if scene.status == "busy":
        yield from sentences(scene)


def _last(run: Published, name: str) -> Row:
    return next((row for row in reversed(run.table) if name in row), {})


def _broken(scene: Scene) -> bool:
    return scene.status in ("failed", "interrupted", "died")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
