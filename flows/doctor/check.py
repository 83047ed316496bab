"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "absent", "warning", "fault"]
"""`absent` is something optional that is not installed; only a `fault` keeps `sdar` from working."""


@dataclass(frozen=True)
class Check:
    """What was looked at, what was found, and the command that mends it.

    `exit_code` is that of the error which the fault would lead to.
    """

    name: str
    state: State
    found: str
    fix: str = ""
    exit_code: int = 0
