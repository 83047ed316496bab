"""Ours, after SDAR, arXiv 2605.15155: takes the gate's mean over the vocabulary off the gate.

The published term is a policy gradient whose reward is the gate, without a baseline. With the baseline it
both praises and blames. The reward then has about the size of an advantage, so lambda is 1; the teacher is
frozen. Nothing of this is published.
"""

from __future__ import annotations

from sdar.rl.methods.base import POLICY_GRADIENT, PUBLISHED_BETA, Method

METHOD = Method(
    "sdar_centred",
    "GRPO plus the sampled term under a gap gate without its mean, frozen teacher.",
    "Ours, after SDAR, arXiv 2605.15155",
    {
        **POLICY_GRADIENT,
        **PUBLISHED_BETA,
        "sdar.gate": "centred_gap",
        "sdar.divergence": "sampled",
        "sdar.coefficient": 1.0,
        "sdar.teacher": "frozen",
    },
)
