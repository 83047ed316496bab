"""Makes the sample records, small runs and tiny policy of other tests importable here."""

from __future__ import annotations

import sys
from pathlib import Path

for folder in ("storage", "tasks", "policy"):
    sys.path.insert(0, str(Path(__file__).parent.parent / folder))
