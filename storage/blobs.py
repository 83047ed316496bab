"""Folders of files (weights, tokenizers, indexes), stored under the hash of their content."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from sdar.schemas.errors import InputError, IntegrityError
from sdar.schemas.keys import canonical_json, content_hash, file_hash
from sdar.storage.database import user_errors

PARTIAL = ".partial-"
REFERENCES = "references.json"
"""File of a blob that names other blobs, by role, without which it cannot be used."""
_CHUNK = 1 << 20


def folder_hash(folder: Path) -> str:
    """Return the hash of a folder: of the relative names of its files and of their bytes."""
    return content_hash({name: file_hash(folder / name) for name in _names(folder)})


@contextmanager
def partial_folder(blobs: Path) -> Iterator[Path]:
    """Give an empty folder on the store's own disk; what `put_blob` does not take goes with the block."""
    partial = partial_name(blobs)
    try:
        with user_errors(blobs):
            partial.mkdir()
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def put_blob(blobs: Path, folder: Path) -> str:
    """Move a folder of `partial_folder` into `blobs`, or copy any other; return its content hash.

    A blob that is there already is kept, unless its files were damaged. Everything is forced to disk before
    the folder gets its final name, so that a folder under that name is always whole.

    Raises:
        InputError: `folder` holds no files, or the disk is full.
        IntegrityError: `folder` changed while it was copied.
    """
    if not folder.is_dir() or not _names(folder):
        raise InputError(f"{folder} is not a folder with files in it; nothing to store.")
    digest = folder_hash(folder)
    target = blobs / digest
    with user_errors(blobs):
        if target.exists():
            if folder_hash(target) == digest:
                return digest
            target.rename(partial_name(blobs))  # removed with what else was left behind
        if folder.parent == blobs and folder.name.startswith(PARTIAL):
            _publish(folder, target)
            return digest
        with partial_folder(blobs) as partial:
            copied = content_hash({name: _copy(folder / name, partial / name) for name in _names(folder)})
            if copied != digest:
                raise IntegrityError(
                    f"{folder} changed while it was copied into the store. Repeat the command."
                )
            _publish(partial, target)
    return digest


def blob_path(blobs: Path, digest: str) -> Path:
    """Return the folder of a blob.

    Raises:
        IntegrityError: the store does not hold it.
    """
    target = blobs / digest
    if not target.is_dir():
        raise IntegrityError(
            f"the store has no blob {digest} in {blobs}. `sdar store verify` lists what else is missing; "
            "running the stage again with --force makes it anew."
        )
    return target


def whole_blob(blobs: Path, digest: str) -> Path:
    """Return the folder of a blob after computing its hash again.

    Raises:
        IntegrityError: the store does not hold it, or its files were changed.
    """
    target = blob_path(blobs, digest)
    if folder_hash(target) != digest:
        raise IntegrityError(
            f"the files in {target} differ from those that were stored. Restore them from a copy, or run the "
            "stage that made them again with --force. `sdar store verify` lists what else is damaged."
        )
    return target


def write_references(folder: Path, blobs: Mapping[str, str]) -> None:
    """Note in a folder that is going to be a blob which other blobs it needs, by role."""
    (folder / REFERENCES).write_text(canonical_json(blobs) + "\n", encoding="utf-8")


def read_references(folder: Path) -> dict[str, str]:
    """Return the content hashes of the blobs that a blob needs, by role; most need none."""
    path = folder / REFERENCES
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def remove_partial(blobs: Path) -> None:
    """Remove what interrupted copies left behind; call only while holding the writer lock."""
    for leftover in blobs.glob(f"{PARTIAL}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def partial_name(blobs: Path) -> Path:
    """Return a new path for what is not a blob yet, or not any more; a writer removes what is left there."""
    return blobs / f"{PARTIAL}{uuid.uuid4().hex}"


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _copy(source: Path, target: Path) -> str:
    """Copy one file and return the hash of the bytes that were written."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
    return digest.hexdigest()


def _publish(partial: Path, target: Path) -> None:
    """Force a folder to disk with all that it holds, then give it its final name."""
    readable = partial.stat().st_mode & 0o666  # as the user's umask has it; safetensors writes 0600
    for path in [*partial.rglob("*"), partial]:
        if path.is_file():
            with suppress(OSError):  # disks of other systems have no such thing
                path.chmod(readable)
        _sync(path)
    try:
        partial.rename(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        return  # another process of a study was faster with the same files
    _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
