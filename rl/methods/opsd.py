"""OPSD, arXiv 2601.18734: distillation from a teacher with privileged context, without a reward.

The exact forward KL, ungated, towards a frozen teacher. SDAR ran it as a baseline with beta 5 and lambda
0.01; as the only part of the loss it has coefficient 1 here.
"""

from __future__ import annotations

from sdar.rl.methods.base import Method

METHOD = Method(
    "opsd",
    "Ungated distillation from a frozen teacher that reads the skills; rewards are not used.",
    "OPSD, arXiv 2601.18734",
    {
        "update.policy_coefficient": 0.0,
        "sdar.gate": "none",
        "sdar.divergence": "forward_kl",
        "sdar.coefficient": 1.0,
        "sdar.teacher": "frozen",
    },
)
