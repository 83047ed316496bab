"""A store as programs and notebooks read it: its published copy, as Arrow tables; nothing can be changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from sdar.schemas.errors import InputError
from sdar.storage.database import literal
from sdar.storage.output import SCHEMA_QUERY
from sdar.storage.store import Store, open_store


def open_reader(path: str | Path = "sdar-store") -> StoreReader:
    """Open a store for reading; this neither waits for a run that writes to it nor holds it up.

    Args:
        path: the store's folder.

    Raises:
        InputError: there is no store.
        IntegrityError: newer code wrote it.
    """
    return StoreReader(open_store(path, read_only=True))


@dataclass(frozen=True)
class StoreReader:
    """A store that can only be read; made by `sdar.open_store`.

    Every call reads what is published now, at most about half a second behind the last stage of a run that is
    going on. No connection stays open between calls. Tables are Arrow's: `table.to_pandas()`,
    `polars.from_arrow(table)` and `table.to_pylist()` turn them into what they say.

    In the methods `run` is the id of a run, by default of the one that was begun last, and `round` one of its
    rounds, by default all of them. Columns are explained by `schema`.
    """

    _store: Store

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self._store.path

    def sql(self, query: str) -> pa.Table:
        """Return the result of one SQL statement, in DuckDB's dialect.

        Args:
            query: a SELECT, SHOW, DESCRIBE, SUMMARIZE or EXPLAIN statement.

        Raises:
            InputError: anything else, or a statement that DuckDB refuses.
        """
        return self._store.query(query)

    def schema(self) -> pa.Table:
        """Return every column of every view and table with its type and meaning."""
        return self.sql(SCHEMA_QUERY)

    def runs(self) -> pa.Table:
        """Return all runs, the oldest first: id, begin, method, seed, settings, parent and status."""
        return self.sql("SELECT * FROM run ORDER BY rowid")

    def learning_curve(self, run: str | None = None) -> pa.Table:
        """Return success on the frozen panel without skills, with its 95 % interval, by round."""
        return self._of_run("learning_curve", run)

    def rounds(self, run: str | None = None) -> pa.Table:
        """Return one row per round: collected success, gap, gate, update, checks, warnings and time."""
        return self._of_run("round_summary", run)

    def episodes(self, run: str | None = None, round: int | None = None) -> pa.Table:
        """Return the training episodes: task, tokens as lists, return, success and why they ended."""
        return self._of_run("collected_episode", run, round, order="round, ordinal")

    def token_gaps(self, run: str | None = None, round: int | None = None) -> pa.Table:
        """Return one row per action token: its text, both log-probs, gap, gate, and the teacher's skills."""
        return self._of_run("token_gap", run, round)

    def skills(self, run: str | None = None) -> pa.Table:
        """Return the skills of the run's latest bank: where they come from, how used, whether they help."""
        return self._of_run("skill_report", run)

    def _of_run(self, view: str, run: str | None, round: int | None = None, order: str = "") -> pa.Table:
        query = f"SELECT * FROM {view} WHERE run_id = {literal(self._run_id(run))}"
        query += f" AND round = {int(round)}" if round is not None else ""
        return self.sql(query + (f" ORDER BY {order}" if order else ""))

    def _run_id(self, run: str | None) -> str:
        """Return the id of the run that is meant; it is looked up in the published copy, like everything."""
        known = [str(row["id"]) for row in self.sql("SELECT id FROM run ORDER BY rowid").to_pylist()]
        if not known:
            raise InputError(f"the store {self.path} has no run yet; begin one with `sdar run`")
        if run is not None and run not in known:
            raise InputError(
                f"no run {run!r} in the store {self.path}; the latest are: {', '.join(known[-5:])}"
            )
        return known[-1] if run is None else run
