"""SDAR, arXiv 2605.15155, with its soft-or gate: opens where the gap or the entropy is large.

Published: beta 5, lambda as for `sdar_paper`.
"""

from __future__ import annotations

from sdar.rl.methods.base import PUBLISHED_BETA, PUBLISHED_TERM, Method

METHOD = Method(
    "sdar_paper_soft_or",
    "The published SDAR with the gate on either of gap and entropy.",
    "SDAR, arXiv 2605.15155, soft-or gate",
    {**PUBLISHED_TERM, **PUBLISHED_BETA, "sdar.gate": "soft_or"},
)
