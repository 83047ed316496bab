"""Zip archives of skills: read without trust in a single entry; equal skills are equal bytes."""

from __future__ import annotations

import lzma
import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from sdar.schemas.errors import InputError
from sdar.skills.companions import MAX_BYTES, Companion, ignored, too_many
from sdar.skills.files import FILE_NAME, MAX_FILE_BYTES, Fault, SkillFile, read_bytes

MAX_ENTRIES = 10_000

# What Windows would take for a drive or a path, and what no name of a file needs.
_ODD = re.compile(r"^[A-Za-z]:|\\|[\x00-\x1f\x7f]")
# Zip archives know no time before 1980; a fixed one makes equal banks equal archives.
_EPOCH = (1980, 1, 1, 0, 0, 0)

# What the methods of compression raise when the bytes are not theirs, and what an
# encrypted entry or a method that is not known raises (a RuntimeError).
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,
    OSError,
)

Found = tuple[SkillFile, tuple[Companion, ...]]
"""A skill and the files beside it."""


def read_archive(archive: Path) -> Iterator[Found | list[Fault]]:
    """Yield the skills of an archive, in which they may lie at any depth, and the faults of its entries.

    Raises:
        InputError: it is no zip archive.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            infos = opened.infolist()
            names = Counter(info.filename for info in infos)
            if len(infos) > MAX_ENTRIES:
                yield [Fault(archive, 1, f"{len(infos)} entries; at most {MAX_ENTRIES} are allowed")]
                return
            faults = [_entry_fault(info, names) for info in infos]
            yield [
                Fault(_label(archive, info), 1, told)
                for info, told in zip(infos, faults, strict=True)
                if told
            ]
            sound = [info for info, told in zip(infos, faults, strict=True) if not told]
            yield from _skills(opened, sound, archive)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(
            f"{archive} is no readable zip archive ({error}). Name a folder of <name>/{FILE_NAME} files, "
            f"one {FILE_NAME}, or a .zip archive of such a folder."
        ) from error


def write_archive(path: Path, files: Mapping[str, bytes]) -> None:
    """Write an archive; equal files give equal bytes.

    Args:
        path: of the new archive.
        files: contents by path.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in sorted(files.items()):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content, compress_type=zipfile.ZIP_DEFLATED)


def _skills(
    opened: zipfile.ZipFile, infos: Sequence[zipfile.ZipInfo], archive: Path
) -> Iterator[Found | list[Fault]]:
    entries = {PurePosixPath(info.filename): info for info in infos if not info.is_dir()}
    homes = {path.parent for path in entries if path.name == FILE_NAME and not _hidden(path)}
    for home in sorted(homes):
        name = home.name or None
        info = entries[home / FILE_NAME]
        content = _content(opened, info, archive, MAX_FILE_BYTES)
        read = content if isinstance(content, list) else read_bytes(content, _label(archive, info), name)
        own = {path: entry for path, entry in entries.items() if _owner(path, homes) == home}
        beside = _beside(opened, own, home, archive)
        faults = [each for part in (read, beside) if isinstance(part, list) for each in part]
        if isinstance(read, SkillFile) and not isinstance(beside, list):
            yield read, beside
        else:
            yield faults


def _beside(
    opened: zipfile.ZipFile,
    entries: Mapping[PurePosixPath, zipfile.ZipInfo],
    home: PurePosixPath,
    archive: Path,
) -> tuple[Companion, ...] | list[Fault]:
    found: list[Companion] = []
    faults: list[Fault] = []
    for path, info in sorted(entries.items()):
        inner = path.relative_to(home)
        if path.name == FILE_NAME or ignored(inner):
            continue
        content = _content(opened, info, archive, MAX_BYTES)
        if isinstance(content, list):
            faults += content
        else:
            found.append(Companion(inner.as_posix(), content))
    faults += too_many(archive / home, found)
    return faults or tuple(found)


def _owner(path: PurePosixPath, homes: set[PurePosixPath]) -> PurePosixPath | None:
    return next((parent for parent in path.parents if parent in homes), None)


def _hidden(path: PurePosixPath) -> bool:
    return any(part[0] in "._" for part in path.parts)


def _content(opened: zipfile.ZipFile, info: zipfile.ZipInfo, archive: Path, most: int) -> bytes | list[Fault]:
    label = _label(archive, info)
    if info.file_size > most:
        return [Fault(label, 1, f"{info.file_size} bytes; at most {most} are allowed")]
    try:
        with opened.open(info) as entry:
            content = entry.read(most + 1)
    except _UNREADABLE as error:
        return [Fault(label, 1, f"cannot be unpacked: {error}")]
    # The declared size was checked; what comes out may still be more.
    return content if len(content) <= most else [Fault(label, 1, f"more than {most} bytes")]


def _label(archive: Path, info: zipfile.ZipInfo) -> Path:
    return archive / ascii(info.filename).strip("'")


def _entry_fault(info: zipfile.ZipInfo, names: Mapping[str, int]) -> str | None:
    # The original name, because `filename` is cut at a NUL and has separators exchanged.
    name = info.orig_filename
    if name.startswith("/") or ".." in PurePosixPath(name).parts or _ODD.search(name):
        return "the path leads out of the archive or holds odd characters"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a link; put the file itself into the archive"
    if names[info.filename] > 1:
        return "is in the archive more than once"
    return None
