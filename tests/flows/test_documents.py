"""The pages that are made from the code say all of it, and links between documents lead somewhere."""

from __future__ import annotations

import html
import importlib.util
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb
import pytest

from sdar.flows.cli import app
from sdar.rl.methods import METHODS
from sdar.schemas.resolve import settings
from sdar.storage.migrate import migrate

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def pages() -> Mapping[str, Callable[[], str]]:
    """Load the module that mkdocs loads by its path too."""
    spec = importlib.util.spec_from_file_location("reference_pages", ROOT / "docs" / "_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Mapping[str, Callable[[], str]] = module.PAGES
    return found


PAGES = pages()


def headings(page: str) -> list[str]:
    return re.findall(r"^##+ (.+)$", PAGES[f"reference/{page}.md"](), re.M)


def rows(page: str) -> list[list[str]]:
    lines = re.findall(r"^\| (`.+) \|$", PAGES[f"reference/{page}.md"](), re.M)
    return [re.split(r" \| ", line) for line in lines]


def test_every_command_has_its_section() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    groups = {group.name for group in app.registered_groups}
    found = headings("cli")
    assert {heading.split()[1] for heading in found} == names | groups
    assert "sdar envs alfworld generate" in found
    assert ["`--store <path>`", r"Folder of the store. \[env var: SDAR_STORE; default: sdar-store]"] in rows(
        "cli"
    )


def test_every_setting_has_its_row() -> None:
    found = rows("settings")
    assert sorted(row[0] for row in found) == sorted(f"`{setting.path}`" for setting in settings())
    (beta,) = [row for row in found if row[0] == "`sdar.beta`"]
    assert beta[1] == "`5.0`"
    assert "`update`" in beta[4]
    assert len(headings("settings")) == len(set(headings("settings")))


def test_every_table_and_column_has_its_row() -> None:
    with duckdb.connect(":memory:") as connection:
        migrate(connection)
        columns = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
        ).fetchall()
    page = PAGES["reference/tables.md"]()
    assert sorted(heading.split()[0] for heading in headings("tables")) == sorted(
        {name for name, _ in columns}
    )
    assert sorted(re.findall(r"^- `(\w+)`", page, re.M)) == sorted(column for _, column in columns)


def test_every_method_and_every_query_has_its_section() -> None:
    assert headings("methods") == list(METHODS)
    assert len(headings("queries")) == len(list((ROOT / "docs" / "queries").glob("*.sql")))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document: Path) -> None:
    """Anchors, and the links into the pages made from the code, are checked by `make docs`."""
    links = re.findall(r"\]\(([^)#:\s]+)[)#]", document.read_text(encoding="utf-8"))
    made = {(ROOT / "docs" / path).resolve() for path in PAGES}
    targets = [(document.parent / link).resolve() for link in links]
    assert [target for target in targets if not target.exists() and target not in made] == []


def test_the_commands_of_the_benchmarks_write_the_results_beside_them() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    found = re.findall(r"`(python benchmarks/(\w+)\.py[^`]*)`,\s+\[JSON\]\(\.\./([^)]+)\)", text)
    assert len(found) == text.count("[JSON]") > 5
    for command, script, result in found:
        assert json.loads((ROOT / result).read_text(encoding="utf-8"))["machine"]["command"] == command
        given = re.search(r"--out (\S+)", command)
        assert (given[1] if given else f"benchmarks/results/{script}.json") == result


def test_the_studies_of_one_pass_say_so_in_their_commands() -> None:
    """They were made before the household's default became three passes, on 22 November 2026."""
    results = sorted((ROOT / "docs" / "results").glob("*/result.json"))
    studies = {file.parent: json.loads(file.read_text(encoding="utf-8")) for file in results}
    early = {
        folder: study["command"]
        for folder, study in studies.items()
        if "--env" not in study["command"] and study["created"] < "2026-11-22T08:29"
    }
    assert {folder.name for folder in early} == {"ablations", "methods", "robustness", "skills", "trust"}
    for folder, command in early.items():
        assert command.endswith(" --set update.epochs=1")
        assert command in (folder / "result.md").read_text(encoding="utf-8")
        assert command in html.unescape((folder / "index.html").read_text(encoding="utf-8"))
