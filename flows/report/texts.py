"""Numbers as the report writes them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

DASH = "\N{EN DASH}"
SPACE = "\N{NO-BREAK SPACE}"
_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def known(value: Any) -> bool:
    """Say whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def number(value: Any, form: str = ".3f") -> str:
    """Return a number in a format, with a true minus; a dash where there is none."""
    return format(value, form).replace("-", "\N{MINUS SIGN}") if known(value) else DASH


def percent(value: Any, digits: int = 1) -> str:
    """Return a share in per cent; a dash where there is none."""
    return f"{100 * value:.{digits}f}{SPACE}%" if known(value) else DASH


def success(row: dict[str, Any] | None) -> str:
    """Return the success of an evaluation with its 95 % interval, in per cent."""
    if row is None:
        return DASH
    return f"{percent(row['success'])} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def signed(value: Any, low: Any, high: Any) -> str:
    """Return a difference with its interval, as far as they are known."""
    if not known(value):
        return DASH
    ends = f" [{number(low, '+.3f')}, {number(high, '+.3f')}]" if known(low) and known(high) else ""
    return number(value, "+.3f") + ends


def points(difference: float, low: float, high: float) -> str:
    """Return a difference of shares with its interval, in percentage points."""
    ends = f"[{number(100 * low, '+.1f')}, {number(100 * high, '+.1f')}]"
    return f"{number(100 * difference, '+.1f')} points {ends}"


def duration(seconds: float, digits: int = 1) -> str:
    """Return a length of time as people say it; `digits` after the point are for less than a minute."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.{digits}f} s"
    minutes, hours = whole // 60, whole // 3600
    return f"{minutes} min {whole % 60:02d} s" if hours < 1 else f"{hours} h {minutes % 60:02d} min"


def moment(iso: str) -> str:
    """Return an ISO 8601 time to the minute, with its zone."""
    try:
        found = datetime.fromisoformat(iso)
    except ValueError:
        return iso
    return f"{found:%Y-%m-%d %H:%M} {found.tzname() or ''}".strip()


def short(identity: str | None) -> str:
    """Return the beginning of an id, enough to name it in a command."""
    return identity[:12] if identity else DASH


def shortened(sentence: str) -> str:
    """Return a sentence with its hashes shortened."""
    return _HASH.sub(r"\1", sentence)


def setting(value: Any) -> str:
    """Return the value of a setting as a user would type it."""
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def settings(values: Mapping[str, Any]) -> str:
    """Return settings by dotted path in one line, each as a user would type it."""
    return ", ".join(f"{path}={setting(value)}" for path, value in values.items())
