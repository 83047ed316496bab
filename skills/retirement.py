"""Skills that a person retired from a bank on the disk: kept where they are, with the reason beside them."""

from __future__ import annotations

from pathlib import Path

from sdar.schemas.errors import InputError
from sdar.skills.files import MAX_FILE_BYTES, checked_text
from sdar.skills.writing import existing_file

RETIRED = "RETIRED.md"
"""File beside a SKILL.md that says why the skill is retired. The SKILL.md itself stays as it is, and with it
the skill's id, so that restoring it leaves no trace."""
BY_HAND = "Retired by hand: "
_NO_REASON = 'a retirement needs a reason, for instance --reason "The lamp was moved."'


def retirements(bank: Path) -> dict[str, str]:
    """Return why skills of a bank are retired, by name; active ones are absent.

    Raises:
        InputError: a reason cannot be read.
    """
    found = sorted(bank.glob(f"[!._]*/{RETIRED}"))
    return {path.parent.name: _reason(path) for path in found if not path.is_symlink()}


def retire_skill(bank: Path, name: str, reason: str) -> Path:
    """Retire a skill of a bank, and return the file with the reason.

    Raises:
        InputError: the bank lacks the skill, it is retired already, the reason is empty, or the disk refuses.
    """
    path = existing_file(bank, name).parent / RETIRED
    told = check_reason(reason)
    try:
        with path.open("x", encoding="utf-8", newline="\n") as opened:
            opened.write(f"{told}\n")
    except FileExistsError as error:
        known = retirements(bank).get(name, "it is a link")
        raise InputError(
            f"{name} is retired already: {known}. Bring it back with `sdar skills restore {name}`."
        ) from error
    except OSError as error:
        raise InputError(f"cannot write {path} ({error}). Make room or name another bank.") from error
    return path


def restore_skill(bank: Path, name: str) -> str:
    """Bring a retired skill of a bank back, as it was, and return why it had been retired.

    Raises:
        InputError: the bank lacks the skill, it is not retired, or the disk refuses.
    """
    path = existing_file(bank, name).parent / RETIRED
    known = retirements(bank)
    if name not in known:
        retired = f"retired are: {', '.join(known)}" if known else "no skill of it is"
        raise InputError(f"{name} of {bank} is not retired; {retired}. See `sdar skills list`.")
    try:
        path.unlink()
    except OSError as error:
        raise InputError(f"cannot remove {path} ({error}).") from error
    return known[name]


def check_reason(reason: str, missing: str = _NO_REASON) -> str:
    """Return a reason in one line; `missing` is the message where there is none.

    Raises:
        InputError: it is empty.
    """
    told = " ".join(reason.split())
    if not told:
        raise InputError(missing)
    return told


def _reason(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {path} ({error}).") from error
    return check_reason(
        checked_text(content, path),
        f"{path} is empty; it must say why the skill is retired. Write the reason into it, or remove it "
        "to bring the skill back.",
    )
