"""All stages, in the order in which a round executes them, and which artifacts each one reads."""

from __future__ import annotations

from collections.abc import Mapping

from sdar.rl.divergences import needs_vocabulary
from sdar.rl.judging import needs_judgement, needs_selection
from sdar.schemas.config import RunConfig
from sdar.tasks import (
    bank,
    bootstrap,
    collect,
    decide,
    evaluate,
    judge,
    panel,
    retrieve,
    score,
    select,
    trial,
    update,
)
from sdar.tasks.stage import Stage

Place = tuple[int, str]
"""A round and the name of a stage in it."""

STAGES: Mapping[str, Stage] = {
    stage.name: stage
    for stage in (
        bootstrap.STAGE,
        bank.STAGE,
        panel.STAGE,
        collect.STAGE,
        judge.STAGE,
        trial.STAGE,
        retrieve.STAGE,
        score.STAGE,
        select.STAGE,
        update.STAGE,
        evaluate.STAGE,
        evaluate.WITH_SKILLS,
        decide.STAGE,
    )
}

IRRELEVANT = {
    "policy.device": "where the model runs, not what it computes beyond rounding",
    "policy.threads": "how fast the model runs",
    "evaluation.every": "which rounds have an evaluation; each one's result is the same",
    "evaluation.with_skills": "whether round 0 has one more evaluation",
    "evaluation.with_skills_always": "whether every evaluated round has one more evaluation",
}
"""Configuration fields that no stage reads, each with the reason."""


def evaluated(config: RunConfig, round_number: int) -> bool:
    """Say whether a round ends with an evaluation."""
    return round_number % config.evaluation.every == 0 or round_number >= config.stop.rounds


def plan(config: RunConfig, round_number: int) -> tuple[str, ...]:
    """Return the names of a round's stages in order."""
    if round_number == 0:
        return ("bootstrap", "bank", "panel", *_evaluations(config, config.evaluation.with_skills), "decide")
    tried = needs_trial(config) and trial_round(config, round_number) == round_number
    learning = (
        "collect",
        *(("judge",) if needs_judgement(config) else ()),
        *(("trial",) if tried else ()),
        "retrieve",
        "score",
        *(("select",) if needs_selection(config) else ()),
        "update",
    )
    if not evaluated(config, round_number):
        return learning
    return (*learning, *_evaluations(config, with_skills=False), "decide")


def _evaluations(config: RunConfig, with_skills: bool) -> tuple[str, ...]:
    both = with_skills or config.evaluation.with_skills_always
    return ("evaluate", "evaluate_with_skills") if both else ("evaluate",)


def needs_trial(config: RunConfig) -> bool:
    """Say whether lambda depends on how well the teacher acts."""
    return config.sdar.coefficient > 0 and config.sdar.trust == "lead"


def teacher_round(config: RunConfig, round_number: int) -> int | None:
    """Return after which round the policy was copied that teaches in a round; None where none was."""
    if config.sdar.teacher == "frozen":
        return 0
    if config.sdar.teacher == "periodic":
        return max(round_number - 1, 0) // config.sdar.period * config.sdar.period
    return None


def trial_round(config: RunConfig, round_number: int) -> int:
    """Return the round in which the weights that teach in a round were tried: the first one they teach in."""
    copied = teacher_round(config, round_number)
    return round_number if copied is None else copied + 1


def order(place: Place) -> tuple[int, int]:
    """Return what sorts places in the order of execution."""
    return place[0], list(STAGES).index(place[1])


def policy_place(round_number: int) -> Place:
    """Return where the policy after a round comes from."""
    return (round_number, "update") if round_number else (0, "bootstrap")


def input_places(config: RunConfig, stage: str, round_number: int) -> dict[str, Place]:
    """Return, by role, which stages' artifacts a stage reads; what is not needed does not enter its key."""
    before, after = policy_place(max(round_number - 1, 0)), policy_place(round_number)
    first, bank_place, panel_place = policy_place(0), (0, "bank"), (0, "panel")
    copied = teacher_round(config, round_number)
    teacher = {} if copied is None else {"teacher": policy_place(copied)}
    judged: dict[str, Place] = {"judgements": (round_number, "judge")}
    places: dict[str, dict[str, Place]] = {
        "collect": {"policy": before, **({"bank": bank_place} if config.rollout.with_skills else {})},
        "trial": {"policy": before, "bank": bank_place, **teacher},
        "judge": {
            "policy": before,
            "bank": bank_place,
            "episodes": (round_number, "collect"),
            **teacher,
        },
        "retrieve": {
            "policy": first,
            "bank": bank_place,
            "episodes": (round_number, "collect"),
            **(_uses_before(round_number) if config.skills.strategy == "ucb" else {}),
        },
        "score": {
            "policy": before,
            "episodes": (round_number, "collect"),
            "contexts": (round_number, "retrieve"),
            **teacher,
        },
        "select": {
            "episodes": (round_number, "collect"),
            **(judged if needs_judgement(config) else {}),
        },
        "update": {
            "policy": before,
            "episodes": (round_number, "collect"),
            "scores": (round_number, "score"),
            **(judged if config.reward.source != "environment" else {}),
            **({"selection": (round_number, "select")} if needs_selection(config) else {}),
            **({"policy_0": first} if config.update.kl_coefficient else {}),
            **(teacher if needs_vocabulary(config.sdar) else {}),
            **({"trial": (trial_round(config, round_number), "trial")} if needs_trial(config) else {}),
        },
        "evaluate": {
            "policy": after,
            "panel": panel_place,
            **({"bank": bank_place} if config.evaluation.prompt == "skills" else {}),
        },
        "evaluate_with_skills": {"policy": after, "panel": panel_place, "bank": bank_place},
        "decide": {
            **{
                f"{decide.EVALUATION}{number}": (number, "evaluate")
                for number in range(round_number + 1)
                if evaluated(config, number)
            },
            **{
                f"{role}{number}": (number, name)
                for number in range(1, round_number + 1)
                for role, name in ((decide.COLLECT, "collect"), (decide.UPDATE, "update"))
            },
        },
    }
    return places.get(stage, {})


def _uses_before(round_number: int) -> dict[str, Place]:
    """Return where the skills' uses of the round before are found; round 1 has none before it."""
    if round_number < 2:
        return {}
    last = round_number - 1
    return {
        "previous": (last, "retrieve"),
        "previous_episodes": (last, "collect"),
        "previous_scores": (last, "score"),
    }
