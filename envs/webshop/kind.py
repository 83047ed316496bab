"""What is known of the shop before it is made."""

from __future__ import annotations

from sdar.envs.base import EnvironmentFactory, EnvironmentKind
from sdar.envs.webshop.vocabulary import KINDS, MARKS


def _load() -> EnvironmentFactory:
    from sdar.envs.webshop.environment import WebShop

    return WebShop.from_config


_WORDS = "|".join((*MARKS, *KINDS))

KIND = EnvironmentKind(
    "webshop",
    "WebShop's search, pages and reward over its own files, or over a shop with hidden conventions.",
    _load,
    settings={"env.max_steps": 15, "policy.path": "bootstrap"},
    options={"shop": 0, "goals": "generated", "page": "auto"},
    # Marks, kinds (also in front of a number, as in rug12), numbers, and labels such as k7.
    names=rf"(?:{_WORDS})(?![a-z])|\b[a-z]\d\b|\d+",
)
