"""Rejection-sampling fine-tuning, arXiv 2308.01825: maximum likelihood on the own successful episodes.

Published for questions with a final answer; here an episode is kept when it succeeded, each round anew and
with whatever the selection asks beyond that (`select.*`).
"""

from __future__ import annotations

from sdar.rl.methods.base import Method

METHOD = Method(
    "rft",
    "Maximum likelihood on the policy's own successful episodes.",
    "RFT, arXiv 2308.01825",
    {
        "update.policy_loss": "likelihood",
        "update.learning_rate": 1e-4,
        "select.success": True,
        "sdar.coefficient": 0.0,
    },
)
