"""Files outside the store that a world plays with, as one hash for the keys of the stages that play."""

from __future__ import annotations

import os

from sdar.envs.registry import environment_kind
from sdar.schemas.config import EnvironmentConfig
from sdar.schemas.keys import content_hash, remembered_file_hash


def data_content(config: EnvironmentConfig) -> str:
    """Return the content hash of a world's files, with their names; empty where it has none.

    Raises:
        EnvironmentMissingError: the environment is not installed.
        ConfigError, InputError: its data are not what they must be, as far as their names tell.
    """
    # A file that is missing is told by the world itself, with what it should hold.
    files = sorted(path for path in environment_kind(config.name).files(config) if path.is_file())
    if not files:
        return ""
    root = os.path.commonpath([path.parent for path in files])
    return content_hash({path.relative_to(root).as_posix(): remembered_file_hash(path) for path in files})
