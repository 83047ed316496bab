"""The records that say what was computed, from what, and by which run."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, FiniteFloat

from sdar.schemas.records import Record

Summary = dict[str, FiniteFloat | str]
RunStatus = Literal["running", "done", "failed", "interrupted"]

BRANCH = "branch"
"""Key of `RunRecord.config` under which a branch notes where it begins; no setting has this name."""


class RunRecord(Record):
    """One run: a configuration and a seed, and the run that it branched from, if any.

    `created` is an ISO 8601 time, passed in by the caller. `config` is the whole configuration as JSON
    values, in a branch together with the place where it begins: what lies before that place was made under
    the settings of `parent`.
    """

    id: str
    created: str
    method: str
    seed: int
    config: dict[str, Any]
    parent: str | None = None
    status: RunStatus = "running"

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration alone."""
        return {name: value for name, value in self.config.items() if name != BRANCH}

    @property
    def branch(self) -> tuple[int, str] | None:
        """Round and stage from which on this run has its own settings; None when it has no parent."""
        point = self.config.get(BRANCH)
        return (int(point["round"]), str(point["stage"])) if point else None


class StageRun(Record):
    """One execution of a stage in one round of a run.

    `config` holds the fields that the stage reads, by dotted path; `inputs` the artifact ids it reads, by
    role. `artifact_id` is None and `status` is `running` until the store has recorded the stage.
    `reused_from` names the run that computed the artifact when this run took it from the store. `started`
    and `finished` are ISO 8601 times, `seconds` is wall time; numbers in `summary` must be finite.
    """

    run_id: str
    round: int
    stage: str
    key: str
    version: int
    config: dict[str, Any]
    inputs: dict[str, str]
    started: str
    finished: str
    seconds: float
    artifact_id: str | None = None
    status: Literal["running", "done"] = "running"
    reused_from: str | None = None
    summary: Summary = Field(default_factory=dict)


class Artifact(Record):
    """What a stage produced: `id` is the hash of its kind, its rows and its blob, and of nothing else.

    `blob` is the content hash of a folder of files, or None. `summary` is that of the stage run which first
    stored the artifact.
    """

    id: str
    kind: str
    blob: str | None = None
    summary: Summary = Field(default_factory=dict)


class TokenPiece(Record):
    """The text of one token id of one tokenizer, so that SQL can show token text without the tokenizer."""

    tokenizer_hash: str
    token_id: int
    text: str
