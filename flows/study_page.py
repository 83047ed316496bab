"""The page of a study: one file that needs no network."""

from __future__ import annotations

from typing import Any

from sdar.flows import study_chart as chart
from sdar.flows import study_tables as tables
from sdar.flows.pages import template
from sdar.flows.study_tables import Document

TEMPLATE = "study_page.html"


def page(document: Document) -> str:
    """Return the page as HTML; all text of the study is escaped.

    Args:
        document: what `result.json` holds.
    """
    return template(TEMPLATE).render(
        study=document,
        headline=tables.headline(document),
        findings=_findings(document),
        overview=chart.overview(document["arms"], document["rounds"]),
        longest=chart.LONGEST,
        small=_small_charts(document),
        results=(tables.result_columns(), tables.result_rows(document)),
        differences=_differences(document),
        difference_columns=tables.difference_columns(document),
        costs=(tables.COST_COLUMNS, tables.cost_rows(document)),
        switches=(("setting", *_labels(document)), tables.switch_rows(document)),
        curves_table=_curves(document),
        published=tables.published_table(document),
        machine=tables.machine(document),
    )


def _labels(document: Document) -> list[str]:
    return [arm["label"] for arm in document["arms"]]


def _findings(document: Document) -> list[dict[str, str]]:
    """Return one sentence for each arm beside the baseline."""
    found = []
    for row in document["differences"]:
        relation = "from" if row["verdict"] == "not distinguishable" else "than"
        numbers = f"{100 * row['difference']:+.1f} points {tables.points(row['low'], row['high'])}"
        found.append(
            {
                "arm": row["arm"],
                "verdict": row["verdict"],
                "rest": f"{relation} {row['baseline']}: {numbers}",
                "kind": row["verdict"].replace(" ", "-"),
            }
        )
    return found


def _small_charts(document: Document) -> list[dict[str, Any]]:
    arms, labels = document["arms"], _labels(document)
    place = labels.index(document["baseline"])
    return [
        {"label": arm["label"], "chart": chart.small(arm, index, arms[place], place, document["rounds"])}
        for index, arm in enumerate(arms)
        if arm["curve"] and index != place
    ]


def _differences(document: Document) -> list[dict[str, Any]]:
    """Return the cells of each difference and its bar on a scale of 0 to 100 with 0 points in the middle."""
    scale = chart.largest_end(document["differences"])
    rows = zip(document["differences"], tables.difference_rows(document), strict=True)
    return [
        {
            "cells": cells,
            "kind": row["verdict"].replace(" ", "-"),
            **{end: 50 + 46 * row[end] / scale for end in ("low", "high", "difference")},
        }
        for row, cells in rows
    ]


def _curves(document: Document) -> tuple[list[str], list[list[str]]]:
    """Return the learning curves as a table, a row for each round that some arm was evaluated in."""
    arms = document["arms"]
    rounds = sorted({point["round"] for arm in arms for point in arm["curve"]})
    points = [{point["round"]: point for point in arm["curve"]} for arm in arms]
    rows = [[str(number), *(tables.interval(each.get(number)) for each in points)] for number in rounds]
    return ["round", *_labels(document)], rows
