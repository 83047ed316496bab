"""The skill-prompt baseline of SDAR, arXiv 2605.15155: policy 0 with retrieved skills in its prompt.

No training; it has no coefficients. The panel's verdict is about the policy with skills.
"""

from __future__ import annotations

from sdar.rl.methods.base import UNTRAINED, Method

METHOD = Method(
    "skill_prompt",
    "Policy 0 with retrieved skills in its prompt: no training.",
    "SDAR, arXiv 2605.15155, untrained baseline with skills",
    {**UNTRAINED, "evaluation.prompt": "skills"},
)
