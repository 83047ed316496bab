"""How useful a skill has been: whether it raised the tokens of successful episodes above the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, variance

from scipy.special import stdtrit

from sdar.schemas.records import SkillLift, SkillStat, TeacherContext


def usefulness(stat: SkillStat) -> float:
    """Return the mean gap of successful minus that of failed episodes that used the skill, in nats.

    While all episodes that used it ended alike, nothing tells them apart, and the result is 0.
    """
    if not stat.successes or not stat.failures:
        return 0.0
    return stat.gap_success / stat.successes - stat.gap_failure / stat.failures


def upper_bound(stat: SkillStat, total: int, exploration: float) -> float:
    """Return the usefulness plus a bonus that falls with the number of uses.

    Args:
        stat: a skill with at least one use.
        total: uses of all skills together, at least those of this one.
        exploration: weight of the bonus, 0 or more.

    Source: UCB1 of Auer, Cesa-Bianchi and Fischer (2002), section 2, with a free weight for its square root.
    """
    return usefulness(stat) + exploration * math.sqrt(math.log(total) / stat.uses)


def count_uses(
    before: Sequence[SkillStat],
    contexts: Sequence[TeacherContext],
    success: Mapping[str, bool],
    gaps: Mapping[str, float],
) -> list[SkillStat]:
    """Return the statistics after one more round, by skill id.

    Args:
        before: those of all rounds before it.
        contexts: what the teacher read in the round; only skills that fitted the budget count as used.
        success: by episode id, whether the episode succeeded.
        gaps: by episode id, mean of teacher minus student log-prob, in nats; episodes without a scored token
            are absent and not counted.
    """
    known = {stat.skill_id: stat for stat in before}
    for context in contexts:
        gap = gaps.get(context.episode_id)
        if gap is None:
            continue
        for used in context.skills:
            stat = known.get(used.skill_id, _unused(used.skill_id))
            known[used.skill_id] = _with_use(stat, success[context.episode_id], gap)
    return [known[skill_id] for skill_id in sorted(known)]


def skill_lift(skill_id: str, successes: Sequence[float], failures: Sequence[float]) -> SkillLift:
    """Return the counterfactual lift of a skill with its 95 % interval.

    Args:
        skill_id: the skill.
        successes: lift of each successful episode, at least one: the teacher's mean log-prob of the action
            tokens with the skill in the block minus that without, in nats.
        failures: the same for failed episodes, at least one.

    Source: Welch (1947) for the interval of a difference of means of unequal variances.
    """
    lift, half = fmean(successes) - fmean(failures), None
    if min(len(successes), len(failures)) > 1:
        parts = [variance(values) / len(values) for values in (successes, failures)]
        spread = sum(p * p / (len(v) - 1) for p, v in zip(parts, (successes, failures), strict=True))
        half = float(stdtrit(sum(parts) ** 2 / spread, 0.975)) * math.sqrt(sum(parts)) if spread else 0.0
    return SkillLift(
        skill_id=skill_id,
        successes=len(successes),
        lift_success=fmean(successes),
        failures=len(failures),
        lift_failure=fmean(failures),
        lift=lift,
        low=None if half is None else lift - half,
        high=None if half is None else lift + half,
    )


def _unused(skill_id: str) -> SkillStat:
    return SkillStat(skill_id=skill_id, uses=0, successes=0, gap_success=0.0, failures=0, gap_failure=0.0)


def _with_use(stat: SkillStat, success: bool, gap: float) -> SkillStat:
    if success:
        change = {"successes": stat.successes + 1, "gap_success": stat.gap_success + gap}
    else:
        change = {"failures": stat.failures + 1, "gap_failure": stat.gap_failure + gap}
    return stat.model_copy(update={"uses": stat.uses + 1, **change})
