"""Build hook: presents the top-level folders as the one package `sdar`.

Writes `.links/sdar/` with one symlink per folder; hatchling packs that folder into wheels and points the
editable install at it. Run as a script it does the same: `python hatch_build.py`.
"""

from __future__ import annotations

from pathlib import Path

ROOMS = ("flows", "tasks", "rl", "policy", "envs", "skills", "storage", "schemas")

INIT = '''"""sdar: agents that teach themselves, offline. What is here is explained in docs/python.md."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sdar.envs.registry import register_environment
    from sdar.flows.api import Improvement, improve
    from sdar.schemas.config import RunConfig
    from sdar.schemas.errors import SdarError
    from sdar.storage.reader import StoreReader
    from sdar.storage.reader import open_reader as open_store

__all__ = [
    "Improvement",
    "RunConfig",
    "SdarError",
    "StoreReader",
    "__version__",
    "improve",
    "open_store",
    "register_environment",
]
__version__ = "{version}"

_HOMES = {{
    "Improvement": "sdar.flows.api:Improvement",
    "RunConfig": "sdar.schemas.config:RunConfig",
    "SdarError": "sdar.schemas.errors:SdarError",
    "StoreReader": "sdar.storage.reader:StoreReader",
    "improve": "sdar.flows.api:improve",
    "open_store": "sdar.storage.reader:open_reader",
    "register_environment": "sdar.envs.registry:register_environment",
}}


def __getattr__(name: str) -> object:
    # Imported when asked for: DuckDB would slow down commands that do not read a store.
    if name not in _HOMES:
        raise AttributeError(f"module 'sdar' has no attribute {{name!r}}")
    from importlib import import_module

    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
'''
MAIN = '''"""`python -m sdar` is the `sdar` command."""

from sdar.flows.cli import main

if __name__ == "__main__":
    main()
'''


def write_links(root: Path, version: str) -> Path:
    """Write `.links/sdar/` below `root` and return `.links`."""
    links = root / ".links"
    package = links / "sdar"
    package.mkdir(parents=True, exist_ok=True)
    # The ignore file sits inside: naming .links in the root .gitignore would empty the wheel.
    (links / ".gitignore").write_text("*\n")
    (package / "__init__.py").write_text(INIT.format(version=version))
    (package / "__main__.py").write_text(MAIN)
    (package / "py.typed").touch()
    for room in ROOMS:
        link = package / room
        if not link.is_symlink():
            link.symlink_to(Path("..") / ".." / room, target_is_directory=True)
    return links


def _version(root: Path) -> str:
    import tomllib

    version: str = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    return version


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run as a script, outside a build
    pass
else:

    class LinkRooms(BuildHookInterface):  # type: ignore[misc]
        """Writes the links before hatchling collects files."""

        def initialize(self, version: str, build_data: dict[str, object]) -> None:
            """Called by hatchling before each build."""
            write_links(Path(self.root), self.metadata.version)


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    write_links(here, _version(here))
