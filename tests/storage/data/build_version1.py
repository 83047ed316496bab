"""Builds version1.duckdb, a store as the first migration left it.

Run as a script with the repository's `.links` on PYTHONPATH. The file stays as it
is: it stands for the stores that users have.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parents[1]))

from store_samples import context, episode, evaluation, pieces, policy, run, scores, skill, stage, task

from sdar.schemas.lineage import Artifact
from sdar.storage import artifact_id, lineage
from sdar.storage.database import CONFIG
from sdar.storage.migrate import MIGRATIONS

TARGET = Path(__file__).with_name("version1.duckdb")
STAGES = {
    "bootstrap": (
        "start",
        {"policy": [policy()], "token_piece": pieces(), "skill": [skill("s1"), skill("s2")]},
    ),
    "collect": ("episodes", {"task": [task()], "episode": [episode("e1"), episode("e2", success=False)]}),
    "retrieve": ("contexts", {"teacher_context": [context("e1"), context("e2", ("s2",))]}),
    "score": ("scores", {"token_score": [scores("e1"), scores("e2", (-0.5, -0.5, -0.5))]}),
    "evaluate": ("evaluation", {"evaluation": [evaluation(True), evaluation(False)]}),
}


def main() -> None:
    """Write the file anew, with the smallest blocks that DuckDB has."""
    TARGET.unlink(missing_ok=True)
    with duckdb.connect(config=CONFIG) as connection:
        connection.execute(f"ATTACH '{TARGET}' AS target (BLOCK_SIZE 16384, STORAGE_VERSION 'v1.5.0')")
        connection.execute("USE target")
        connection.execute(MIGRATIONS[0].read_text(encoding="utf-8"))
        connection.execute("INSERT INTO _migration VALUES (1, now())")
        lineage.save_run(connection, run())
        for name, (kind, rows) in STAGES.items():
            made = Artifact(id=artifact_id(kind, rows, None), kind=kind, blob=None, summary={})
            lineage.save_artifact(connection, made, rows)
            done = stage(name, round=int(name != "bootstrap"), artifact_id=made.id, status="done")
            lineage.save_stage_run(connection, done)
        connection.execute("CHECKPOINT target")


if __name__ == "__main__":
    main()
