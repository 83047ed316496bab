"""What a study shows: means over seeds with intervals, learning curves, and paired differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sdar.rl.crossed import crossed_bootstrap
from sdar.rl.statistics import MeanInterval, mean_interval
from sdar.schemas.resolve import flatten
from sdar.schemas.study import Arm, StudyDefinition
from sdar.tasks.published import NOTE, published
from sdar.tasks.study_data import Evaluation, MemberData

LEAST_SEEDS = 5
"""With fewer seeds nothing should be claimed about a method (algorithms, section 10)."""

BOOTSTRAP_SEED = 0
"""The same for all studies, so that a result does not change when it is written again."""


@dataclass(frozen=True)
class SeedResult:
    """One run: shares in [0, 1]; `last` stays what it was when the run ended before the last round."""

    seed: int
    run_id: str
    last: float
    best: float
    best_round: int
    area: float
    with_skills: float | None
    seconds: float
    seconds_alone: float
    sampled_tokens: int
    scored_tokens: int
    episodes: int
    ended: str
    ended_round: int


@dataclass(frozen=True)
class CurvePoint:
    """Mean success over seeds after a round, with its 95 % interval over seeds."""

    round: int
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ArmResult:
    """One arm over its finished seeds; shares in [0, 1], `published` in per cent.

    `prompt` says whether its success was measured with skills in the prompt; `with_skills` is the last such
    evaluation of every seed, that of `with_skills_round`. Seconds, tokens and episodes are means over seeds.
    """

    label: str
    method: str
    settings: tuple[str, ...]
    prompt: str
    seeds: tuple[SeedResult, ...]
    missing: tuple[int, ...]
    collapsed: tuple[int, ...]
    last: MeanInterval | None
    best: MeanInterval | None
    area: MeanInterval | None
    with_skills: MeanInterval | None
    with_skills_round: int | None
    curve: tuple[CurvePoint, ...]
    seconds: float
    seconds_alone: float
    sampled_tokens: float
    scored_tokens: float
    episodes: float
    published: dict[str, dict[str, float]] | None


@dataclass(frozen=True)
class Difference:
    """Success of an arm after the last round minus that of the baseline, over shared seeds and tasks."""

    arm: str
    baseline: str
    seeds: int
    tasks: int
    difference: float
    low: float
    high: float
    seeds_low: float | None
    seeds_high: float | None
    verdict: str


@dataclass(frozen=True)
class StudyResult:
    """Everything that a study shows, apart from where and when it was run."""

    rounds: int
    seeds: tuple[int, ...]
    complete: bool
    panels: dict[str, int]
    baseline: str
    arms: tuple[ArmResult, ...]
    differences: tuple[Difference, ...]
    switches: dict[str, dict[str, Any]]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def study_result(definition: StudyDefinition, members: Sequence[MemberData], baseline: str) -> StudyResult:
    """Sum up the finished runs of a study.

    Args:
        definition: the whole study.
        members: its finished runs, in any order.
        baseline: label of the arm that the others are compared with.
    """
    by_arm = {
        arm.label: sorted((each for each in members if each.arm == arm.label), key=lambda each: each.seed)
        for arm in definition.arms
    }
    arms = tuple(_arm_result(arm, by_arm[arm.label], definition) for arm in definition.arms)
    differences = tuple(
        found
        for arm in definition.arms
        if arm.label != baseline
        and (found := paired_difference(by_arm[baseline], by_arm[arm.label])) is not None
    )
    panels = {
        each.panel[:12]: len(each.outcomes)
        for member in members
        for each in (*member.evaluations, *member.skilled)
    }
    complete = len(members) == len(definition.arms) * len(definition.seeds)
    return StudyResult(
        rounds=definition.rounds,
        seeds=definition.seeds,
        complete=complete,
        panels=panels,
        baseline=baseline,
        arms=arms,
        differences=differences,
        switches=switches(definition.arms),
        notes=tuple(_notes(arms, panels, definition, complete)),
    )


def paired_difference(before: Sequence[MemberData], after: Sequence[MemberData]) -> Difference | None:
    """Pair the last evaluations of two arms by seed and task; None when they share no seed or no panel."""
    first = {member.seed: member.evaluations[-1] for member in before if member.evaluations}
    second = {member.seed: member.evaluations[-1] for member in after if member.evaluations}
    seeds = sorted(first.keys() & second.keys())
    if not seeds:
        return None
    tasks = list(first[seeds[0]].outcomes)
    played = [each.outcomes for seed in seeds for each in (first[seed], second[seed])]
    if any(outcomes.keys() != played[0].keys() for outcomes in played):
        return None
    matrix = np.array([_differences(first[seed], second[seed], tasks) for seed in seeds])
    found = crossed_bootstrap(matrix, BOOTSTRAP_SEED)
    return Difference(
        arm=after[0].arm, baseline=before[0].arm, seeds=len(seeds), tasks=len(tasks), **asdict(found)
    )


def area_under_curve(rounds: Sequence[int], values: Sequence[float]) -> float:
    """Return the mean of a learning curve between its first and its last round, by the trapezoidal rule.

    Args:
        rounds: rounds of the values, ascending.
        values: success after each; a single value is its own mean.
    """
    if len(rounds) == 1:
        return values[0]
    steps = np.diff(np.asarray(rounds, dtype=np.float64))
    middles = (np.asarray(values[:-1]) + np.asarray(values[1:])) / 2
    return float(np.sum(steps * middles) / np.sum(steps))


def switches(arms: Sequence[Arm]) -> dict[str, dict[str, Any]]:
    """Return, by dotted path, the value that each arm has, for the settings in which any two arms differ."""
    flat = {arm.label: flatten(arm.config) for arm in arms}
    paths = sorted({path for values in flat.values() for path in values} - {"method"})
    rows = {path: {label: values.get(path) for label, values in flat.items()} for path in paths}
    return {path: row for path, row in rows.items() if len({repr(value) for value in row.values()}) > 1}


def _arm_result(arm: Arm, members: Sequence[MemberData], definition: StudyDefinition) -> ArmResult:
    whole = [member for member in members if member.evaluations]
    grid = sorted({each.round for member in whole for each in member.evaluations} | {definition.rounds})
    seeds = tuple(_seed_result(member, grid) for member in whole)
    skilled = [seed.with_skills for seed in seeds if seed.with_skills is not None]
    rounds = {member.skilled[-1].round for member in whole if member.skilled}
    return ArmResult(
        label=arm.label,
        method=arm.method,
        settings=arm.settings,
        prompt=arm.config["evaluation"]["prompt"],
        seeds=seeds,
        missing=tuple(sorted(set(definition.seeds) - {seed.seed for seed in seeds})),
        collapsed=tuple(seed.seed for seed in seeds if seed.ended == "collapse"),
        last=_mean([seed.last for seed in seeds]),
        best=_mean([seed.best for seed in seeds]),
        area=_mean([seed.area for seed in seeds]),
        with_skills=_mean(skilled),
        with_skills_round=max(rounds, default=None),
        curve=tuple(_point(round, whole) for round in grid) if whole else (),
        seconds=_average(seeds, lambda seed: seed.seconds),
        seconds_alone=_average(seeds, lambda seed: seed.seconds_alone),
        sampled_tokens=_average(seeds, lambda seed: seed.sampled_tokens),
        scored_tokens=_average(seeds, lambda seed: seed.scored_tokens),
        episodes=_average(seeds, lambda seed: seed.episodes),
        published=None if arm.settings else published(arm.method),
    )


def _seed_result(member: MemberData, grid: Sequence[int]) -> SeedResult:
    best = max(member.evaluations, key=lambda each: (each.success, -each.round))
    return SeedResult(
        seed=member.seed,
        run_id=member.run_id,
        last=member.evaluations[-1].success,
        best=best.success,
        best_round=best.round,
        area=area_under_curve(grid, [_success_at(member, round) for round in grid]),
        with_skills=member.skilled[-1].success if member.skilled else None,
        seconds=member.seconds,
        seconds_alone=member.seconds_alone,
        sampled_tokens=member.sampled,
        scored_tokens=member.scored,
        episodes=member.episodes,
        ended=member.ended,
        ended_round=member.ended_round,
    )


def _success_at(member: MemberData, round: int) -> float:
    """Return the success of the latest evaluation up to a round: what has ended stays what it was."""
    return [each for each in member.evaluations if each.round <= round][-1].success


def _point(round: int, members: Sequence[MemberData]) -> CurvePoint:
    found = _mean([_success_at(member, round) for member in members])
    assert found is not None
    return CurvePoint(round, found.mean, found.low, found.high)


def _mean(shares: Sequence[float]) -> MeanInterval | None:
    """Return the mean over seeds with its t interval, cut at 0 and 1 since it is about shares."""
    if not shares:
        return None
    found = mean_interval(shares)
    if found.low is None or found.high is None:
        return found
    return MeanInterval(found.mean, max(found.low, 0.0), min(found.high, 1.0), found.n)


def _average(seeds: Sequence[SeedResult], value: Callable[[SeedResult], float]) -> float:
    return float(np.mean([value(seed) for seed in seeds])) if seeds else 0.0


def _differences(before: Evaluation, after: Evaluation, tasks: Sequence[str]) -> list[float]:
    return [float(after.outcomes[task]) - float(before.outcomes[task]) for task in tasks]


def _notes(
    arms: Sequence[ArmResult], panels: Mapping[str, int], definition: StudyDefinition, complete: bool
) -> list[str]:
    notes = []
    if not complete:
        missing = sum(len(arm.missing) for arm in arms)
        notes.append(f"The study is not complete: {missing} runs are missing. They are left out everywhere.")
    if len(definition.seeds) < LEAST_SEEDS:
        notes.append(
            f"With {len(definition.seeds)} seeds nothing should be claimed about a method; take at least "
            f"{LEAST_SEEDS}."
        )
    for arm in arms:
        if arm.collapsed:
            seeds = ", ".join(map(str, arm.collapsed))
            notes.append(
                f"{arm.label} collapsed with seed {seeds}: the run ended there, and its last value counts "
                "for all later rounds."
            )
        if arm.prompt == "skills":
            notes.append(f"{arm.label} was measured with skills in its prompt.")
        if arm.seeds and not arm.episodes:
            notes.append(
                f"{arm.label} does not train, so its seeds are alike and its interval over them is empty."
            )
    if len(panels) > 1:
        notes.append("The arms were measured on different panels; those cannot be paired.")
    notes.append("The best of several evaluations is flattered by chance; the last one is not chosen.")
    if any(arm.published for arm in arms):
        notes.append(NOTE)
    return notes
