"""All stages, in the order in which a round executes them, and which artifacts each one reads."""

from __future__ import annotations

from collections.abc import Mapping

from sdar.rl.divergences import needs_vocabulary
from sdar.rl.judging import needs_judgement, needs_selection
from sdar.rl.trust import needs_trial
from sdar.schemas.config import RunConfig
from sdar.tasks import (
    bank,
    bootstrap,
    collect,
    decide,
    distill,
    evaluate,
    judge,
    material,
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
        distill.STAGE,
        evaluate.STAGE,
        evaluate.WITH_SKILLS,
        decide.STAGE,
    )
}

IRRELEVANT = {
    "policy.device": "where the model runs, not what it computes beyond rounding",
    "policy.devices": "how many processes share an update, not what it computes beyond rounding",
    "policy.threads": "how fast the model runs",
    "policy.gradient_checkpointing": "trades time for memory; the gradients are the same",
    "policy.token_budget": "how many rows share a pass, not what is computed beyond rounding",
    "policy.scorer": "what scores the teacher, not what the scores are beyond rounding",
    "policy.engine_memory": "how many episodes the engine holds at a time",
    "workers": "how many processes the world's episodes share",
    "logging.tensorboard": "where figures are written besides; they are the same",
    "logging.mlflow": "where figures are written besides; they are the same",
    "runner.kind": "where batches are done, not what is in them",
    "runner.shards": "how many batches are sent together",
    "runner.address": "where batches are done, not what is in them",
    "distill.every": "which rounds write skills; each one's result is the same",
    "distill.window": "which rounds' episodes are read; they are inputs of the stage",
    "evaluation.every": "which rounds have an evaluation; each one's result is the same",
    "evaluation.with_skills": "whether round 0 has one more evaluation",
    "evaluation.with_skills_always": "whether every evaluated round has one more evaluation",
}
"""Configuration fields that no stage reads, each with the reason."""


def evaluated(config: RunConfig, round_number: int) -> bool:
    """Say whether a round ends with an evaluation."""
    return round_number % config.evaluation.every == 0 or round_number >= config.stop.rounds


def distilled(config: RunConfig, round_number: int) -> bool:
    """Say whether a round writes skills."""
    every = config.distill.every
    return every > 0 and round_number > 0 and round_number % every == 0


def bank_place(config: RunConfig, round_number: int) -> Place:
    """Return where the bank after a round comes from."""
    every = config.distill.every
    last = round_number // every * every if every else 0
    return (last, "distill") if last else (0, "bank")


def plan(config: RunConfig, round_number: int) -> tuple[str, ...]:
    """Return the names of a round's stages in order."""
    if round_number == 0:
        return ("bootstrap", "bank", "panel", *_evaluations(config, config.evaluation.with_skills), "decide")
    tried = needs_trial(config.sdar) and trial_round(config, round_number) == round_number
    learning = (
        "collect",
        *(("judge",) if needs_judgement(config) else ()),
        *(("trial",) if tried else ()),
        "retrieve",
        "score",
        *(("select",) if needs_selection(config) else ()),
        "update",
        *(("distill",) if distilled(config, round_number) else ()),
    )
    if not evaluated(config, round_number):
        return learning
    return (*learning, *_evaluations(config, with_skills=False), "decide")


def _evaluations(config: RunConfig, with_skills: bool) -> tuple[str, ...]:
    both = with_skills or config.evaluation.with_skills_always
    return ("evaluate", "evaluate_with_skills") if both else ("evaluate",)


def teacher_round(config: RunConfig, round_number: int) -> int | None:
    """Return after which round the policy was copied that teaches in a round; None where none was."""
    if config.sdar.teacher == "frozen":
        return 0
    if config.sdar.teacher == "periodic":
        return max(round_number - 1, 0) // config.sdar.period * config.sdar.period
    return None


def trial_round(config: RunConfig, round_number: int) -> int:
    """Return the round in which the teacher of a round was tried: the first with its weights and its bank."""
    copied = teacher_round(config, round_number)
    return round_number if copied is None else max(copied, bank_place(config, round_number - 1)[0]) + 1


def order(place: Place) -> tuple[int, int]:
    """Return what sorts places in the order of execution."""
    return place[0], list(STAGES).index(place[1])


def policy_place(round_number: int) -> Place:
    """Return where the policy after a round comes from."""
    return (round_number, "update") if round_number else (0, "bootstrap")


def input_places(config: RunConfig, stage: str, round_number: int) -> dict[str, Place]:
    """Return, by role, which stages' artifacts a stage reads; what is not needed does not enter its key."""
    before, after = policy_place(max(round_number - 1, 0)), policy_place(round_number)
    first, panel_place = policy_place(0), (0, "panel")
    embedding: dict[str, Place] = {bank.EMBEDDER: first} if bank.embedding_policy(config) else {}
    skills: dict[str, Place] = {"bank": bank_place(config, max(round_number - 1, 0)), **embedding}
    skills_after: dict[str, Place] = {"bank": bank_place(config, round_number), **embedding}
    copied = teacher_round(config, round_number)
    teacher = {} if copied is None else {"teacher": policy_place(copied)}
    judged: dict[str, Place] = {"judgements": (round_number, "judge")}
    places: dict[str, dict[str, Place]] = {
        "bank": embedding,
        "collect": {"policy": before, **(skills if config.rollout.with_skills else {})},
        "trial": {"policy": before, **skills, **teacher},
        "judge": {
            "policy": before,
            **skills,
            "episodes": (round_number, "collect"),
            **teacher,
        },
        "retrieve": {
            "policy": first,
            **skills,
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
            **({"contexts": (round_number, "retrieve")} if config.skills.allow_empty else {}),
            **(judged if config.reward.source != "environment" else {}),
            **({"selection": (round_number, "select")} if needs_selection(config) else {}),
            **({"policy_0": first} if config.update.kl_coefficient else {}),
            **(teacher if needs_vocabulary(config.sdar) else {}),
            **({"trial": (trial_round(config, round_number), "trial")} if needs_trial(config.sdar) else {}),
        },
        "distill": {"policy": before, **skills, **teacher, **_window(config, round_number)},
        "evaluate": {
            "policy": after,
            "panel": panel_place,
            **(skills_after if config.evaluation.prompt == "skills" else {}),
        },
        "evaluate_with_skills": {"policy": after, "panel": panel_place, **skills_after},
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


def _window(config: RunConfig, round_number: int) -> dict[str, Place]:
    """Return where the episodes of the last rounds are found, their contexts, and which were selected."""
    rounds = range(max(round_number - config.distill.window, 0) + 1, round_number + 1)
    found = {f"{material.EPISODES}{number}": (number, "collect") for number in rounds}
    found |= {f"{material.CONTEXTS}{number}": (number, "retrieve") for number in rounds}
    if needs_selection(config):
        found |= {f"{material.SELECTION}{number}": (number, "select") for number in rounds}
    return found


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
