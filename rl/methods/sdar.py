"""SDAR, arXiv 2605.15155, as this project runs it: the default.

Changes three things of the published method: the term is the exact forward KL instead of the sampled one,
the teacher is policy 0 and never moves, and lambda is 10. Published: gap gate, beta 5, lambda 0.01 in the
scripts and 0.1 in the code.
"""

from __future__ import annotations

from sdar.rl.methods.base import Method

METHOD = Method(
    "sdar",
    "GRPO plus the entropy-gated forward KL to a frozen teacher that reads the skills.",
    "SDAR, arXiv 2605.15155, with another divergence and a teacher that does not move",
    {},
)
