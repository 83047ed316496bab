"""The report of a run: one HTML file that needs no network."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

import sdar
from sdar.flows.pages import template
from sdar.flows.report import figures, tables, verdict
from sdar.flows.report.texts import moment, number
from sdar.flows.report.tokens import STEPS, heat_map
from sdar.tasks.report_data import ReportData
from sdar.tasks.report_episodes import ShownEpisode

SCRIPT = files("sdar.flows").joinpath("report", "tokens.js").read_text(encoding="utf-8")


def page(data: ReportData, episodes: Sequence[ShownEpisode], store: Path, written: str) -> str:
    """Return the report as HTML; all text of episodes, skills and settings is escaped.

    Args:
        data: the run.
        episodes: those to show token by token.
        store: folder of the store, for the commands on the page.
        written: the present moment, ISO 8601.
    """
    return template("report/page.html").render(
        run=data.run,
        subtitle=verdict.subtitle(data),
        headline=verdict.headline(data),
        tiles=verdict.tiles(data),
        warnings=verdict.warnings(data),
        steps=verdict.next_steps(data, store),
        learning=figures.learning(data),
        by_type=figures.by_type(data),
        teacher=figures.teacher(data),
        episodes=[heat_map(each) for each in episodes],
        scale=_scale(),
        skills=tables.skills(data),
        diagnostics=figures.diagnostics(data),
        skipped=sum(row["skipped"] or 0 for row in data.rounds),
        timing=figures.costs(data),
        stages=(tables.STAGE_COLUMNS, tables.stages(data)),
        family=figures.family(data),
        relatives=(tables.RELATIVE_COLUMNS, tables.relatives(data)),
        studies=data.studies,
        facts=tables.facts(data),
        settings=tables.settings(data),
        policies=(tables.POLICY_COLUMNS, tables.policies(data)),
        stored=(tables.STORED_COLUMNS, tables.stored(data)),
        place=shlex.quote(str(store)),
        version=sdar.__version__,
        written=moment(written),
        published=moment(max((row["finished"] for row in data.stages), default="")),
        script=Markup(SCRIPT),  # our own file: the only text that is not escaped, beside the charts
        script_hash=_hash(SCRIPT),
    )


def _scale() -> list[tuple[str, str]]:
    """Return the legend of the heat maps: style class and range of gaps."""
    above = [(f"e{place}", f"> {step:g}") for place, step in enumerate(STEPS, 1)]
    below = [(f"r{place}", f"< {number(-step, 'g')}") for place, step in enumerate(STEPS, 1)]
    return [*reversed(below), ("", "around 0"), *above]


def _hash(script: str) -> str:
    """Return what the page's policy allows to run: this script, byte by byte, and nothing else."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
