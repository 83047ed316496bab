"""Skill-SD, arXiv 2604.10674: adds to GRPO the importance-weighted k3 estimate of the reverse KL.

Published: coefficient 0.001, teacher kept in step with the student. Its skills are summaries of the agent's
own episodes; here they come from the bank that all methods share.
"""

from __future__ import annotations

from sdar.rl.methods.base import POLICY_GRADIENT, Method

METHOD = Method(
    "skill_sd",
    "GRPO plus the importance-weighted k3 term, teacher at the current weights.",
    "Skill-SD, arXiv 2604.10674",
    {
        **POLICY_GRADIENT,
        "sdar.gate": "none",
        "sdar.divergence": "k3",
        "sdar.coefficient": 0.001,
        "sdar.teacher": "live",
    },
)
