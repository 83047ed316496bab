"""`sdar skills add`, `edit` and `remove`: change a bank of one's own."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdar.flows.commands.options import EnvOption, FileOption, JsonOption, SetOption
from sdar.flows.commands.skills_bank import BankOption, TypesOption, own_bank, settings
from sdar.flows.output import print_json
from sdar.schemas.errors import InputError

if TYPE_CHECKING:
    from sdar.skills.files import SkillFile

NameArgument = Annotated[str, typer.Argument(help="Name of the skill: lower-case words with hyphens.")]
DescriptionOption = Annotated[
    str | None, typer.Option("--description", help="What retrieval compares goals with.")
]
BodyOption = Annotated[str | None, typer.Option("--body", help="What the teacher reads.")]
FromOption = Annotated[
    Path | None, typer.Option("--from", metavar="FILE", help="A whole SKILL.md instead, or - to read it.")
]


def add(
    name: NameArgument,
    description: DescriptionOption = None,
    body: BodyOption = None,
    from_: FromOption = None,
    task_type: TypesOption = None,
    bank: BankOption = None,
    config: FileOption = None,
    env: EnvOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Add a skill to a bank; without --task-type it is a general one, for all tasks."""
    from sdar.skills.compose import compose_text
    from sdar.skills.markdown import Content
    from sdar.skills.writing import skill_path

    chosen = settings(bank, config, env, set_)
    folder = own_bank(chosen)
    if skill_path(folder, name).parent.exists():
        raise InputError(f"{folder} has a skill {name!r} already. Change it with `sdar skills edit {name}`.")
    if from_ is not None:
        _refuse_parts(description, body, task_type)
        text = _read(from_)
    elif description is None or body is None:
        raise InputError("a new skill needs --description and --body, or --from with a whole SKILL.md.")
    else:
        text = compose_text(Content(name, description, chosen.env.name, tuple(task_type or ()), body))
    _store(folder, name, text, "added", json_)


def edit(
    name: NameArgument,
    description: DescriptionOption = None,
    body: BodyOption = None,
    from_: FromOption = None,
    task_type: TypesOption = None,
    bank: BankOption = None,
    config: FileOption = None,
    env: EnvOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Change a skill: with the given parts, or in $VISUAL or $EDITOR. A text with faults changes nothing."""
    from sdar.skills.compose import changed_text
    from sdar.skills.writing import existing_file

    folder = own_bank(settings(bank, config, env, set_))
    path = existing_file(folder, name)
    if from_ is not None:
        _refuse_parts(description, body, task_type)
        text = _read(from_)
    elif (description, body, task_type) == (None, None, None):
        _edit_copy(folder, name, path, json_)
        return
    else:
        text = changed_text(_read(path), description, body, task_type)
    _store(folder, name, text, "changed", json_)


def remove(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of the skills.")],
    bank: BankOption = None,
    config: FileOption = None,
    env: EnvOption = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Remove skills from a bank; they are kept in its folder .removed and can be imported again."""
    from sdar.skills.writing import remove_skills

    folder = own_bank(settings(bank, config, env, set_))
    kept = remove_skills(folder, names)
    restore = f"sdar skills import {shlex.quote(str(kept))} --bank {shlex.quote(str(folder))}"
    if json_:
        print_json({"removed": names, "kept": kept, "restore": restore})
        return
    typer.echo(f"Removed {', '.join(names)} from {folder}. Bring back with: {restore}")


def _edit_copy(folder: Path, name: str, path: Path, json_: bool) -> None:
    """Let an editor change a copy; a copy with faults is kept for the next try."""
    before = path.read_bytes()
    place = Path(tempfile.mkdtemp(prefix="sdar-edit-"))
    copy = place / path.name
    copy.write_bytes(before)
    try:
        _open_editor(copy, name)
    finally:
        # Until something was written, there is nothing to keep.
        unchanged = copy.is_file() and copy.read_bytes() == before
        if unchanged:
            shutil.rmtree(place)
    if unchanged:
        typer.echo(f"{name} stays as it was.")
        return
    again = f"sdar skills edit {name} --from {shlex.quote(str(copy))} --bank {shlex.quote(str(folder))}"
    if path.read_bytes() != before:
        raise InputError(f"{path} was changed by somebody else meanwhile. Replace it with: {again}")
    try:
        _store(folder, name, _read(copy), "changed", json_)
    except InputError as error:
        raise InputError(f"{error}\n{path} stays as it was. Correct your copy, then: {again}") from error
    shutil.rmtree(place)


def _open_editor(file: Path, name: str) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor or not sys.stdin.isatty():
        found = "no terminal" if editor else "neither VISUAL nor EDITOR is set"
        raise InputError(
            f"cannot open an editor: {found}. Give the change with --description, --body or --task-type, "
            f"or a whole file: `sdar skills edit {name} --from SKILL.md`."
        )
    try:
        subprocess.run([*shlex.split(editor), str(file)], check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise InputError(
            f"the editor {editor!r} failed ({error}); nothing was changed. Set EDITOR to another one."
        ) from error


def _store(folder: Path, name: str, text: str, done: str, json_: bool) -> None:
    """Write a skill if its text is right, and say what happened."""
    from sdar.skills.files import SkillFile, read_bytes, refusal
    from sdar.skills.writing import skill_path, write_skills

    path = skill_path(folder, name)
    # Bytes of the command line that are not UTF-8 are bytes again, and refused as those of a file.
    found = read_bytes(text.encode("utf-8", "surrogateescape"), path, name)
    if not isinstance(found, SkillFile):
        raise refusal(found)
    write_skills(folder, {name: text})
    if json_:
        print_json(_row(found, done))
        return
    typer.echo(f"{name} {done}: {path}")


def _row(file: SkillFile, done: str) -> dict[str, object]:
    return {"outcome": done, "file": file.path, **file.skill.model_dump(mode="json")}


def _read(file: Path) -> str:
    """Return a file or standard input as text; its content is checked later."""
    from sdar.skills.files import MAX_FILE_BYTES, checked_text

    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with file.open("rb") as opened:
                data = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}. Name a SKILL.md with --from.") from error
    return checked_text(data, file)


def _refuse_parts(description: str | None, body: str | None, types: Sequence[str] | None) -> None:
    if (description, body, types) != (None, None, None):
        raise InputError("--from gives the whole skill; leave --description, --body and --task-type out.")
