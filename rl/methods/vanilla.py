"""The baseline `vanilla` of SDAR, arXiv 2605.15155: policy 0 on the panel, no training and no skills.

It has no coefficients.
"""

from __future__ import annotations

from sdar.rl.methods.base import UNTRAINED, Method

METHOD = Method(
    "vanilla",
    "Policy 0 as it is: no training and no skills.",
    "SDAR, arXiv 2605.15155, untrained baseline",
    UNTRAINED,
)
