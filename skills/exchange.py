"""Skills from elsewhere and for elsewhere: folders, single SKILL.md files and zip archives."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sdar.schemas.errors import InputError
from sdar.skills.archive import read_archive, write_archive
from sdar.skills.companions import Beside, Companion, companions, read_companions
from sdar.skills.files import FILE_NAME, Fault, SkillFile, read_file, refusal
from sdar.skills.writing import keep_copies, stored_skill, write_skills

FIELDS = ("description", "environment", "task_types", "body")


@dataclass(frozen=True)
class Parcel:
    """A skill on its way, with the files beside its SKILL.md."""

    file: SkillFile
    beside: tuple[Companion, ...] = ()


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
    """Copy the skills of a source into a bank, with their files; nothing is written unless all are right.

    Args:
        source: a folder of skills, the folder of one skill, a SKILL.md, or a zip archive.
        bank: its folder, which is made if need be.
        replace: take the source's skill where the bank has another one of the same name.

    Raises:
        InputError: lists every fault, or every skill that differs from one of the bank.
    """
    incoming = read_source(source)
    present = {parcel.file.skill.name: _stored(bank, parcel.file.skill.name) for parcel in incoming}
    changes = {
        parcel.file.skill.name: difference(old, parcel)
        for parcel in incoming
        if (old := present[parcel.file.skill.name]) is not None
    }
    clashing = {name: parts for name, parts in changes.items() if parts}
    if clashing and not replace:
        listed = "\n".join(f"  {name}: {', '.join(parts)}" for name, parts in clashing.items())
        raise InputError(
            f"{len(clashing)} skill(s) of {source} differ from those of the same names in {bank}:\n{listed}\n"
            "Nothing was written. Take the new ones with --replace, which keeps the old ones aside."
        )
    kept = keep_copies(bank, list(clashing)) if clashing else None
    taken = {each.file.skill.name: each for each in incoming if changes.get(each.file.skill.name) != ()}
    write_skills(
        bank,
        {name: each.file.text for name, each in taken.items()},
        {name: each.beside for name, each in taken.items()},
    )
    return Imported(
        added=tuple(name for name, old in present.items() if old is None),
        replaced=tuple(clashing),
        same=tuple(name for name, parts in changes.items() if not parts),
        kept=kept,
    )


def difference(old: Parcel, new: Parcel) -> tuple[str, ...]:
    """Return which parts of a skill two parcels give differently.

    `other keys` are those that no skill keeps; `files` are those beside the new one that the old one lacks or
    has with another content. What only the old one has stays beside it in any case.
    """
    before, after = old.file, new.file
    parts = tuple(field for field in FIELDS if getattr(before.skill, field) != getattr(after.skill, field))
    if not parts and _unix(before.text) != _unix(after.text):
        parts = ("other keys",)
    return parts if set(new.beside) <= set(old.beside) else (*parts, "files")


def read_source(source: Path) -> list[Parcel]:
    """Return the skills of a folder, a file or an archive, sorted by name.

    Raises:
        InputError: there is nothing to read, or lists every fault of every file.
    """
    if source.is_dir():
        found = list(_folder_parcels(source))
    elif source.suffix.lower() == ".zip" and source.is_file():
        found = list(_archive_parcels(source))
    elif source.is_file():
        # What lies beside a single file may be anything.
        single = read_file(source, source.resolve().parent, named=False)
        found = [Parcel(single) if isinstance(single, SkillFile) else single]
    else:
        raise InputError(f"{source} does not exist. {_SOURCES}")
    parcels = sorted(
        (each for each in found if isinstance(each, Parcel)), key=lambda each: each.file.skill.name
    )
    faults = [fault for each in found if isinstance(each, list) for fault in each]
    faults += _repeated(parcels)
    if faults:
        raise refusal(faults)
    if not parcels:
        raise InputError(f"no {FILE_NAME} in {source}. {_SOURCES}")
    return parcels


_SOURCES = f"Name a folder of <name>/{FILE_NAME} files, one {FILE_NAME}, or a .zip archive of such a folder."


def _folder_parcels(folder: Path) -> Iterator[Parcel | list[Fault]]:
    root = folder.resolve()
    single = (folder / FILE_NAME).is_file()
    for path in [folder / FILE_NAME] if single else sorted(folder.glob(f"[!._]*/{FILE_NAME}")):
        file, beside = read_file(path, root), read_companions(path.parent)
        faults = [each for part in (file, beside) if isinstance(part, list) for each in part]
        if isinstance(file, SkillFile) and not isinstance(beside, list):
            yield Parcel(file, beside)
        else:
            yield faults


def _archive_parcels(archive: Path) -> Iterator[Parcel | list[Fault]]:
    for found in read_archive(archive):
        yield found if isinstance(found, list) else Parcel(*found)


def _stored(bank: Path, name: str) -> Parcel | None:
    file = stored_skill(bank, name)
    return Parcel(file, companions(file.path.parent)) if file else None


def _repeated(parcels: Sequence[Parcel]) -> Iterator[Fault]:
    first: dict[str, Path] = {}
    for file in (parcel.file for parcel in parcels):
        if file.skill.name in first:
            other = first[file.skill.name]
            yield Fault(file.path, 1, f"name {file.skill.name!r} is also that of {other}; rename one of them")
        first.setdefault(file.skill.name, file.path)


def export_skills(files: Sequence[SkillFile], out: Path) -> None:
    """Write skills and what lies beside them to a new folder, or to a new archive if `out` ends in .zip.

    The archive has one folder per skill; equal skills give equal bytes.

    Raises:
        InputError: `out` is there already, the disk refuses, or lists every fault of the files beside.
    """
    out = out.absolute()
    archive = out.suffix.lower() == ".zip"
    if out.exists() and (archive or not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already. Name a new file or a new or empty folder with --out.")
    texts = {file.skill.name: file.text for file in files}
    beside = {file.skill.name: companions(file.path.parent) for file in files}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".export-", dir=out.parent) as staging:
            made = Path(staging) / out.name
            if archive:
                write_archive(made, _entries(texts, beside))
            else:
                made.mkdir()
                write_skills(made, texts, beside)
            os.replace(made, out)
    except OSError as error:
        raise InputError(f"cannot write {out} ({error}). Name another place with --out.") from error


def _entries(texts: Mapping[str, str], beside: Beside) -> dict[str, bytes]:
    own = {f"{name}/{FILE_NAME}": text.encode() for name, text in texts.items()}
    return own | {f"{name}/{each.path}": each.content for name in texts for each in beside[name]}


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")
