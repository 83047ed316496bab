"""Freeing space: which blobs of policies and scores may go, and taking them away; rows always stay."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import duckdb

from sdar.schemas.errors import ConfigError, InputError
from sdar.storage.blobs import PARTIAL, partial_name, read_references
from sdar.storage.migrate import schema_version

Keep = Literal["best", "last"]
KEEP: tuple[Keep, ...] = get_args(Keep)
UNREFERENCED = "unreferenced"
_FIRST_VERSION = 2

# A run that is not done goes on from its last round; that round may have begun a moment ago, so the round
# before it counts too, and round 0 holds the policy that later rounds compare with.
_REASONS = """
    WITH held AS (
        SELECT id, blob, kind, id IN (SELECT artifact_id FROM policy) AS is_policy FROM artifact
        WHERE blob IS NOT NULL
            AND (id IN (SELECT artifact_id FROM policy) OR id IN (SELECT artifact_id FROM token_score))),
    made AS (
        SELECT s.run_id, s.round, h.*,
            rank() OVER (PARTITION BY s.run_id, is_policy ORDER BY s.round DESC) AS age
        FROM stage_run s JOIN held h ON h.id = s.artifact_id),
    best AS (
        SELECT s.run_id, arg_max(v.best_policy, s.round) AS policy_id
        FROM stage_run s JOIN verdict v ON v.artifact_id = s.artifact_id GROUP BY s.run_id),
    unfinished AS (
        SELECT r.id AS run_id, max(s.round) AS latest FROM run r JOIN stage_run s ON s.run_id = r.id
        WHERE r.status <> 'done' GROUP BY r.id),
    touched AS (
        SELECT run_id, round, artifact_id FROM stage_run UNION SELECT run_id, round, input_id FROM lineage)
    SELECT h.blob, h.kind, NULL AS reason FROM held h
    UNION SELECT m.blob, m.kind, 'best of ' || m.run_id
        FROM made m JOIN best b USING (run_id) JOIN policy p ON p.artifact_id = m.id AND p.id = b.policy_id
        WHERE $best
    UNION SELECT blob, kind, 'last of ' || run_id FROM made WHERE age = 1 AND $last
    UNION SELECT h.blob, h.kind, 'pinned' FROM held h JOIN policy p ON p.artifact_id = h.id
        JOIN pin ON pin.policy_id = p.id
    UNION SELECT h.blob, h.kind, 'needed to resume ' || u.run_id
        FROM unfinished u JOIN touched t ON t.run_id = u.run_id AND (t.round = 0 OR t.round >= u.latest - 1)
        JOIN held h ON h.id = t.artifact_id"""


@dataclass(frozen=True)
class BlobUse:
    """A blob on disk: its hash, kind of artifact, size in bytes, and why it is kept (nothing: it may go)."""

    blob: str
    kind: str
    bytes: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class PruneReport:
    """What a prune removed, or would remove when `dry_run`, and what it kept and why."""

    removed: tuple[BlobUse, ...]
    kept: tuple[BlobUse, ...]
    dry_run: bool

    @property
    def bytes_freed(self) -> int:
        """Size of everything in `removed`, in bytes."""
        return sum(use.bytes for use in self.removed)


def plan_prune(
    connection: duckdb.DuckDBPyConnection, blobs: Path, keep: Collection[Keep], dry_run: bool
) -> PruneReport:
    """Say for every blob of policies and scores, and for those that no artifact names, whether it may go.

    Args:
        connection: an open connection to the database.
        blobs: the folder of blobs.
        keep: what to keep of each run besides pinned policies and what an unfinished run needs: the `best`
            policy by its last verdict, and the `last` policy and scores.
        dry_run: noted in the report.

    Raises:
        ConfigError: `keep` names something else.
        InputError: the store is older than pruning.
    """
    unknown = sorted(set(keep) - set(KEEP))
    if unknown:
        raise ConfigError(
            f"prune can keep {' and '.join(KEEP)}, found {unknown[0]!r}. Pinned policies are kept anyway."
        )
    if schema_version(connection) < _FIRST_VERSION:
        raise InputError("this store is older than pruning. Run `sdar store migrate` first.")
    reasons: dict[tuple[str, str], set[str]] = defaultdict(set)
    arguments = {name: name in keep for name in KEEP}
    for blob, kind, reason in connection.execute(_REASONS, arguments).fetchall():
        reasons[blob, kind] |= {reason} if reason else set()
    named = {row[0] for row in connection.execute("SELECT blob FROM artifact").fetchall()}
    for folder in blobs.iterdir():
        if folder.name not in named and not folder.name.startswith(PARTIAL):
            reasons[folder.name, UNREFERENCED] = set()
    uses = [
        BlobUse(blob, kind, _size(blobs / blob), tuple(sorted(found)))
        for (blob, kind), found in sorted(reasons.items())
        if (blobs / blob).is_dir()
    ]
    uses = _with_referenced(uses, blobs)
    kept = {use.blob for use in uses if use.reasons}
    removed = tuple(use for use in uses if use.blob not in kept)
    return PruneReport(removed, tuple(use for use in uses if use.blob in kept), dry_run)


def _with_referenced(uses: Sequence[BlobUse], blobs: Path) -> list[BlobUse]:
    """Keep also what a kept blob cannot be used without."""
    needed = {
        digest: use.blob
        for use in uses
        if use.reasons
        for digest in read_references(blobs / use.blob).values()
    }
    return [
        replace(use, reasons=(f"needed by {needed[use.blob][:12]}",))
        if use.blob in needed and not use.reasons
        else use
        for use in uses
    ]


def record_prune(connection: duckdb.DuckDBPyConnection, report: PruneReport) -> None:
    """Note which blobs are about to be removed, so that their absence is no fault."""
    for use in report.removed:
        row = [use.blob, use.kind, use.bytes]
        connection.execute("INSERT OR REPLACE INTO pruned VALUES (?, ?, ?, now())", row)


def remove_blobs(blobs: Path, report: PruneReport) -> None:
    """Remove the blobs; each is renamed first, so that none is ever half there under its own name."""
    for use in report.removed:
        doomed = partial_name(blobs)
        (blobs / use.blob).rename(doomed)
        shutil.rmtree(doomed)


def pruned_blobs(connection: duckdb.DuckDBPyConnection) -> set[str]:
    """Return the blobs that were removed on purpose."""
    if schema_version(connection) < _FIRST_VERSION:
        return set()
    return {row[0] for row in connection.execute("SELECT blob FROM pruned").fetchall()}


def pin_policy(connection: duckdb.DuckDBPyConnection, policy_id: str, note: str) -> str:
    """Keep the weights of a policy whatever prune is asked to do.

    Args:
        connection: an open connection to the database.
        policy_id: id of a policy, or the beginning of one.
        note: why it is kept.

    Returns:
        The whole id.

    Raises:
        InputError: no policy, or more than one, has an id that begins so.
    """
    query = "SELECT DISTINCT id FROM policy WHERE starts_with(id, ?) ORDER BY id"
    found = [row[0] for row in connection.execute(query, [policy_id]).fetchall()]
    if len(found) != 1:
        names = ", ".join(name[:12] for name in found) or "none"
        raise InputError(
            f"a pin needs the beginning of exactly one policy id; {policy_id!r} fits {names}. "
            "See `sdar policy list`."
        )
    connection.execute("INSERT OR REPLACE INTO pin VALUES (?, ?)", [found[0], note])
    return str(found[0])


def unpin_policy(connection: duckdb.DuckDBPyConnection, policy_id: str) -> None:
    """Take the pin off a policy; `InputError` when no pinned id begins with `policy_id`."""
    query = "DELETE FROM pin WHERE starts_with(policy_id, ?) RETURNING policy_id"
    if not connection.execute(query, [policy_id]).fetchall():
        raise InputError(f"no pinned policy {policy_id!r}; `sdar sql 'FROM pin'` lists them.")


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
