"""SDAR, arXiv 2605.15155, with its entropy gate: weighs the term by how unsure the student is.

Published: beta 5, lambda as for `sdar_paper`.
"""

from __future__ import annotations

from sdar.rl.methods.base import PUBLISHED_BETA, PUBLISHED_TERM, Method

METHOD = Method(
    "sdar_paper_entropy",
    "The published SDAR with the gate on the student's entropy.",
    "SDAR, arXiv 2605.15155, entropy gate",
    {**PUBLISHED_TERM, **PUBLISHED_BETA, "sdar.gate": "entropy"},
)
