"""What a stage is: a plain function with a name, a version, and the configuration and inputs it reads."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, reduce
from operator import getitem
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdar.envs.data import data_content
from sdar.schemas.config import RunConfig
from sdar.schemas.keys import file_hash
from sdar.schemas.lineage import Summary
from sdar.schemas.records import Record
from sdar.schemas.seeds import derive_seed

if TYPE_CHECKING:
    # At run time these would bring torch and DuckDB to commands that only read the registry or a bank.
    from sdar.policy.model import Policy
    from sdar.storage import Store
    from sdar.tasks.shards import BatchMap, Item, Job, PolicyFiles, Result

BASE = "base"
"""Role under which the files of an adapter name those of its base model."""
LATER = {"reward.function": "", "rollout.batch": 0, "rollout.engine": "transformers"}
"""What became a setting when there were stores already, with what those had: it is left out of stage keys."""
SOURCE = "_source"
"""Key of a stage run's summary under which the hash of the stage's source is kept; not part of its key."""


@dataclass(frozen=True)
class StageOutput:
    """What a stage computed: rows by table, optionally a folder of files, and figures worth showing."""

    kind: str
    rows: Mapping[str, Sequence[Record]]
    summary: Summary = field(default_factory=dict)
    folder: Path | None = None


def base_folder(store: Store, blob: str) -> Path | None:
    """Return the folder of the base model where a policy's files are an adapter alone, else None."""
    from sdar.storage import read_references

    base = read_references(store.blob(blob)).get(BASE)
    return store.blob(base) if base else None


@dataclass
class PolicyShelf:
    """Loaded policies by artifact id: the last few stay in memory, so that stages do not load them again."""

    store: Store
    device: str
    size: int = 3
    _loaded: dict[tuple[str, str], Policy] = field(default_factory=dict)

    def get(self, artifact_id: str, blob: str, part: str = "") -> Policy:
        """Return a policy; `part` names a sub-folder of the artifact's files, such as the EMA teacher."""
        from sdar.policy.model import load_policy

        key = (artifact_id, part)
        policy = self._loaded.pop(key, None)
        if policy is None:
            try:
                policy = load_policy(self.store.blob(blob) / part, self.device, base_folder(self.store, blob))
            except Exception:
                self.store.whole_blob(blob)  # says so if its files are damaged
                raise
        self._loaded[key] = policy
        while len(self._loaded) > self.size:
            del self._loaded[next(iter(self._loaded))]
        return policy


@dataclass(frozen=True)
class StageInputs:
    """Everything that a stage may read.

    `artifacts` maps roles to artifact ids and `blobs` the same roles to the hashes of their files; `scratch`
    is an empty folder for files to store; `minutes` is the run's wall time so far. `mapper` does batches of
    work; None does them in this process.
    """

    config: RunConfig
    round: int
    seed: int
    store: Store
    shelf: PolicyShelf
    artifacts: Mapping[str, str]
    blobs: Mapping[str, str]
    scratch: Path
    minutes: float = 0.0
    mapper: BatchMap | None = None

    def policy(self, role: str = "policy", part: str = "") -> Policy:
        """Return the policy of a role, in evaluation mode; it must not be changed."""
        return self.shelf.get(self.artifacts[role], self.blobs[role], part)

    def policy_files(self, role: str = "policy", part: str = "") -> PolicyFiles:
        """Return where the files of a role's policy are."""
        from sdar.tasks.shards import PolicyFiles

        folder, base = self.folder(role), base_folder(self.store, self.blobs[role])
        return PolicyFiles((folder / part).resolve(), base and base.resolve(), self.shelf.device)

    def map(self, job: Job[Item, Result], policy: Policy, batches: Sequence[Sequence[Item]]) -> list[Result]:
        """Do batches of work wherever the run has them done, and return their results in order.

        Args:
            job: what is done with each batch.
            policy: the one that `job.policy` names.
            batches: each is done as a whole.
        """
        from sdar.tasks.shards import in_process

        return (self.mapper or in_process)(job, policy, batches)

    def folder(self, role: str) -> Path:
        """Return the stored files of a role; they must not be changed."""
        return self.store.blob(self.blobs[role])


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    Attributes:
        name: as shown to users.
        version: raised whenever the stage computes something else; part of the stage key.
        reads: dotted configuration paths, a section or a single field; part of the stage key.
        run: the function.
        seeded: whether the run's seed and the round enter; False for what all runs share.
        fingerprint: what else the stage reads, by name; part of the stage key. Hashes of files outside the
            store, and of settings that are read only under certain others.
        files: whether it reads the files of its inputs; False where rows and figures, which no prune takes
            away, are enough.
    """

    name: str
    version: int
    reads: tuple[str, ...]
    run: Callable[[StageInputs], StageOutput]
    seeded: bool = True
    fingerprint: Callable[[RunConfig], Mapping[str, str]] | None = None
    files: bool = True


def read_fields(config: RunConfig, stage: Stage, *, files: bool = True) -> dict[str, Any]:
    """Return what the stage reads from outside the store: configuration by dotted path, and file hashes.

    `files` False leaves out the hashes, for settings whose files cannot be read.
    """
    values: dict[str, Any] = config.model_dump(mode="json")
    as_before = {path for path, before in LATER.items() if _at(values, path) == before}
    for path in as_before:
        section, _, name = path.partition(".")
        del values[section][name]
    found: dict[str, Any] = dict(stage.fingerprint(config)) if stage.fingerprint and files else {}
    if files and "env" in stage.reads and (content := data_content(config.env)):
        found["env.content"] = content
    return found | {path: _at(values, path) for path in stage.reads if path not in as_before}


def _at(values: Mapping[str, Any], path: str) -> Any:
    return reduce(getitem, path.split("."), values)


def stage_seed(config: RunConfig, stage: Stage, round: int) -> int:
    """Return the seed of one execution of a stage."""
    return derive_seed(config.seed, stage.name, round) if stage.seeded else 0


@cache
def source_hash(stage: Stage) -> str:
    """Return the hash of the module that defines the stage; modules that it imports are not looked at.

    Asked for once: a file that is changed while this process runs did not make its artifacts.
    """
    return file_hash(Path(str(sys.modules[stage.run.__module__].__file__)))


def shown(summary: Mapping[str, float | str]) -> Summary:
    """Return the figures of a summary without its reserved keys."""
    return {name: value for name, value in summary.items() if not name.startswith("_")}
