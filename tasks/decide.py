"""Stage `decide`: whether the loop goes on, and which policy is the best so far."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from sdar.rl.collapse import RoundFigures, mean_entropy
from sdar.rl.convergence import Evaluated, decide
from sdar.schemas.keys import content_hash
from sdar.tasks.stage import Stage, StageInputs, StageOutput

EVALUATION, COLLECT, UPDATE = "evaluation_round_", "collect_round_", "update_round_"
"""Roles, each followed by the number of a round."""


def evaluations(inputs: StageInputs) -> list[Evaluated]:
    """Return the evaluations that the stage was given, oldest first."""
    found = []
    for number in _rounds(inputs.artifacts, EVALUATION):
        artifact = inputs.artifacts[f"{EVALUATION}{number}"]
        result = inputs.store.evaluations(artifact)[0]
        outcomes = np.array([episode.success for episode in inputs.store.episodes(artifact)], dtype=np.bool_)
        found.append(Evaluated(number, result.policy_id, outcomes))
    return found


def figures(inputs: StageInputs) -> list[RoundFigures]:
    """Return the figures of the training rounds, oldest first; no episode is read for them."""
    found = []
    for number in _rounds(inputs.artifacts, UPDATE):
        collected = inputs.store.artifact(inputs.artifacts[f"{COLLECT}{number}"]).summary
        spread = collected.get("spread")
        found.append(
            RoundFigures(
                round=number,
                entropy=mean_entropy(inputs.store.updates(inputs.artifacts[f"{UPDATE}{number}"])),
                success=float(collected["success"]),
                spread=None if spread is None else float(spread),
            )
        )
    return found


def run(inputs: StageInputs) -> StageOutput:
    """Store the verdict over the run so far."""
    config, minutes = inputs.config.stop, inputs.minutes
    verdict = decide(evaluations(inputs), config, inputs.round, minutes, inputs.seed, figures(inputs))
    return StageOutput(
        kind="verdict",
        rows={"verdict": [verdict]},
        summary={
            "reason": verdict.reason,
            "best_round": float(verdict.best_round),
            "best_success": verdict.best_success,
            "history": content_hash(dict(inputs.artifacts))[:12],
        },
    )


def _rounds(roles: Iterable[str], kind: str) -> list[int]:
    return sorted(int(role.removeprefix(kind)) for role in roles if role.startswith(kind))


STAGE = Stage("decide", 2, ("stop",), run, files=False)
