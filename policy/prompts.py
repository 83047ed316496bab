"""What a chat model is told: the environment's prompt files and the action format.

An environment has `prompts/system.md` (rules and goals) and `prompts/actions.md` (the actions, with an
example). It may have its own `task.md`, `turn.md` and `skills.md`; those beside this module are the defaults.
A policy of a store keeps the result in `dialogue.json`, so that it is asked as it was trained.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sdar.schemas.config import ActionFormat
from sdar.schemas.errors import InputError

FORMATS = Path(__file__).parent / "formats"
FILE = "dialogue.json"
REQUIRED = ("system.md", "actions.md")


@dataclass(frozen=True)
class Prompts:
    """The texts around goal, observations and skills.

    `system` is the system message, empty for none; `task` holds `{goal}` and `turn` `{observation}`; `skills`
    stands before the skill block.
    """

    system: str = ""
    task: str = "{goal}"
    turn: str = "{observation}"
    skills: str = ""
    action_format: ActionFormat = "plain"


def read_prompts(folder: Path, action_format: ActionFormat) -> Prompts:
    """Return the prompts of an environment from its folder `prompts`.

    Raises:
        InputError: a file is missing, or lacks its placeholder.
    """
    missing = [name for name in REQUIRED if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"chat models need the environment's prompts, but {folder} has no {', '.join(missing)}; "
            "write system.md (rules and goals) and actions.md (the actions, with an example)"
        )
    parts = [*(folder / name for name in REQUIRED), FORMATS / f"{action_format}.md"]
    return Prompts(
        system="\n\n".join(_text(path) for path in parts),
        task=_with(_own(folder, "task.md"), "{goal}"),
        turn=_with(_own(folder, "turn.md"), "{observation}"),
        skills=_text(_own(folder, "skills.md")),
        action_format=action_format,
    )


def _own(folder: Path, name: str) -> Path:
    return folder / name if (folder / name).is_file() else FORMATS / name


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _with(path: Path, placeholder: str) -> str:
    text = _text(path)
    if text.count(placeholder) != 1:
        raise InputError(f"{path} must hold {placeholder} once; found {text.count(placeholder)} times")
    return text


def save_prompts(folder: Path, prompts: Prompts) -> None:
    """Write prompts into a policy folder."""
    text = json.dumps(asdict(prompts), indent=1, ensure_ascii=False)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def load_prompts(folder: Path) -> Prompts:
    """Return the prompts of a policy folder; a model that was only downloaded has none.

    Raises:
        InputError: the file is malformed.
    """
    path = folder / FILE
    if not path.is_file():
        return Prompts()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(value, str) for value in values.values()):
            raise TypeError("a value is no text")
        return Prompts(**values)
    except (ValueError, TypeError, AttributeError) as error:
        names = ", ".join(field.name for field in fields(Prompts))
        raise InputError(f"{path} is malformed ({error}); allowed: texts named {names}") from error
