"""A store during a study: several processes of one command write in turns, and studies are recorded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from sdar.schemas.keys import canonical_json
from sdar.schemas.study import Member, StudyRecord
from sdar.storage import prune
from sdar.storage.lock import writer_lock
from sdar.storage.snapshot import Publisher
from sdar.storage.store import Store, open_store

TURN_S = 600.0
"""Seconds that a process waits for its turn; a write takes a fraction of one."""
ALONE_S = 24 * 3600.0
"""Seconds that a process waits for a stage that another one computes for both."""
_COMMAND = "a process of sdar compare"

_LATER_BLOBS = """
    SELECT DISTINCT a.blob FROM stage_run s JOIN artifact a ON a.id = s.artifact_id
    WHERE s.run_id = ? AND s.round > 0 AND a.blob IS NOT NULL"""


class _NoPublisher(Publisher):
    """Publishes nothing by itself: another process may be writing at that moment."""

    def soon(self) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""


class StudyStore(Store):
    """A store that the processes of one command share.

    The command's own process is in `writer` all the time; its workers `join` it. Every write takes its turn,
    and the copy that `query` reads is made by `publish` alone.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, read_only=False)
        self._copies = self._publisher
        self._publisher = _NoPublisher(self._database, self._snapshot, self._attachment)

    def join(self) -> None:
        """Allow this process to write, because the one that started it holds the writer lock."""
        self._writing = True

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Let one process at a time do what is named, for the length of a `with` block."""
        with writer_lock(self.path / f"{what}.lock", _COMMAND, ALONE_S):
            yield

    def publish(self) -> None:
        """Publish what was committed, with nobody writing meanwhile."""
        with self._turn():
            self._copies.soon()
            self._copies.flush()

    def save_study(self, study: StudyRecord) -> None:
        """Record a study and its members, once."""
        with self._transaction() as opened:
            opened.execute(
                "INSERT INTO study (name, created, command, definition) VALUES (?, ?, ?, ?)",
                [study.name, study.created, study.command, canonical_json(_definition(study))],
            )
            for member in study.members:
                row = [study.name, member.arm, member.seed, member.run_id]
                opened.execute("INSERT INTO study_member VALUES (?, ?, ?, ?)", row)

    def studies(self) -> list[StudyRecord]:
        """Return all studies, the oldest first."""
        with self._reading() as opened:
            query = "SELECT name, created, command, definition FROM study ORDER BY rowid"
            return [_study(opened, row) for row in opened.execute(query).fetchall()]

    def study(self, name: str) -> StudyRecord | None:
        """Return the study of that name, or None."""
        return next((study for study in self.studies() if study.name == name), None)

    def free(self, run_id: str) -> int:
        """Remove weights and score files that nobody needs from round 1 on of a finished run.

        Its best and its last policy stay, and all rows.

        Returns:
            Bytes that were freed.
        """
        with self._transaction() as opened:
            mine = {row[0] for row in opened.execute(_LATER_BLOBS, [run_id]).fetchall()}
            plan = prune.plan_prune(opened, self._blobs, prune.KEEP, False)
            removed = tuple(use for use in plan.removed if use.blob in mine)
            report = prune.PruneReport(removed, plan.kept, False)
            prune.record_prune(opened, report)
        prune.remove_blobs(self._blobs, report)
        return report.bytes_freed

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with writer_lock(self.path / "turn.lock", _COMMAND, TURN_S):
            yield

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with super()._reading() as opened:
            yield opened
            self._attachment.detach()  # a single writer keeps it attached; here the others could not write

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._turn(), super()._transaction() as opened:
            yield opened


def open_study_store(path: str | Path) -> StudyStore:
    """Open a store for the processes of a study; made or upgraded first, errors as in `open_store`."""
    return StudyStore(open_store(path).path)


def _definition(study: StudyRecord) -> dict[str, object]:
    return study.definition.model_dump(mode="json")


def _study(connection: duckdb.DuckDBPyConnection, row: tuple[str, ...]) -> StudyRecord:
    query = "SELECT arm, seed, run_id FROM study_member WHERE study = ? ORDER BY rowid"
    members = [
        Member(arm=arm, seed=seed, run_id=run_id)
        for arm, seed, run_id in connection.execute(query, [row[0]]).fetchall()
    ]
    return StudyRecord.model_validate(
        {
            "name": row[0],
            "created": row[1],
            "command": row[2],
            "definition": json.loads(row[3]),
            "members": members,
        }
    )
