"""DAPO, arXiv 2503.14476: a higher upper clip, groups with equal returns sampled anew, token-level mean.

Published: clip 0.2 below and 0.28 above, no KL term. There groups are drawn until the batch is full; here
at most two passes replace them. Its penalty for overlong answers has no counterpart, as turns have a token
limit.
"""

from __future__ import annotations

from sdar.rl.methods.base import REWARD_ONLY, Method

METHOD = Method(
    "dapo",
    "GRPO with a higher upper clip, dynamic sampling and the token-level mean.",
    "DAPO, arXiv 2503.14476",
    {
        **REWARD_ONLY,
        "update.clip_low": 0.2,
        "update.clip_high": 0.28,
        "rollout.resample": 2,
        "update.aggregation": "token_mean",
    },
)
