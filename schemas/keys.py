"""Content hashes and stage keys: the key says "must I run", the content hash says "what did I get"."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no spaces; NaN and infinity are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def content_hash(value: Any) -> str:
    """Return the sha256 of the canonical JSON of `value`, as 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def file_hash(path: Path) -> str:
    """Return the sha256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def remembered_file_hash(path: Path) -> str:
    """Return `file_hash`, but read the file again only when its time or its size has changed.

    Stage keys are asked for often, and weights and worlds are large.
    """
    stat = path.stat()
    return _remembered(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1 << 15)
def _remembered(path: Path, changed: int, size: int) -> str:
    return file_hash(path)


def stage_key(
    stage: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, str], seed: int
) -> str:
    """Return the cache key of one stage execution.

    Args:
        stage: name of the stage.
        version: the stage's VERSION; raised whenever its code computes something else.
        config: the configuration fields that the stage declares to read, by dotted path.
        inputs: artifact id by role, for every artifact that the stage reads.
        seed: the named seed of this execution.
    """
    return content_hash(
        {"stage": stage, "version": version, "config": dict(config), "inputs": dict(inputs), "seed": seed}
    )
