"""`sdar watch`: a run that goes on elsewhere, seen from a second terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from sdar.flows.commands.options import STORE, JsonOption, StoreOption, read_store

if TYPE_CHECKING:
    from sdar.flows.watching import Observer, Scene

LOOK_S = 1.0
"""Seconds between two looks at a store."""


def watch(
    once: Annotated[bool, typer.Option("--once", help="Show how it is now, and end.")] = False,
    store: StoreOption = STORE,
    json_: JsonOption = False,
) -> None:
    """Follow the run of a store from another terminal; Ctrl-C ends only the watching.

    Exit code 1 when the run failed, was interrupted or died.
    """
    from sdar.flows.terminal import console_for, is_terminal
    from sdar.flows.watching import Observer

    observer = Observer(read_store(store))
    if json_:
        scene = _follow(observer, _json_line, once=once)
    elif is_terminal(sys.stdout) and not once:
        scene = _follow_live(observer)
        _close(scene)
    elif once:
        from sdar.flows.watch_view import picture

        scene, console = observer.look(), console_for(sys.stdout)
        console.print(picture(scene, console))
        _close(scene)
    else:
        scene = _follow(observer, _text_line, once=False)
    if scene.ended and scene.status != "done":
        raise typer.Exit(1)


def _follow(observer: Observer, show: Callable[[Scene], None], *, once: bool) -> Scene:
    """Show a scene whenever it has changed, until the run has ended."""
    from sdar.flows.watch_view import changed

    shown = None
    while True:
        scene = observer.look()
        if changed(scene) != shown:
            show(scene)
            shown = changed(scene)
        if scene.ended or once:
            return scene
        time.sleep(LOOK_S)


def _follow_live(observer: Observer) -> Scene:
    """Keep a picture up to date until the run has ended; the last one stays on the screen."""
    from rich.live import Live

    from sdar.flows.terminal import console_for
    from sdar.flows.watch_view import picture

    console = console_for(sys.stdout)
    scene = observer.look()
    with Live(picture(scene, console), console=console, auto_refresh=False) as live:
        while not scene.ended:
            time.sleep(LOOK_S)
            scene = observer.look()
            live.update(picture(scene, console), refresh=True)
    return scene


def _close(scene: Scene) -> None:
    """Print, in lines that can be copied, how a run ended and how to go on."""
    from sdar.flows.watch_view import sentences

    if scene.ended:
        print("\n".join(sentences(scene)))


def _text_line(scene: Scene) -> None:
    from sdar.flows.watch_view import line

    print(line(scene), flush=True)


def _json_line(scene: Scene) -> None:
    from sdar.flows.display import write_json
    from sdar.flows.watch_view import facts

    write_json(sys.stdout, facts(scene))
