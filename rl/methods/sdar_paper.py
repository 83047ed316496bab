"""SDAR, arXiv 2605.15155, as published: adds to GRPO the gap-gated `sampled` term.

Published: beta 5, lambda 0.01 in the scripts and 0.1, which is used here, as the code's default. The
teacher is the policy itself with skills in its prompt.
"""

from __future__ import annotations

from sdar.rl.methods.base import PUBLISHED_BETA, PUBLISHED_TERM, Method

METHOD = Method(
    "sdar_paper",
    "SDAR as published: GRPO plus the gap-gated sampled term, teacher at the current weights.",
    "SDAR, arXiv 2605.15155; lambda is the default of its public code",
    {**PUBLISHED_TERM, **PUBLISHED_BETA, "sdar.gate": "gap"},
)
