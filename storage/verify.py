"""Checking a store: every hash computed again, every reference followed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
from pydantic import ValidationError

from sdar.schemas.lineage import Artifact
from sdar.storage.blobs import PARTIAL, folder_hash, read_references
from sdar.storage.identity import artifact_id
from sdar.storage.lineage import row_counts, select_artifacts
from sdar.storage.prune import pruned_blobs
from sdar.storage.rows import select_rows

_DANGLING = """
    SELECT 'stage_run', run_id || '/' || round || '/' || stage, 'artifact', artifact_id FROM stage_run
        WHERE artifact_id NOT IN (SELECT id FROM artifact)
    UNION ALL SELECT 'stage_run', run_id || '/' || round || '/' || stage, 'run', run_id FROM stage_run
        WHERE run_id NOT IN (SELECT id FROM run)
    UNION ALL SELECT 'lineage', run_id || '/' || round || '/' || stage, role, input_id FROM lineage
        WHERE input_id NOT IN (SELECT id FROM artifact)
    UNION ALL SELECT 'run', id, 'parent', parent FROM run
        WHERE parent NOT IN (SELECT id FROM run)"""


def faults(connection: duckdb.DuckDBPyConnection, blobs: Path, *, quick: bool = False) -> list[str]:
    """Return one sentence for everything in the store that is damaged or missing.

    Args:
        connection: an open connection to the database.
        blobs: the folder of blobs.
        quick: only follow references, and compute no hash again.
    """
    found = list(_missing_blobs(connection, blobs))
    if not quick:
        for artifact in select_artifacts(connection):
            found += _artifact_faults(connection, artifact)
        found += list(_blob_faults(blobs))
    for table, place, role, target in connection.execute(_DANGLING).fetchall():
        found.append(f"{table} {place} names {role} {target}, which is not in the store.")
    return found


def _missing_blobs(connection: duckdb.DuckDBPyConnection, blobs: Path) -> Iterator[str]:
    pruned = pruned_blobs(connection)
    for artifact in select_artifacts(connection):
        blob = artifact.blob
        if blob is not None and blob not in pruned and not (blobs / blob).is_dir():
            yield f"artifact {artifact.id} ({artifact.kind}) lost its blob {blob}."


def _artifact_faults(connection: duckdb.DuckDBPyConnection, artifact: Artifact) -> Iterator[str]:
    counts = row_counts(connection, artifact.id)
    try:
        rows = {name: select_rows(connection, artifact.id, name) for name in counts}
    except ValidationError as error:
        yield f"artifact {artifact.id} ({artifact.kind}) has rows that cannot be read: {error}."
        return
    for name, count in counts.items():
        found = len(rows[name])
        if found != count:
            yield f"artifact {artifact.id} ({artifact.kind}): table {name} has {found} of {count} rows."
            return
    if artifact_id(artifact.kind, rows, artifact.blob) != artifact.id:
        yield f"artifact {artifact.id} ({artifact.kind}): its rows differ from those that were stored."


def _blob_faults(blobs: Path) -> Iterator[str]:
    for folder in sorted(blobs.glob("*")):
        if folder.name.startswith(PARTIAL):
            continue
        if folder_hash(folder) != folder.name:
            yield f"blob {folder.name}: its files differ from those that were stored."
            continue
        for role, digest in read_references(folder).items():
            if not (blobs / digest).is_dir():
                yield f"blob {folder.name} cannot be used: its {role}, blob {digest}, is missing."
