"""GiGPO, arXiv 2505.10978: adds a step advantage among steps that answered the same observation.

Published: weight 1, discount 0.95. In the household only the last turn pays, so a step's return is the
discounted return of its episode.
"""

from __future__ import annotations

from sdar.rl.methods.base import REWARD_ONLY, Method

METHOD = Method(
    "gigpo",
    "GRPO plus the advantage of each step among steps from the same observation.",
    "GiGPO, arXiv 2505.10978",
    {
        **REWARD_ONLY,
        "advantage.credit": "anchor",
        "advantage.credit_weight": 1.0,
        "advantage.discount": 0.95,
    },
)
