"""Banks on the disk with files beside their skills."""

from __future__ import annotations

from pathlib import Path


def skill(folder: Path, name: str = "cups") -> Path:
    """Make a bank with one skill and files beside it; return the skill's folder."""
    home = folder / name
    (home / "scripts").mkdir(parents=True)
    (home / "SKILL.md").write_text(f"---\nname: {name}\ndescription: Where {name} are.\n---\nIn cabinet 3.\n")
    (home / "scripts" / "run.py").write_bytes(b"print(1)\r\n\xff")
    (home / "notes.txt").write_text("mine")
    return home
