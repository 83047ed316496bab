"""The result of a study in files: JSON with everything, tables in Markdown, and a page with curves."""

from __future__ import annotations

import json
import platform
import shlex
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sdar
from sdar.flows.output import replace_text
from sdar.flows.study_page import page
from sdar.flows.study_tables import markdown
from sdar.schemas.machine import cores
from sdar.schemas.study import Member, StudyRecord

if TYPE_CHECKING:
    from sdar.storage.study import StudyStore
    from sdar.tasks.study_data import MemberData

_PACKAGES = ("torch", "transformers", "numpy", "duckdb", "faiss-cpu")


@dataclass
class Reporter:
    """Keeps what the finished runs of a study gave, and writes its result into a folder.

    Attributes:
        store: where the runs are; it must have published them.
        study: the study.
        baseline: label of the arm that others are compared with.
        folder: where to write.
    """

    store: StudyStore
    study: StudyRecord
    baseline: str
    folder: Path
    _members: dict[str, MemberData] = field(default_factory=dict)

    def add(self, member: Member) -> None:
        """Read a finished run."""
        from sdar.tasks.study_data import read_member

        self._members[member.run_id] = read_member(self.store, member)

    def write(self) -> dict[str, Any]:
        """Write the three files anew and return what the JSON file holds."""
        from sdar.tasks.study_results import study_result

        result = study_result(self.study.definition, [*self._members.values()], self.baseline)
        document = {**self._about(), **result.as_dict()}
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_text(self.folder / "result.json", json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        replace_text(self.folder / "result.md", markdown(document))
        replace_text(self.folder / "index.html", page(document))
        return document

    def _about(self) -> dict[str, Any]:
        return {
            "name": self.study.name,
            "created": self.study.created,
            "written": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": self.study.command,
            "resume": f"sdar compare --resume {shlex.quote(self.study.name)}",
            "machine": {
                "system": platform.system(),
                "processor": platform.machine(),
                "cores": cores(),
                "python": sys.version.split()[0],
            },
            "versions": {"sdar": sdar.__version__, **{name: version(name) for name in _PACKAGES}},
        }
