"""Pictures of the terminal for these pages: what commands write in a pseudo-terminal, drawn as SVG.

`python docs/_pictures.py` writes `assets/terminal-run.svg`, the live table of a run in a temporary store, and
`assets/terminal-episode.svg`, the beginning of one of its episodes. It takes as long as the run. Nothing is
written by hand: colours and figures are those of the commands.
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

ASSETS = Path(__file__).with_name("assets")
WIDTH, HEIGHT = 110, 40
SHOWN = 34
"""Lines of an episode."""
ROUNDS = 12
# Without the fonts that rich would fetch from the network: these pages need none.
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
_REDRAWN = re.compile(r"(?:\r?\x1b\[\dA|\r?\x1b\[2K)+")
"""What a live display writes before it draws its lines anew."""
_CURSOR = re.compile(r"\x1b\[\?25[lh]")
_STRIKING = """
    SELECT episode_id FROM token_gap WHERE round = 5 AND turn < 4
    GROUP BY episode_id ORDER BY count(*) FILTER (gap > 0.5) DESC, sum(abs(gap)) DESC, episode_id LIMIT 1"""


def recorded(*arguments: str) -> str:
    """Run `sdar` in a terminal of WIDTH columns and return all that it wrote."""
    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "sdar", *arguments]
    with subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment) as process:
        os.close(child)
        written = bytearray()
        while True:
            try:
                written += os.read(parent, 65536)
            except OSError:  # the other end was closed
                break
    os.close(parent)
    if process.returncode:
        sys.exit(f"{shlex.join(command)} ended with {process.returncode}:\n{written.decode()}")
    return written.decode().replace("\r\n", "\n")


def last_frame(written: str, mark: str) -> str:
    """Return the last picture of a live display that has a mark."""
    frames = _REDRAWN.split(_CURSOR.sub("", written))
    return next(frame for frame in reversed(frames) if mark in frame)


def draw(name: str, command: str, output: str) -> None:
    """Write a command and its output as a picture."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}", style="bold"))
    console.print(Text.from_ansi(output.rstrip("\n")))
    console.save_svg(str(ASSETS / f"{name}.svg"), title="", code_format=FORMAT, unique_id=name)


def draw_run(store: Path) -> None:
    """Make a run and draw it as it is shown before it ends."""
    written = recorded("run", "--rounds", str(ROUNDS), "--store", str(store))
    draw("terminal-run", f"sdar run --rounds {ROUNDS}", last_frame(written, "so far"))


def draw_episode(store: Path) -> None:
    """Draw the beginning of the episode of round 5 in which the teacher endorses most tokens."""
    option = ("--store", str(store))
    (found,) = json.loads(recorded("sql", _STRIKING, "--format", "json", *option))
    lines = recorded("episodes", "show", found["episode_id"], *option).split("\n")
    draw("terminal-episode", f"sdar episodes show {found['episode_id']}", "\n".join([*lines[:SHOWN], "..."]))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        draw_run(Path(folder, "store"))
        draw_episode(Path(folder, "store"))
