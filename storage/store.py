"""The store: one folder that holds everything a run computes, and how to write and read it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from sdar.schemas.errors import InputError, IntegrityError
from sdar.schemas.lineage import Artifact, RunRecord, RunStatus, StageRun
from sdar.schemas.records import (
    Comparison,
    Episode,
    PanelResult,
    PolicyRecord,
    Record,
    Selection,
    SelfJudgement,
    Skill,
    SkillStat,
    SkillState,
    SkillTrial,
    TaskSpec,
    TeacherContext,
    TokenScores,
    UpdateReport,
    Verdict,
)
from sdar.storage import blobs, lineage, prune, snapshot
from sdar.storage.database import PROCESS_LOCK, Attachment, connection, user_errors, wal_file
from sdar.storage.identity import artifact_id
from sdar.storage.lock import Owner, owner, writer_lock
from sdar.storage.migrate import CURRENT_VERSION, migrate, refuse_newer, schema_version
from sdar.storage.rows import select_rows
from sdar.storage.sql import read_query
from sdar.storage.transfer import Manifest, export_store
from sdar.storage.verify import faults

_MIGRATION_WAIT = 10.0


def open_store(path: str | Path, *, read_only: bool = False) -> Store:
    """Open a store; make or upgrade it first unless `read_only`.

    Args:
        path: the store's folder.
        read_only: refuse to write, and to make a store where there is none.

    Raises:
        InputError: no store there, no folder, or no permission.
        IntegrityError: the store was written by newer code, or is damaged.
        StoreBusyError: it needs an upgrade while another process writes to it.
    """
    folder = Path(path).absolute()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; a store is a folder. Name another one with --store.")
    store = Store(folder, read_only)
    if read_only:
        if store.schema_version() == 0:
            raise InputError(f"no store in {folder}. Name one with --store, or make one with `sdar run`.")
        return store
    with user_errors(folder):
        for name in ("blobs", "snapshots", "logs"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    if store.schema_version() < CURRENT_VERSION:
        store.migrate()
    return store


class Store:
    """A folder with a database of rows, a folder of blobs and a published copy of the database.

    Reading methods open the database for milliseconds; inside `writer` it stays attached until the next
    commit. Writing methods work inside `writer` only. Threads may share a store, processes may not: each
    opens its own.
    """

    def __init__(self, path: Path, read_only: bool) -> None:
        self.path = path
        self.read_only = read_only
        self._database = path / "store.duckdb"
        self._blobs = path / "blobs"
        self._snapshot = path / "snapshots" / "store.duckdb"
        self._attachment = Attachment(self._database)
        self._publisher = snapshot.Publisher(self._database, self._snapshot, self._attachment)
        self._writing = False

    def schema_version(self) -> int:
        """Return the version of the schema, 0 when there is no database.

        Raises:
            IntegrityError: the version is newer than this code, or the database was removed.
        """
        if not self._database.exists():
            if self._snapshot.exists():  # which the first commit of a new database would replace
                raise IntegrityError(
                    f"{self._database} is missing; {self._snapshot} holds the last published state. Copy it "
                    "to its place and run `sdar store verify`, or remove it to begin with an empty store."
                )
            return 0
        with connection(self._database, read_only=True) as opened:
            version = schema_version(opened)
        refuse_newer(version, self._database)
        return version

    def migrate(self) -> None:
        """Bring the schema to the present version."""
        with self.writer("upgrade of the store", _MIGRATION_WAIT):
            with connection(self._database, read_only=False) as opened:
                migrate(opened)
            self._publisher.soon()

    @contextmanager
    def writer(self, command: str, wait: float = 0.0) -> Iterator[None]:
        """Allow writing for the length of a `with` block; publishes what was written when it ends.

        Args:
            command: what is going to be done, shown to a second writer.
            wait: seconds to wait for the present writer.

        Raises:
            StoreBusyError: another process, or another part of this one, is writing.
            InputError: the store was opened for reading, or its folder is not writable.
        """
        if self.read_only:
            raise InputError(f"the store {self.path} was opened for reading only; nothing was written.")
        with writer_lock(self.path / "store.lock", command, wait):
            blobs.remove_partial(self._blobs)
            snapshot.remove_partial(self._snapshot.parent)
            self._writing = True
            try:
                self._catch_up()
                yield
            finally:
                self._writing = False
                self._attachment.close()
                self._publisher.flush()

    def _catch_up(self) -> None:
        """Publish what a killed writer committed and could not publish, its write-ahead log included."""
        if wal_file(self._database).exists():
            with connection(self._database, read_only=False) as opened:
                opened.execute("CHECKPOINT")
        if self._database.exists():
            self._publisher.soon()

    def publish(self) -> None:
        """Publish at once what was committed; needed only by a writer that wants others to see it now."""
        self._publisher.flush()

    # Runs

    def begin_run(self, run: RunRecord) -> None:
        """Record a run, or that a known run goes on."""
        with self._transaction() as opened:
            lineage.save_run(opened, run)

    def finish_run(self, run_id: str, status: RunStatus) -> None:
        """Record how a run ended."""
        with self._transaction() as opened:
            lineage.set_status(opened, run_id, status)

    def run(self, run_id: str) -> RunRecord:
        """Return one run; `InputError` when there is none with this id."""
        with self._reading() as opened:
            return lineage.select_run(opened, run_id)

    def runs(self) -> list[RunRecord]:
        """Return all runs in the order in which they began, whatever the clock said."""
        with self._reading() as opened:
            return lineage.select_runs(opened)

    def latest_run(self) -> RunRecord | None:
        """Return the run that began last, or None."""
        runs = self.runs()
        return runs[-1] if runs else None

    # Stages

    def find(self, stage_key: str) -> Artifact | None:
        """Return the artifact of a finished stage with this key whose blob, if any, is there; else None."""
        with self._reading() as opened:
            found = lineage.select_by_key(opened, stage_key)
        whole = (item for item in found if item.blob is None or (self._blobs / item.blob).is_dir())
        return next(whole, None)

    def stage_runs(self, run_id: str) -> list[StageRun]:
        """Return the finished stages of a run, by round and then in the order in which they were recorded."""
        with self._reading() as opened:
            return lineage.select_stage_runs(opened, run_id)

    def artifact(self, artifact_id: str) -> Artifact:
        """Return one artifact; `InputError` when there is none with this id."""
        with self._reading() as opened:
            lineage.row_counts(opened, artifact_id)
            return lineage.select_artifacts(opened, [artifact_id])[0]

    def commit(
        self, stage_run: StageRun, kind: str, rows: Mapping[str, Sequence[Record]], blob: str | None = None
    ) -> Artifact:
        """Store what a stage produced and that it is done: both or, on any failure, neither.

        An artifact with the same content is stored once, whichever run produced it. A stage run of the same
        run, round and stage is replaced.

        Args:
            stage_run: the execution; `artifact_id` and `status` are filled in here.
            kind: what the artifact is, for instance `episodes`.
            rows: records by table name, see `ROW_NAMES`. Episodes fill `turn`, contexts fill `context_skill`.
            blob: content hash from `put_blob`, or None.

        Raises:
            IntegrityError: unknown table, wrong record type, missing blob or input, or no `writer`.
            InputError: unknown run, or the disk is full.
        """
        lineage.check_tables(rows)
        if blob is not None:
            self.blob(blob)
        made = Artifact(id=artifact_id(kind, rows, blob), kind=kind, blob=blob, summary=stage_run.summary)
        done = stage_run.model_copy(update={"artifact_id": made.id, "status": "done"})
        with self._transaction() as opened:
            kept = lineage.save_artifact(opened, made, rows)
            lineage.save_stage_run(opened, done)
        return kept

    def reuse(self, stage_run: StageRun, artifact: Artifact) -> StageRun:
        """Record a stage run whose artifact was found in the store, and return it as it is recorded.

        A run that already holds this stage with this key is left as it is, so that resuming does not
        overwrite when and where the stage was computed.
        """
        self._require_writer()
        for known in self.stage_runs(stage_run.run_id):
            place = (known.round, known.stage, known.key, known.artifact_id)
            if place == (stage_run.round, stage_run.stage, stage_run.key, artifact.id):
                return known
        with self._transaction() as opened:
            origin = stage_run.reused_from or lineage.first_run_of(opened, stage_run.key, artifact.id)
            changes = {"artifact_id": artifact.id, "status": "done", "reused_from": origin}
            lineage.row_counts(opened, artifact.id)
            recorded = stage_run.model_copy(update=changes)
            lineage.save_stage_run(opened, recorded)
        return recorded

    def take_over(self, stage_runs: Sequence[StageRun], run_id: str) -> None:
        """Record finished stage runs of other runs as those of a new run that shares them, all or none."""
        with self._transaction() as opened:
            lineage.copy_stage_runs(opened, stage_runs, run_id)

    # Rows

    def rows(self, artifact_id: str, table: str) -> list[Any]:
        """Return the records of one table of an artifact, as they were committed.

        Raises:
            InputError: no such artifact.
        """
        with self._reading() as opened:
            lineage.row_counts(opened, artifact_id)
            return select_rows(opened, artifact_id, table)

    def tasks(self, artifact_id: str) -> list[TaskSpec]:
        """Return the tasks of an artifact, or those of its panel when it holds no others."""
        return self.rows(artifact_id, "task") or self.rows(artifact_id, "panel")

    def episodes(self, artifact_id: str) -> list[Episode]:
        """Return the episodes of an artifact."""
        return self.rows(artifact_id, "episode")

    def contexts(self, artifact_id: str) -> list[TeacherContext]:
        """Return the teacher contexts of an artifact."""
        return self.rows(artifact_id, "teacher_context")

    def scores(self, artifact_id: str) -> list[TokenScores]:
        """Return the token scores of an artifact."""
        return self.rows(artifact_id, "token_score")

    def judgements(self, artifact_id: str) -> list[SelfJudgement]:
        """Return the self-judgements of an artifact."""
        return self.rows(artifact_id, "self_judgement")

    def selections(self, artifact_id: str) -> list[Selection]:
        """Return which episodes an artifact selects."""
        return self.rows(artifact_id, "selection")

    def skills(self, artifact_id: str, *, retired: bool = False) -> list[Skill]:
        """Return the skills of a bank that may be retrieved, or with `retired` all of them."""
        skills: list[Skill] = self.rows(artifact_id, "skill")
        if retired:
            return skills
        gone = {state.skill_id for state in self.skill_states(artifact_id) if state.retired}
        return [skill for skill in skills if skill.id not in gone]

    def skill_states(self, artifact_id: str) -> list[SkillState]:
        """Return what a distilled bank knows about its skills; nothing for a bank read from files."""
        return self.rows(artifact_id, "skill_state")

    def skill_trials(self, artifact_id: str) -> list[SkillTrial]:
        """Return the trials that led to a distilled bank."""
        return self.rows(artifact_id, "skill_trial")

    def skill_stats(self, artifact_id: str) -> list[SkillStat]:
        """Return what the contexts of an artifact were chosen by: statistics of the rounds before it."""
        return self.rows(artifact_id, "skill_stat")

    def policy(self, artifact_id: str) -> PolicyRecord:
        """Return the policy of an artifact; `IntegrityError` unless it holds exactly one."""
        found: list[PolicyRecord] = self.rows(artifact_id, "policy")
        if len(found) != 1:
            raise IntegrityError(f"artifact {artifact_id} holds {len(found)} policies; expected one.")
        return found[0]

    def updates(self, artifact_id: str) -> list[UpdateReport]:
        """Return the optimiser steps of an artifact."""
        return self.rows(artifact_id, "update_step")

    def evaluations(self, artifact_id: str) -> list[PanelResult]:
        """Return the panel results of an artifact."""
        return self.rows(artifact_id, "evaluation")

    def verdicts(self, artifact_id: str) -> list[Verdict]:
        """Return the verdicts of an artifact."""
        return self.rows(artifact_id, "verdict")

    def comparisons(self, artifact_id: str) -> list[Comparison]:
        """Return the comparisons of an artifact."""
        return self.rows(artifact_id, "comparison")

    # Files and queries

    def scratch(self) -> AbstractContextManager[Path]:
        """Give an empty folder that `put_blob` can take without copying it; see `blobs.partial_folder`."""
        self._require_writer()
        return blobs.partial_folder(self._blobs)

    def put_blob(self, folder: Path) -> str:
        """Store a folder and return its content hash; see `blobs.put_blob`."""
        self._require_writer()
        return blobs.put_blob(self._blobs, folder)

    def blob(self, digest: str) -> Path:
        """Return the folder of a blob; `IntegrityError` when the store does not hold it."""
        return blobs.blob_path(self._blobs, digest)

    def whole_blob(self, digest: str) -> Path:
        """Return the folder of a blob whose hash was computed again; `IntegrityError` if it is damaged."""
        return blobs.whole_blob(self._blobs, digest)

    def pin(self, policy_id: str, note: str = "") -> str:
        """Keep a policy's weights in every prune and return its whole id; see `prune.pin_policy`."""
        with self._transaction() as opened:
            return prune.pin_policy(opened, policy_id, note)

    def unpin(self, policy_id: str) -> None:
        """Take a pin off again; `InputError` when there is none."""
        with self._transaction() as opened:
            prune.unpin_policy(opened, policy_id)

    def prune(self, keep: Collection[prune.Keep] = prune.KEEP, *, dry_run: bool = False) -> prune.PruneReport:
        """Remove weights and score files that nobody needs, see `prune.plan_prune`; all rows stay.

        Pinned policies, and whatever an unfinished run needs to go on, are kept in any case. A stage whose
        files are gone is computed again when it is asked for.

        Args:
            keep: which blobs of each run to keep: its `best` policy, its `last` policy and scores.
            dry_run: only report; needs no `writer`.
        """
        if dry_run:
            with self._reading() as opened:
                return prune.plan_prune(opened, self._blobs, keep, dry_run)
        with self._transaction() as opened:
            report = prune.plan_prune(opened, self._blobs, keep, dry_run)
            prune.record_prune(opened, report)
        prune.remove_blobs(self._blobs, report)
        return report

    def owner(self) -> Owner | None:
        """Return which process writes to the store, or None where none does."""
        return owner(self.path / "store.lock")

    def published(self) -> tuple[int, int]:
        """Return what changes whenever `query` would read something new."""
        status = (self._snapshot if self._snapshot.exists() else self._database).stat()
        return status.st_size, status.st_mtime_ns

    def export(self, folder: Path) -> Manifest:
        """Write the latest published state as Parquet and blobs into a new folder; see `export_store`."""
        self._publisher.flush()
        if self._snapshot.exists():
            return export_store(self._snapshot, self._blobs, folder)
        with PROCESS_LOCK:
            return export_store(self._database, self._blobs, folder)

    def query(self, sql: str) -> pa.Table:
        """Run one reading SQL statement on the latest published state; see `sql.read_query`."""
        self._publisher.flush()
        if self._snapshot.exists():
            return read_query(self._snapshot, sql)
        with PROCESS_LOCK:
            return read_query(self._database, sql)

    def verify(self, *, quick: bool = False) -> list[str]:
        """Return one sentence for every fault; all hashes are computed again unless it has to be `quick`."""
        with self._reading() as opened:
            return faults(opened, self._blobs, quick=quick)

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        if not self._writing:
            with connection(self._database, read_only=True) as opened:
                yield opened
            return
        # A stage reads many times and commits once, and opening the file costs more than most reads.
        with self._attachment.reading() as opened:
            yield opened

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        self._require_writer()
        with self._attachment.writing() as opened:
            opened.begin()
            yield opened
            opened.commit()
            # Only a file without a write-ahead log can be copied.
            opened.execute("CHECKPOINT")
        self._publisher.soon()

    def _require_writer(self) -> None:
        if not self._writing:
            raise IntegrityError("this changes the store, which only `with store.writer(...)` may do.")
