"""What the report of a run shows, read from the store's published copy; the run may still be going."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sdar.rl.statistics import PairedDifference, paired_bootstrap
from sdar.schemas.lineage import RunRecord
from sdar.schemas.seeds import PANEL_SEED, derive_seed
from sdar.storage import Store, literal
from sdar.tasks.study_data import MAIN

Row = dict[str, Any]

CLEAR_GAP = 0.5
"""Nats from which on the teacher clearly endorses a token, or below minus this clearly rejects it."""

_EVALUATIONS = """
    SELECT s.round, s.stage, e.with_skills, e.episodes, e.successes, e.success, e.low, e.high, e.mean_turns,
        e.by_type, e.policy_id, e.panel_id
    FROM stage_run s JOIN evaluation e ON e.artifact_id = s.artifact_id
    WHERE s.run_id = {run} AND s.stage IN ('evaluate', 'evaluate_with_skills') ORDER BY s.round, e.ordinal"""
_ROUNDS = "SELECT * EXCLUDE (run_id) FROM round_summary WHERE run_id = {run} ORDER BY round"
_GAPS = """
    SELECT v.round, count(*) AS tokens, avg(v.gap) FILTER (e.success) AS on_success,
        avg(v.gap) FILTER (NOT e.success) AS on_failure, avg((v.gap > {clear})::INTEGER) AS endorsed,
        avg((v.gap < -{clear})::INTEGER) AS rejected, quantile_cont(v.gate, 0.1) AS gate_low,
        quantile_cont(v.gate, 0.9) AS gate_high
    FROM token_value v
    JOIN collected_episode e ON e.run_id = v.run_id AND e.round = v.round AND e.id = v.episode_id
    WHERE v.run_id = {run} GROUP BY v.round ORDER BY v.round"""
_UPDATES = """
    SELECT s.round, count(*) AS steps, avg(u.loss) AS loss, avg(u.policy_loss) AS policy_loss,
        avg(u.distillation) AS distillation, avg(u.ratio_mean) AS ratio_mean
    FROM stage_run s JOIN update_step u ON u.artifact_id = s.artifact_id
    WHERE s.run_id = {run} AND NOT u.skipped GROUP BY s.round ORDER BY s.round"""
_STAGES = """
    SELECT round, stage, seconds, reused_from, artifact_id, version, started, finished
    FROM stage_run WHERE run_id = {run} ORDER BY round, rowid"""
_SAMPLED = """
    SELECT s.round, s.stage, count(*) AS episodes, sum(len(e.token_ids))::BIGINT AS tokens,
        sum(list_count(list_filter(e.action_mask, lambda m: m)))::BIGINT AS actions
    FROM stage_run s JOIN episode e ON e.artifact_id = s.artifact_id
    WHERE s.run_id = {run} GROUP BY ALL ORDER BY s.round, s.stage"""
_CONTEXTS = """
    SELECT s.round, count(*) AS contexts, avg(c.tokens_used) AS used, max(c.tokens_used) AS most,
        max(c.budget) AS budget, sum(c.tokens_cut)::BIGINT AS cut
    FROM stage_run s JOIN teacher_context c ON c.artifact_id = s.artifact_id
    WHERE s.run_id = {run} GROUP BY s.round ORDER BY s.round"""
_SKILLS = """
    WITH texts AS (
        SELECT k.name, arg_max(k.description, s.round) AS description, arg_max(k.body, s.round) AS body
        FROM stage_run s JOIN skill k ON k.artifact_id = s.artifact_id WHERE s.run_id = {run} GROUP BY k.name)
    SELECT r.* EXCLUDE (run_id), t.description, t.body
    FROM skill_report r LEFT JOIN texts t ON t.name = r.skill WHERE r.run_id = {run}
    ORDER BY r.retired, r.difference DESC NULLS LAST, r.skill"""
_POLICIES = """
    SELECT s.round, p.id, p.parent, p.method, p.parameters, s.finished, s.reused_from,
        a.blob, a.blob IS NOT NULL AND a.blob NOT IN (SELECT blob FROM pruned) AS kept
    FROM stage_run s JOIN policy p ON p.artifact_id = s.artifact_id JOIN artifact a ON a.id = s.artifact_id
    WHERE s.run_id = {run} AND s.stage IN ('bootstrap', 'update') ORDER BY s.round"""
_VERDICTS = """
    SELECT v.* EXCLUDE (artifact_id, ordinal, last_gain)
    FROM stage_run s JOIN verdict v ON v.artifact_id = s.artifact_id
    WHERE s.run_id = {run} ORDER BY s.round"""
_OUTCOMES = """
    SELECT s.round, s.inputs->>'$.panel' AS panel, list(e.task_id ORDER BY e.ordinal) AS tasks,
        list(e.success ORDER BY e.ordinal) AS outcomes
    FROM stage_run s JOIN episode e ON e.artifact_id = s.artifact_id
    WHERE s.run_id = {run} AND s.stage = 'evaluate' GROUP BY ALL ORDER BY s.round"""
_RUNS = "SELECT id, created, method, seed, config, parent, status FROM run ORDER BY rowid"
_STUDIES = "SELECT study, arm, seed FROM study_member WHERE run_id = {run} ORDER BY study, arm"


@dataclass(frozen=True)
class Gain:
    """A paired difference of two evaluations on the same tasks of one panel, `after` minus `before`."""

    before_round: int
    after_round: int
    tasks: int
    difference: PairedDifference


@dataclass(frozen=True)
class Relative:
    """A run of the same family: it branched from this one, or both come from one run.

    `gain` is its evaluation minus that of the reported run, after the last round that both have evaluated;
    None where there is none, or they played different panels.
    """

    run: RunRecord
    curve: tuple[Row, ...]
    gain: Gain | None


@dataclass(frozen=True)
class ReportData:
    """Everything of one run that its report shows, as rows by round; a missing stage leaves rows out.

    `curve` holds the evaluations that the verdicts are about, `skilled` those with skills in the prompt
    besides. `gain` is the last evaluation against the first, None before the second one.
    """

    run: RunRecord
    curve: tuple[Row, ...]
    skilled: tuple[Row, ...]
    rounds: tuple[Row, ...]
    gaps: tuple[Row, ...]
    updates: tuple[Row, ...]
    stages: tuple[Row, ...]
    sampled: tuple[Row, ...]
    contexts: tuple[Row, ...]
    skills: tuple[Row, ...]
    policies: tuple[Row, ...]
    verdicts: tuple[Row, ...]
    gain: Gain | None
    relatives: tuple[Relative, ...]
    studies: tuple[Row, ...]


def read_report(store: Store, run: RunRecord) -> ReportData:
    """Return what the report of a run shows, as far as it is published.

    Args:
        store: opened for reading.
        run: the run, finished or not.
    """

    def rows(query: str) -> tuple[Row, ...]:
        return tuple(store.query(query.format(run=literal(run.id), clear=CLEAR_GAP)).to_pylist())

    evaluations = rows(_EVALUATIONS)
    curve = tuple(row for row in evaluations if _is_main(run, row))
    outcomes = rows(_OUTCOMES)
    return ReportData(
        run=run,
        curve=curve,
        skilled=tuple(row for row in evaluations if row["with_skills"] and row not in curve),
        rounds=rows(_ROUNDS),
        gaps=rows(_GAPS),
        updates=rows(_UPDATES),
        stages=rows(_STAGES),
        sampled=rows(_SAMPLED),
        contexts=rows(_CONTEXTS),
        skills=rows(_SKILLS),
        policies=rows(_POLICIES),
        verdicts=rows(_VERDICTS),
        gain=_gain(outcomes[0], outcomes[-1]) if len(outcomes) > 1 else None,
        relatives=_relatives(store, run, outcomes),
        studies=rows(_STUDIES),
    )


def _is_main(run: RunRecord, row: Row) -> bool:
    """Say whether the verdicts are about an evaluation: with `evaluation.prompt: skills` it has skills."""
    prompt = run.settings.get("evaluation", {}).get("prompt", "plain")
    return bool(row["stage"] == MAIN and row["with_skills"] == (prompt == "skills"))


def _relatives(store: Store, run: RunRecord, outcomes: Sequence[Row]) -> tuple[Relative, ...]:
    records = [_record(row) for row in store.query(_RUNS).to_pylist()]
    parents = {record.id: record.parent for record in records}
    root = _root(run.id, parents)
    family = [each for each in records if each.id != run.id and _root(each.id, parents) == root]
    return tuple(_relative(store, each, outcomes) for each in family)


def _record(row: Row) -> RunRecord:
    return RunRecord.model_validate({**row, "config": json.loads(row["config"])})


def _root(run_id: str, parents: dict[str, str | None]) -> str:
    """Return the run without a parent that a run comes from; a lost parent ends the chain."""
    while (parent := parents.get(run_id)) is not None:
        run_id = parent
    return run_id


def _relative(store: Store, record: RunRecord, outcomes: Sequence[Row]) -> Relative:
    def rows(query: str) -> list[Row]:
        found: list[Row] = store.query(query.format(run=literal(record.id))).to_pylist()
        return found

    theirs = rows(_OUTCOMES)
    curve = tuple(row for row in rows(_EVALUATIONS) if _is_main(record, row))
    return Relative(record, curve, _last_common(outcomes, theirs))


def _last_common(before: Sequence[Row], after: Sequence[Row]) -> Gain | None:
    """Compare after the last round that both have evaluated, since more rounds alone would look better."""
    later = {row["round"]: row for row in after}
    common = [row for row in before if row["round"] in later]
    return _gain(common[-1], later[common[-1]["round"]]) if common else None


def _gain(before: Row, after: Row) -> Gain | None:
    """Pair two evaluations task by task, as `sdar runs compare` does."""
    first = dict(zip(before["tasks"], before["outcomes"], strict=True))
    second = dict(zip(after["tasks"], after["outcomes"], strict=True))
    if before["panel"] != after["panel"] or first.keys() != second.keys():
        return None
    pairs = [np.array([float(found[task]) for task in first]) for found in (first, second)]
    paired = paired_bootstrap(pairs[0], pairs[1], derive_seed(PANEL_SEED, "compare"))
    return Gain(before["round"], after["round"], len(first), paired)
