"""All stages, in the order in which a round executes them, and which artifacts each one reads."""

from __future__ import annotations

from collections.abc import Mapping

from sdar.rl.divergences import needs_vocabulary
from sdar.schemas.config import RunConfig
from sdar.tasks import bank, bootstrap, collect, decide, evaluate, panel, retrieve, score, update
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
        retrieve.STAGE,
        score.STAGE,
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
}
"""Configuration fields that no stage reads, each with the reason."""


def evaluated(config: RunConfig, round_number: int) -> bool:
    """Say whether a round ends with an evaluation."""
    return round_number % config.evaluation.every == 0 or round_number >= config.stop.rounds


def plan(config: RunConfig, round_number: int) -> tuple[str, ...]:
    """Return the names of a round's stages in order."""
    if round_number == 0:
        skilled = ("evaluate_with_skills",) if config.evaluation.with_skills else ()
        return ("bootstrap", "bank", "panel", "evaluate", *skilled, "decide")
    learning = ("collect", "retrieve", "score", "update")
    return (*learning, "evaluate", "decide") if evaluated(config, round_number) else learning


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
    vocabulary = config.sdar.coefficient > 0 and needs_vocabulary(config.sdar.divergence)
    frozen = config.sdar.teacher == "frozen"
    places: dict[str, dict[str, Place]] = {
        "collect": {"policy": before},
        "retrieve": {"policy": first, "bank": bank_place, "episodes": (round_number, "collect")},
        "score": {
            "policy": before,
            "episodes": (round_number, "collect"),
            "contexts": (round_number, "retrieve"),
            **({"policy_0": first} if frozen else {}),
        },
        "update": {
            "policy": before,
            "episodes": (round_number, "collect"),
            "scores": (round_number, "score"),
            **({"policy_0": first} if config.update.kl_coefficient or (frozen and vocabulary) else {}),
        },
        "evaluate": {"policy": after, "panel": panel_place},
        "evaluate_with_skills": {"policy": after, "panel": panel_place, "bank": bank_place},
        "decide": {
            f"{decide.ROLE}{number}": (number, "evaluate")
            for number in range(round_number + 1)
            if evaluated(config, number)
        },
    }
    return places.get(stage, {})
