"""What a finished run of a study gave, read from the store."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from sdar.schemas.study import Member
from sdar.storage import Store

MAIN, SKILLED = "evaluate", "evaluate_with_skills"

_OUTCOMES = """
    SELECT s.round, s.stage, s.inputs->>'$.panel' AS panel, list(e.task_id ORDER BY e.ordinal) AS tasks,
        list(e.success ORDER BY e.ordinal) AS outcomes
    FROM stage_run s JOIN episode e ON e.artifact_id = s.artifact_id
    WHERE s.run_id = '{run}' AND s.stage IN ('evaluate', 'evaluate_with_skills')
    GROUP BY ALL ORDER BY s.round"""
_SECONDS = """
    SELECT coalesce(sum(s.seconds) FILTER (s.reused_from IS NULL), 0) AS computed,
        coalesce(sum(coalesce(o.seconds, s.seconds)), 0) AS alone
    FROM stage_run s LEFT JOIN stage_run o ON o.run_id = s.reused_from AND o.round = s.round
        AND o.stage = s.stage AND o.key = s.key AND o.reused_from IS NULL
    WHERE s.run_id = '{run}'"""
_COUNTS = """
    SELECT (SELECT coalesce(sum(list_count(list_filter(e.action_mask, lambda m: m))), 0) FROM stage_run s
            JOIN episode e ON e.artifact_id = s.artifact_id
            WHERE s.run_id = '{run}' AND s.stage IN ('collect', 'trial'))
            AS sampled,
        (SELECT coalesce(sum(len(t.positions)), 0) FROM stage_run s
            JOIN token_score t ON t.artifact_id = s.artifact_id
            WHERE s.run_id = '{run}' AND s.stage = 'score') AS scored,
        (SELECT count(*) FROM stage_run s JOIN episode e ON e.artifact_id = s.artifact_id
            WHERE s.run_id = '{run}' AND s.stage IN ('collect', 'trial')) AS episodes"""
_ENDED = """
    SELECT v.reason, v.round FROM stage_run s JOIN verdict v ON v.artifact_id = s.artifact_id
    WHERE s.run_id = '{run}' ORDER BY s.round DESC LIMIT 1"""


@dataclass(frozen=True)
class Evaluation:
    """Success of each task of the panel after a round, by task id."""

    round: int
    panel: str
    outcomes: dict[str, bool]

    @property
    def success(self) -> float:
        """Share of the tasks that succeeded."""
        return sum(self.outcomes.values()) / len(self.outcomes)


@dataclass(frozen=True)
class MemberData:
    """A finished run of a study.

    `evaluations` are those that its verdicts are about, oldest first; `skilled` those that it had besides,
    with skills in the prompt. `seconds` is the wall time of the stages that this run computed,
    `seconds_alone` counts those that it took from other runs too. `sampled` and `scored` count action tokens,
    those of a teacher's trial included; `ended` is the reason of the last verdict.
    """

    arm: str
    seed: int
    run_id: str
    evaluations: tuple[Evaluation, ...]
    skilled: tuple[Evaluation, ...]
    seconds: float
    seconds_alone: float
    sampled: int
    scored: int
    episodes: int
    ended: str
    ended_round: int


def read_member(store: Store, member: Member) -> MemberData:
    """Return what a finished run gave, from the store's published copy."""

    def rows(query: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = store.query(query.format(run=member.run_id)).to_pylist()
        return found

    found: dict[str, list[Evaluation]] = defaultdict(list)
    for row in rows(_OUTCOMES):
        outcomes = dict(zip(row["tasks"], row["outcomes"], strict=True))
        found[row["stage"]].append(Evaluation(row["round"], row["panel"], outcomes))
    seconds, counts, ended = rows(_SECONDS)[0], rows(_COUNTS)[0], rows(_ENDED)
    return MemberData(
        arm=member.arm,
        seed=member.seed,
        run_id=member.run_id,
        evaluations=tuple(found[MAIN]),
        skilled=tuple(found[SKILLED]),
        seconds=float(seconds["computed"]),
        seconds_alone=float(seconds["alone"]),
        sampled=int(counts["sampled"]),
        scored=int(counts["scored"]),
        episodes=int(counts["episodes"]),
        ended=ended[0]["reason"] if ended else "",
        ended_round=int(ended[0]["round"]) if ended else 0,
    )
