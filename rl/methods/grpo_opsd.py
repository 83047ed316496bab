"""The baseline GRPO + OPSD of SDAR, arXiv 2605.15155: the published term with the gate held at 0.5.

Published: beta 0, which makes the gap gate 0.5 everywhere; lambda as for `sdar_paper`.
"""

from __future__ import annotations

from sdar.rl.methods.base import PUBLISHED_TERM, Method

METHOD = Method(
    "grpo_opsd",
    "GRPO plus the published sampled term at the constant weight 0.5: the ablation of the gate.",
    "SDAR, arXiv 2605.15155, baseline GRPO + OPSD",
    {**PUBLISHED_TERM, "sdar.gate": "half"},
)
