"""What the shell offers on the Tab key: environments, methods, settings with their values, runs, policies.

Every function here runs once for each press of the key, so it imports little, and offers nothing rather than
failing: an error message would end up in the user's command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, MutableMapping
from functools import wraps
from pathlib import Path
from textwrap import shorten

import typer

Offer = tuple[str, str]
"""A word, and what it means; bash shows the word alone."""
Completer = Callable[[typer.Context, str], list[Offer]]

WORDS, INDEX, VARIABLE = "COMP_WORDS", "COMP_CWORD", "_SDAR_COMPLETE"
_SETTING = "_SDAR_COMPLETE_SETTING"
_MEANING = 70
_SAMPLE = 50
_RUNS = f"SELECT id, status || ', ' || method FROM run ORDER BY rowid DESC LIMIT {_SAMPLE}"
_POLICIES = f"""
    SELECT DISTINCT p.id[:12], s.run_id || ', round ' || p.round FROM policy p
    JOIN stage_run s ON s.artifact_id = p.artifact_id ORDER BY 2 DESC LIMIT {_SAMPLE}"""


def silent(completer: Completer) -> Completer:
    """Make a completer offer nothing where it would fail, for instance where there is no store."""

    @wraps(completer)
    def offers(ctx: typer.Context, incomplete: str) -> list[Offer]:
        try:
            offers = completer(ctx, incomplete)
            # Typer breaks longer texts into lines, which the shells would take for further offers.
            return [(word, shorten(meaning, _MEANING, placeholder="…")) for word, meaning in offers]
        except Exception:
            return []

    return offers


def take_setting(environment: MutableMapping[str, str]) -> None:
    """Put together what bash takes apart at `=`, and note the setting whose value is being written.

    Bash gives `--set sdar.gate=ga` as three words and replaces only the last. The other shells give one word
    and replace it; for them nothing is done.

    Args:
        environment: variables of the process; changed in place.
    """
    environment.pop(_SETTING, None)
    if environment.get(VARIABLE) != "complete_bash":
        return
    parts = environment.get(WORDS, "").split("\n")[: int(environment.get(INDEX, "0")) + 1]
    words: list[str] = []
    joined = False
    for part in parts:
        if words and (part == "=" or joined):
            words[-1] += part
            joined = part == "="
        else:
            words.append(part)
    path, equals, value = words[-1].partition("=")
    if equals and words[-2:-1] == ["--set"]:
        environment[_SETTING], words[-1] = path, value
    environment[WORDS], environment[INDEX] = "\n".join(words), str(len(words) - 1)


@silent
def environments(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Offer the names of environments; of those of other packages nothing is imported."""
    return _environments()


@silent
def methods(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Offer the names of methods."""
    return _methods()


@silent
def settings(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Offer settings; with the last one that fits, or behind `=`, what it may be."""
    noted = os.environ.get(_SETTING)
    if noted is not None:
        return list(_values(noted))  # bash
    path, equals, _ = incomplete.partition("=")
    if equals:
        return [(f"{path}={value}", meaning) for value, meaning in _values(path)]
    from sdar.schemas.resolve import settings as known

    found = [each for each in known() if each.path.startswith(incomplete)]
    if len(found) == 1:
        return [(f"{found[0].path}={value}", meaning) for value, meaning in _values(found[0].path)]
    return [(each.path, each.meaning) for each in found]


@silent
def runs(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Offer the ids of runs, the latest first."""
    return _rows(ctx, _RUNS)


@silent
def policies(ctx: typer.Context, incomplete: str) -> list[Offer]:
    """Offer the two names of policies, and the beginnings of their ids."""
    named = [("best", "by the latest verdict"), ("last", "of the latest run")]
    return [*named, *_rows(ctx, _POLICIES)]


def _values(path: str) -> Iterator[Offer]:
    """Yield what a setting may be: its choices, known names, or its default alone."""
    from sdar.schemas.resolve import choices, settings

    named = {"env.name": _environments, "method": _methods}
    if path in named:
        yield from named[path]()
        return
    setting = next((each for each in settings() if each.path == path), None)
    if setting is None:
        return
    yield from ((value, setting.meaning) for value in choices(path))
    if not choices(path):
        yield str(setting.default), f"default; {setting.allowed}"


def _environments() -> list[Offer]:
    from sdar.envs.registry import BUILTIN, environment_names

    return [(name, BUILTIN[name].summary if name in BUILTIN else "") for name in environment_names()]


def _methods() -> list[Offer]:
    from sdar.rl.methods import METHODS

    return [(name, method.summary) for name, method in METHODS.items()]


def _rows(ctx: typer.Context, query: str) -> list[Offer]:
    """Return rows of the store's published copy; the database itself is left alone."""
    from sdar.flows.commands.options import STORE
    from sdar.storage import Store

    folder = ctx.params.get("store") or os.environ.get("SDAR_STORE") or STORE
    table = Store(Path(folder).absolute(), read_only=True).query(query)
    return [(str(first), str(second)) for first, second in zip(*table.to_pydict().values(), strict=True)]
