"""What is known of the shop before it is made."""

from __future__ import annotations

from pathlib import Path

from sdar.envs.base import QUICK_WARM_START, EnvironmentFactory, EnvironmentKind
from sdar.envs.webshop.vocabulary import ATTRIBUTES, COLOURS, KINDS, MARKS, SIZES
from sdar.schemas.config import EnvironmentConfig


def _files(config: EnvironmentConfig) -> list[Path]:
    from sdar.envs.webshop.files import data_files

    return data_files(Path(config.data)) if config.data else []


def _load() -> EnvironmentFactory:
    from sdar.envs.webshop.environment import WebShop

    return WebShop.from_config


_WORDS = "|".join((*MARKS, *KINDS, *ATTRIBUTES, *COLOURS, *SIZES))

KIND = EnvironmentKind(
    "webshop",
    "WebShop's search, pages and reward over its own files, or over a shop with hidden conventions.",
    _load,
    settings={
        **QUICK_WARM_START,
        "warmstart.steps": 1200,
        # Without skills a visit is long, and takes as much practice.
        "warmstart.skill_share": 0.6,
        "env.max_steps": 15,
        "policy.path": "bootstrap",
        # One pass leaves the student at 11 % after five rounds, three passes bring it to 63 %.
        "update.epochs": 3,
    },
    options={"shop": 0, "goals": "generated", "page": "auto"},
    files=_files,
    # What skills, goals and pages have in common: words (also in front of a number, as in rug12), numbers,
    # and labels such as k7.
    names=rf"(?:{_WORDS})(?![a-z])|\b[a-z]\d\b|\d+",
)
