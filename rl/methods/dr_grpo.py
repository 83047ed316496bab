"""Dr.GRPO, arXiv 2503.20783: takes two biases out of GRPO.

The advantage is not divided by the group's deviation, so tasks of any difficulty weigh the same, and a
row's tokens are summed instead of averaged, so a long wrong answer is not let off. The paper's code divides
that sum by a constant, the largest length; here it stands alone, which AdamW does not notice but the
gradient clip does.
"""

from __future__ import annotations

from sdar.rl.methods.base import REWARD_ONLY, Method

METHOD = Method(
    "dr_grpo",
    "GRPO without division by the group's deviation and by the length.",
    "Dr.GRPO, arXiv 2503.20783",
    {
        **REWARD_ONLY,
        "advantage.normalize_std": False,
        "update.aggregation": "sequence_sum",
    },
)
