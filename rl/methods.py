"""The method registry: a method is a named set of configuration values and nothing else.

Everything that a method does not set is the same for all of them, so two methods differ in the listed
switches only. All of them play the same number of episodes a round. How these are grouped and the learning
rate belong to the method: each has those with which it did best on training houses, see docs/results.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from sdar.schemas.errors import ConfigError

Setting = str | float


@dataclass(frozen=True)
class Method:
    """A training method.

    Attributes:
        name: as given to `--set method=NAME`.
        summary: one sentence.
        source: the paper.
        settings: value by dotted configuration path, over the defaults of `RunConfig`.
    """

    name: str
    summary: str
    source: str
    settings: Mapping[str, Setting]


_POLICY_GRADIENT: Mapping[str, Setting] = {
    "rollout.tasks": 16,
    "rollout.group_size": 8,
    "update.learning_rate": 1e-4,
}
"""Rewards alone need larger groups, and at the rate of the default the policy collapses."""

_PUBLISHED_TERM: Mapping[str, Setting] = {
    **_POLICY_GRADIENT,
    "sdar.divergence": "sampled",
    "sdar.coefficient": 0.1,
    "sdar.teacher": "live",
}

_ALL = (
    Method(
        "sdar",
        "GRPO plus the entropy-gated forward KL to a frozen teacher that reads the skills.",
        "SDAR, arXiv 2605.15155, with another divergence and a teacher that does not move",
        {},
    ),
    Method(
        "sdar_paper",
        "SDAR as published: GRPO plus the gap-gated sampled term, teacher at the current weights.",
        "SDAR, arXiv 2605.15155; lambda is the default of its public code",
        {**_PUBLISHED_TERM, "sdar.gate": "gap", "sdar.beta": 5.0},
    ),
    Method(
        "grpo",
        "The clipped group-relative policy gradient alone.",
        "GRPO, arXiv 2402.03300",
        {**_POLICY_GRADIENT, "sdar.coefficient": 0.0},
    ),
    Method(
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
    ),
    Method(
        "grpo_opsd",
        "GRPO plus the published sampled term at the constant weight 0.5: the ablation of the gate.",
        "SDAR, arXiv 2605.15155, baseline GRPO + OPSD",
        {**_PUBLISHED_TERM, "sdar.gate": "half"},
    ),
)

METHODS: Mapping[str, Method] = {method.name: method for method in _ALL}


def method(name: str) -> Method:
    """Return the method of that name.

    Raises:
        ConfigError: there is none; the message lists all and proposes the nearest.
    """
    if name in METHODS:
        return METHODS[name]
    near = get_close_matches(name, METHODS, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ConfigError(
        f"unknown method {name!r}.{hint} Allowed: {', '.join(METHODS)}. See what each sets: sdar methods"
    )
