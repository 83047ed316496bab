"""AgentOPSD, arXiv 2608.05987: spreads the advantage over turns by how each moved the belief in success.

Published: share 0.5, bound 0.2, discount 0.95. The belief starts at the group's share of successes, which
is kept within 0.05 and 0.95 here. The teacher is the policy itself with skills in its prompt.
"""

from __future__ import annotations

from sdar.rl.methods.base import REWARD_ONLY, Method

METHOD = Method(
    "agent_opsd",
    "GRPO with each turn's advantage weighted by how far the turn moved the belief in success.",
    "AgentOPSD, arXiv 2608.05987",
    {
        **REWARD_ONLY,
        "advantage.credit": "turn_belief",
        "advantage.credit_share": 0.5,
        "advantage.credit_clip": 0.2,
        "advantage.discount": 0.95,
        "sdar.teacher": "live",
    },
)
