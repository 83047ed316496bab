"""RLSD, arXiv 2604.03128: the reward says up or down, the teacher how much on each token.

Published: clip 0.2, share 0.5 falling to 0 over 100 steps; here a round counts as a step. The teacher is
the policy itself with skills in its prompt.
"""

from __future__ import annotations

from sdar.rl.methods.base import REWARD_ONLY, Method

METHOD = Method(
    "rlsd",
    "GRPO with each token's advantage weighted by the clipped ratio of teacher to student.",
    "RLSD, arXiv 2604.03128",
    {
        **REWARD_ONLY,
        "advantage.credit": "teacher_ratio",
        "advantage.credit_share": 0.5,
        "advantage.credit_rounds": 100,
        "advantage.credit_clip": 0.2,
        "sdar.teacher": "live",
    },
)
