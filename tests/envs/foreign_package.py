"""Packages of other people, installed for a test: modules and the entry points that register environments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(site: Path, name: str, modules: Mapping[str, str], environments: Mapping[str, str]) -> Path:
    """Write a package as pip would leave it in a folder of modules.

    Args:
        site: the folder, to be put on the path.
        name: of the distribution.
        modules: source by file name relative to `site`.
        environments: `module:object` by registered name.
    """
    for file, source in modules.items():
        path = site / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{registered} = {value}" for registered, value in environments.items()]
    (info / "entry_points.txt").write_text("\n".join(["[sdar.environments]", *lines, ""]))
    return site
