"""GRPO, arXiv 2402.03300: the clipped policy gradient on group-relative advantages, and nothing else.

Published with SDAR: rate 1e-6, KL to policy 0 at 0.01 (search 0.001). Here the rate suits a small policy
and the KL term is off, as in all methods.
"""

from __future__ import annotations

from sdar.rl.methods.base import REWARD_ONLY, Method

METHOD = Method(
    "grpo",
    "The clipped group-relative policy gradient alone.",
    "GRPO, arXiv 2402.03300",
    REWARD_ONLY,
)
