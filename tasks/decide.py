"""Stage `decide`: whether the loop goes on, and which policy is the best so far."""

from __future__ import annotations

import numpy as np

from sdar.rl.convergence import Evaluated, decide
from sdar.schemas.keys import content_hash
from sdar.tasks.stage import Stage, StageInputs, StageOutput

ROLE = "evaluation_round_"


def run(inputs: StageInputs) -> StageOutput:
    """Store the verdict over all evaluations of the run so far."""
    history = []
    for role in sorted(inputs.artifacts, key=lambda role: int(role.removeprefix(ROLE))):
        artifact = inputs.artifacts[role]
        result = inputs.store.evaluations(artifact)[0]
        outcomes = np.array([episode.success for episode in inputs.store.episodes(artifact)], dtype=np.bool_)
        history.append(Evaluated(int(role.removeprefix(ROLE)), result.policy_id, outcomes))
    verdict = decide(history, inputs.config.stop, inputs.round, inputs.minutes, inputs.seed)
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


STAGE = Stage("decide", 1, ("stop",), run)
