"""Skills from elsewhere and for elsewhere: folders, single SKILL.md files and zip archives."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sdar.schemas.errors import InputError
from sdar.skills.files import (
    FILE_NAME,
    MAX_FILE_BYTES,
    BankFiles,
    Fault,
    SkillFile,
    gather,
    read_bytes,
    read_file,
    refusal,
)
from sdar.skills.writing import keep_copies, stored_skill, write_skills

MAX_ENTRIES = 10_000
FIELDS = ("description", "environment", "task_types", "body")

# What Windows would take for a drive or a path, and what no name of a file needs.
_ODD = re.compile(r"^[A-Za-z]:|\\|[\x00-\x1f\x7f]")
# Zip archives know no time before 1980; a fixed one makes equal banks equal archives.
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Imported:
    """Names of the skills that came in, took the place of others, and were there already.

    `kept` is the folder with those that were replaced.
    """

    added: tuple[str, ...]
    replaced: tuple[str, ...]
    same: tuple[str, ...]
    kept: Path | None


def import_skills(source: Path, bank: Path, replace: bool = False) -> Imported:
    """Copy the SKILL.md files of a source into a bank; nothing is written unless all are right.

    Args:
        source: a folder of skills, the folder of one skill, a SKILL.md, or a zip archive.
        bank: its folder, which is made if need be.
        replace: take the source's skill where the bank has another one of the same name.

    Raises:
        InputError: lists every fault, or every skill that differs from one of the bank.
    """
    incoming = read_source(source)
    present = {file.skill.name: stored_skill(bank, file.skill.name) for file in incoming}
    changes = {
        file.skill.name: difference(old, file)
        for file in incoming
        if (old := present[file.skill.name]) is not None
    }
    clashing = {name: parts for name, parts in changes.items() if parts}
    if clashing and not replace:
        listed = "\n".join(f"  {name}: {', '.join(parts)}" for name, parts in clashing.items())
        raise InputError(
            f"{len(clashing)} skill(s) of {source} differ from those of the same names in {bank}:\n{listed}\n"
            "Nothing was written. Take the new ones with --replace, which keeps the old ones aside."
        )
    kept = keep_copies(bank, list(clashing)) if clashing else None
    write_skills(
        bank,
        {file.skill.name: file.text for file in incoming if changes.get(file.skill.name) != ()},
    )
    return Imported(
        added=tuple(name for name, old in present.items() if old is None),
        replaced=tuple(clashing),
        same=tuple(name for name, parts in changes.items() if not parts),
        kept=kept,
    )


def difference(old: SkillFile, new: SkillFile) -> tuple[str, ...]:
    """Return which parts of a skill two files give differently; `other keys` are those no skill keeps."""
    parts = tuple(field for field in FIELDS if getattr(old.skill, field) != getattr(new.skill, field))
    if parts or _unix(old.text) == _unix(new.text):
        return parts
    return ("other keys",)


def read_source(source: Path) -> list[SkillFile]:
    """Return the skills of a folder, a file or an archive, sorted by name.

    Raises:
        InputError: there is nothing to read, or lists every fault of every file.
    """
    if source.is_dir():
        found = gather(_folder_files(source))
    elif source.suffix.lower() == ".zip" and source.is_file():
        found = gather(_archive_files(source))
    elif source.is_file():
        found = gather([read_file(source, source.resolve().parent, named=False)])
    else:
        raise InputError(f"{source} does not exist. {_SOURCES}")
    faults = [*found.faults, *_repeated(found)]
    if faults:
        raise refusal(faults)
    if not found.files:
        raise InputError(f"no {FILE_NAME} in {source}. {_SOURCES}")
    return list(found.files)


_SOURCES = f"Name a folder of <name>/{FILE_NAME} files, one {FILE_NAME}, or a .zip archive of such a folder."


def _folder_files(folder: Path) -> Iterator[SkillFile | list[Fault]]:
    root = folder.resolve()
    if (folder / FILE_NAME).is_file():
        yield read_file(folder / FILE_NAME, root)
        return
    for path in sorted(folder.glob(f"[!._]*/{FILE_NAME}")):
        yield read_file(path, root)


def _archive_files(archive: Path) -> Iterator[SkillFile | list[Fault]]:
    try:
        with zipfile.ZipFile(archive) as opened:
            infos = opened.infolist()
            if len(infos) > MAX_ENTRIES:
                yield [Fault(archive, 1, f"{len(infos)} entries; at most {MAX_ENTRIES} are allowed")]
                return
            for info in infos:
                yield _archive_file(opened, info, archive)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f"{archive} is no readable zip archive ({error}). {_SOURCES}") from error


def _archive_file(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: Path) -> SkillFile | list[Fault]:
    label = where / ascii(info.filename).strip("'")
    fault = _entry_fault(info)
    if fault:
        return [Fault(label, 1, fault)]
    parts = PurePosixPath(info.filename).parts
    hidden = any(part[0] in "._" for part in parts)
    if info.is_dir() or hidden or not parts or parts[-1] != FILE_NAME:
        return []
    try:
        with archive.open(info) as entry:
            content = entry.read(MAX_FILE_BYTES + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        return [Fault(label, 1, f"cannot be unpacked: {error}")]
    # The declared size was checked; what comes out may still be more.
    if len(content) > MAX_FILE_BYTES:
        return [Fault(label, 1, f"more than {MAX_FILE_BYTES} bytes")]
    return read_bytes(content, label, parts[-2] if len(parts) > 1 else None)


def _entry_fault(info: zipfile.ZipInfo) -> str | None:
    # The original name, because `filename` is cut at a NUL and has separators exchanged.
    name = info.orig_filename
    if name.startswith("/") or ".." in PurePosixPath(name).parts or _ODD.search(name):
        return "the path leads out of the archive or holds odd characters"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "is a link; put the file itself into the archive"
    if PurePosixPath(name).name == FILE_NAME and info.file_size > MAX_FILE_BYTES:
        return f"{info.file_size} bytes; at most {MAX_FILE_BYTES} are allowed"
    return None


def _repeated(found: BankFiles) -> Iterator[Fault]:
    first: dict[str, Path] = {}
    for file in found.files:
        if file.skill.name in first:
            other = first[file.skill.name]
            yield Fault(file.path, 1, f"name {file.skill.name!r} is also that of {other}; rename one of them")
        first.setdefault(file.skill.name, file.path)


def export_skills(files: Sequence[SkillFile], out: Path) -> None:
    """Write the SKILL.md files of skills to a new folder, or to a new archive if `out` ends in .zip.

    The archive has one folder per skill; equal skills give equal bytes.

    Raises:
        InputError: `out` is there already, or the disk refuses.
    """
    out = out.absolute()
    archive = out.suffix.lower() == ".zip"
    if out.exists() and (archive or not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already. Name a new file or a new or empty folder with --out.")
    texts = {file.skill.name: file.text for file in files}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as staging:
            made = Path(staging) / out.name
            if archive:
                _write_archive(made, texts)
            else:
                made.mkdir()
                write_skills(made, texts)
            os.replace(made, out)
    except OSError as error:
        raise InputError(f"cannot write {out} ({error}). Name another place with --out.") from error


def _write_archive(path: Path, texts: dict[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in sorted(texts.items()):
            info = zipfile.ZipInfo(f"{name}/{FILE_NAME}", _EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, text, compress_type=zipfile.ZIP_DEFLATED)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")
