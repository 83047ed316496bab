"""Makes the files beside the tests here, and the records, runs and policy of other tests, importable."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
for folder in ("storage", "tasks", "policy"):
    sys.path.insert(0, str(Path(__file__).parent.parent / folder))
