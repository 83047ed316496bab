"""Ours, after SDAR, arXiv 2605.15155: follows the teacher as far as it was seen to do better.

Before it teaches, the frozen teacher acts on training tasks with its skills in the prompt. Lambda, and the
learning rate above that of plain GRPO, are multiplied by the share of the student's failures that the teacher
is sure to mend (`rl/trust.py`). Under skills that do not help, this share is 0 and the update is that of
GRPO; as the student catches up it goes to 0 as well. Nothing of this is published.
"""

from __future__ import annotations

from sdar.rl.methods.base import Method

METHOD = Method(
    "sdar_trust",
    "The default, with lambda and learning rate scaled by the teacher's measured lead over the student.",
    "Ours, after SDAR, arXiv 2605.15155",
    {"sdar.trust": "lead", "sdar.lead_rate": 10.0, "update.learning_rate": 1e-4},
)
