"""The baseline Skill-GRPO of SDAR, arXiv 2605.15155: GRPO with skills in the student's own prompt.

Every evaluated policy is tried with and without skills: what it learned may not hold without them.
Coefficients as for `grpo`.
"""

from __future__ import annotations

from sdar.rl.methods.base import REWARD_ONLY, Method

METHOD = Method(
    "skill_grpo",
    "GRPO with skills in the student's prompt, evaluated with and without them.",
    "SDAR, arXiv 2605.15155, baseline Skill-GRPO",
    {**REWARD_ONLY, "rollout.with_skills": True, "evaluation.with_skills_always": True},
)
