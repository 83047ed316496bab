"""What every benchmark says besides its figures: the machine that it ran on; and where its results go."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine(load_before: float, *modules: ModuleType) -> dict[str, Any]:
    """Return what the figures depend on: command, system, cores, versions, and the load before and now."""
    return {
        "command": shlex.join(["python", *sys.argv]),
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "versions": {module.__name__: module.__version__ for module in modules},
        "load_before": load_before,
        "load_after": os.getloadavg()[0],
    }


def save(result: dict[str, Any], out: Path) -> None:
    """Write the figures of a benchmark as JSON."""
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
