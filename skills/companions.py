"""Files beside a SKILL.md, such as scripts/ and references/: kept with the skill, never in a prompt."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sdar.schemas.errors import InputError
from sdar.skills.files import FILE_NAME, Fault, refusal

MAX_BYTES = 1024 * 1024
MAX_SKILL_BYTES = 8 * MAX_BYTES
MAX_FILES = 200


@dataclass(frozen=True)
class Companion:
    """One file beside a SKILL.md; `path` is relative to the skill's folder, with `/` between its parts."""

    path: str
    content: bytes

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the content, in hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()


Beside = Mapping[str, Sequence[Companion]]
"""The companions of skills, by the name of the skill."""


def ignored(path: PurePosixPath) -> bool:
    """Say whether a file is left behind: hidden ones and `__names__`, which systems and tools leave."""
    return any(part.startswith((".", "__")) for part in path.parts)


def companions(folder: Path) -> tuple[Companion, ...]:
    """Return the files beside the SKILL.md of a folder, by path; `InputError` lists every fault."""
    found = read_companions(folder)
    if isinstance(found, list):
        raise refusal(found)
    return found


def read_companions(folder: Path) -> tuple[Companion, ...] | list[Fault]:
    """Return the files beside the SKILL.md of a folder, by path; those of a nested skill are its own.

    Links, special files, unreadable ones and whatever exceeds a limit are faults.
    """
    found: list[Companion] = []
    faults: list[Fault] = []
    for path in _paths(folder):
        outcome = _read(path, folder)
        if isinstance(outcome, Companion):
            found.append(outcome)
        else:
            faults.append(outcome)
    faults += too_many(folder, found)
    return faults or tuple(sorted(found, key=lambda each: each.path))


def too_many(folder: Path, found: Sequence[Companion]) -> Iterator[Fault]:
    """Yield a fault where a skill has too many companions, or too large ones taken together."""
    size = sum(len(each.content) for each in found)
    if len(found) > MAX_FILES:
        yield Fault(folder, 1, f"{len(found)} files beside {FILE_NAME}; at most {MAX_FILES} are allowed")
    if size > MAX_SKILL_BYTES:
        yield Fault(folder, 1, f"{size} bytes beside {FILE_NAME}; at most {MAX_SKILL_BYTES} are allowed")


def place_companions(folder: Path, companions: Sequence[Companion]) -> None:
    """Write companions into the folder of a skill, over those of the same paths; other files stay.

    Raises:
        InputError: a path leads out of the folder, by its name or through a link, or is that of the SKILL.md.
    """
    for each in companions:
        path = PurePosixPath(each.path)
        target = folder / path
        named = not path.is_absolute() and ".." not in path.parts and path.parts not in ((), (FILE_NAME,))
        if not named or target.is_symlink() or not _inside(target.parent, folder):
            raise InputError(
                f"{target} leads out of the folder of the skill, or is its {FILE_NAME}. "
                "Remove links from the folder and name files that lie in it."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(each.content)


def _inside(place: Path, folder: Path) -> bool:
    return place.resolve().is_relative_to(folder.resolve())


def _paths(folder: Path) -> Iterator[Path]:
    """Yield everything beside the SKILL.md that is no folder; no link to a folder is followed."""
    for place, names, files in os.walk(folder):
        here = Path(place)
        links = [name for name in names if (here / name).is_symlink()]
        names[:] = sorted(
            name
            for name in names
            if name not in links
            and not ignored(PurePosixPath(name))
            and not (here / name / FILE_NAME).is_file()
        )
        for name in sorted([*files, *links]):
            if not ignored(PurePosixPath(name)) and (here / name) != folder / FILE_NAME:
                yield here / name


def _read(path: Path, folder: Path) -> Companion | Fault:
    try:
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            return Fault(path, 1, "is a link; put the file itself beside the skill")
        if not stat.S_ISREG(facts.st_mode):
            return Fault(path, 1, "is no plain file; remove it")
        if facts.st_size > MAX_BYTES:
            return Fault(path, 1, f"{facts.st_size} bytes; at most {MAX_BYTES} are allowed")
        return Companion(path.relative_to(folder).as_posix(), path.read_bytes())
    except OSError as error:
        return Fault(path, 1, f"unreadable: {error.strerror}")
