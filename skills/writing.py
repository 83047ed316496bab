"""Changes to a bank on the disk: each skill appears whole or not at all, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from sdar.schemas.errors import InputError
from sdar.schemas.near import did_you_mean
from sdar.skills.companions import Beside, Companion, place_companions
from sdar.skills.files import FILE_NAME, SkillFile, read_file, refusal
from sdar.skills.markdown import name_fault

REMOVED = ".removed"
"""Folder of a bank that keeps what was removed or replaced, in numbered folders; no bank reads it."""


def skill_path(bank: Path, name: str) -> Path:
    """Return where a bank keeps a skill.

    Raises:
        InputError: the name is none that a skill may have, so that it cannot lead out of the bank.
    """
    fault = name_fault(name)
    if fault:
        raise InputError(f"{fault}. Choose a name such as home-of-cups.")
    return bank / name / FILE_NAME


def existing_file(bank: Path, name: str) -> Path:
    """Return the file of a skill that a bank has.

    Raises:
        InputError: it has no such skill.
    """
    path = skill_path(bank, name)
    if not path.is_file():
        names = [found.parent.name for found in sorted(bank.glob(f"[!._]*/{FILE_NAME}"))]
        there = f"there are: {', '.join(names)}" if names else "it is empty"
        near = did_you_mean(name, names)
        raise InputError(f"no skill {name!r} in {bank}; {there}.{near} See `sdar skills list`.")
    return path


def stored_skill(bank: Path, name: str) -> SkillFile | None:
    """Return a skill of a bank with its text, None if the bank has no folder of that name.

    Raises:
        InputError: lists every fault of its file.
    """
    path = skill_path(bank, name)
    if not path.parent.exists():
        return None
    found = read_file(path, bank.resolve())
    if isinstance(found, SkillFile):
        return found
    raise refusal(found)


def write_skills(bank: Path, texts: Mapping[str, str], beside: Beside | None = None) -> None:
    """Put skills into a bank, over those of the same names; the bank is made if need be.

    All are written under temporary names first, so that a full disk changes nothing. Files that a skill of
    the bank has beside its SKILL.md stay, unless there are others of the same paths.

    Args:
        bank: its folder.
        texts: checked texts by skill name.
        beside: files beside the SKILL.md, by skill name.

    Raises:
        InputError: the disk refuses.
    """
    files = beside or {}
    with _explained(bank):
        bank.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".new-", dir=bank) as staging:
            for name, text in texts.items():
                staged = skill_path(Path(staging), name)
                staged.parent.mkdir()
                staged.write_text(text, encoding="utf-8", newline="\n")
                place_companions(staged.parent, files.get(name, ()))
            for name in texts:
                _place(skill_path(Path(staging), name), skill_path(bank, name), files.get(name, ()))


def remove_skills(bank: Path, names: Sequence[str]) -> Path:
    """Move the folders of skills out of the way and return the folder that holds them now.

    Raises:
        InputError: the bank lacks one of them, and then all stay; or the disk refuses.
    """
    paths = [existing_file(bank, name) for name in dict.fromkeys(names)]
    with _explained(bank):
        kept = _kept_folder(bank)
        for path in paths:
            path.parent.rename(kept / path.parent.name)
    return kept


def keep_copies(bank: Path, names: Sequence[str]) -> Path:
    """Copy skills that are about to be replaced to where removed ones go, and return that folder."""
    with _explained(bank):
        kept = _kept_folder(bank)
        for name in names:
            shutil.copytree(skill_path(bank, name).parent, kept / name)
    return kept


def _place(staged: Path, target: Path, beside: Sequence[Companion]) -> None:
    if target.parent.exists():
        place_companions(target.parent, beside)
        os.replace(staged, target)
    else:
        staged.parent.rename(target.parent)


def _kept_folder(bank: Path) -> Path:
    home = bank / REMOVED
    home.mkdir(exist_ok=True)
    numbers = [int(entry.name) for entry in home.iterdir() if entry.name.isdecimal()]
    made = home / f"{max(numbers, default=0) + 1:04d}"
    made.mkdir()
    return made


@contextmanager
def _explained(bank: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"cannot change the bank {bank} ({error}). Make room or name another one with --bank."
        ) from error
