"""The worked example of docs/environments.md, as its reader would have it installed."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "environments.md"
SHELVES = {"cups": 4, "lamps": 11, "ropes": 7, "bells": 1, "masks": 9, "tents": 6, "maps": 12, "drums": 2}


def block(language: str, word: str) -> str:
    """The only block of the document in a language that has a word."""
    blocks = re.findall(rf"```{language}\n(.*?)```", DOCUMENT.read_text(), re.S)
    (found,) = [text for text in blocks if word in text]
    return str(found)


def install_documented(site: Path) -> None:
    """Write the package of the example with its eight skills, and what pip makes of its pyproject.toml."""
    package = site / "warehouse"
    package.mkdir()
    (package / "__init__.py").write_text(block("python", "KIND ="))
    skill = block("markdown", "home-of-cups")
    for thing, number in SHELVES.items():
        folder = package / "skills" / f"home-of-{thing}"
        folder.mkdir(parents=True)
        text = skill.replace("cups", thing).replace("shelf 4", f"shelf {number}")
        (folder / "SKILL.md").write_text(text)
    project = tomllib.loads(block("toml", "entry-points"))["project"]
    info = site / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    ((group, points),) = project["entry-points"].items()
    lines = [f"{name} = {value}" for name, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines, ""]))
