"""`sdar report`: everything about a run in one HTML file that needs no network."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdar.flows.commands.options import STORE, RunOption, StoreOption, find_run, read_store
from sdar.flows.output import replace_text, size
from sdar.schemas.errors import InputError
from sdar.schemas.lineage import RunRecord

if TYPE_CHECKING:
    from sdar.storage import Store

EPISODES = 6


def report(
    run: RunOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; by default STORE/reports/RUN.html.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open it in the web browser.")] = False,
    episodes: Annotated[
        int, typer.Option("--episodes", min=0, help="Show so many episodes token by token.")
    ] = EPISODES,
    episode: Annotated[
        list[str] | None,
        typer.Option("--episode", metavar="ID", help="Show this one in any case. Repeatable."),
    ] = None,
    round_: Annotated[
        int | None, typer.Option("--round", min=1, help="Choose the episodes from this round only.")
    ] = None,
    store: StoreOption = STORE,
) -> None:
    """Write one HTML file about a run: verdict, curves, tokens, skills, time; also while it is going."""
    opened = read_store(store)
    file = write_report(opened, find_run(opened, run), out, episodes, episode or (), round_)
    typer.echo(f"Wrote {file} ({size(file.stat().st_size)}).")
    if open_ and not webbrowser.open(file.as_uri()):
        typer.echo("No web browser was found; open the file yourself.", err=True)


def write_report(
    store: Store,
    run: RunRecord,
    out: Path | None = None,
    episodes: int = EPISODES,
    episode: Sequence[str] = (),
    round_number: int | None = None,
) -> Path:
    """Write the report of a run and return its file, by default `reports/RUN.html` in the store.

    Args:
        store: holds the run; it is only read.
        run: the run.
        out: another file.
        episodes: how many episodes to show token by token.
        episode: ids of some that are shown in any case.
        round_number: choose the episodes from this round only.
    """
    from sdar.flows.report.page import page
    from sdar.tasks.report_data import read_report
    from sdar.tasks.report_episodes import chosen_episodes

    shown = chosen_episodes(store, run.id, episodes, episode, round_number)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    text = page(read_report(store, run), shown, store.path, now)
    file = (out or store.path / "reports" / f"{run.id}.html").absolute()
    _write(file, text)
    return file


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        replace_text(file, text)
    except OSError as error:
        raise InputError(f"cannot write {file} ({error}). Name another file with --out.") from error
