"""Ours, after SDAR, arXiv 2605.15155: follows the teacher as far as it was seen to do better.

Before it teaches, the frozen teacher acts on training tasks with its skills in the prompt. Lambda, and the
learning rate above that of plain GRPO, are multiplied by the share of the student's failures that the teacher
is sure to mend (`rl/trust.py`). A teacher that is followed teaches best on many tasks, rewards teach best in
large groups: so the grouping follows the trust of the round before, and the first round has that of GRPO.
Under skills that do not help, the share is 0 and every round is that of GRPO; as the student catches up it
goes to 0 as well. Nothing of this is published.
"""

from __future__ import annotations

from sdar.rl.methods.base import POLICY_GRADIENT, Method

METHOD = Method(
    "sdar_trust",
    "The default, with lambda and learning rate scaled by the teacher's measured lead over the student.",
    "Ours, after SDAR, arXiv 2605.15155",
    {**POLICY_GRADIENT, "sdar.trust": "lead", "sdar.lead_rate": 10.0, "rollout.trusted_group_size": 2},
)
