"""What mkdocs does beside rendering: pages made from the code, formulas, drawings in the page's colours."""

from __future__ import annotations

import posixpath
import re
from html import escape
from pathlib import Path
from typing import Any

from _reference import PAGES
from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parent
LINK = re.compile(r"(?<=\]\()[^)#:\s]+")
PICTURE = re.compile(r'<img alt="([^"]*)" src="([^"]*?)([\w-]+)\.svg"[^>]*>')
# Places of the repository that the site shows as a page.
SHOWN = {"docs/queries": "reference/queries.md", "CONTRIBUTING.md": "contributing.md"}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Render ```math blocks at build time, and put pages that the navigation forgot under "How to"."""
    math = {"name": "math", "class": "math", "format": _formula}
    config.mdx_configs.setdefault("pymdownx.superfences", {})["custom_fences"] = [math]
    named = set(re.findall(r"[\w/-]+\.md", str(config.nav)))
    (guides,) = [part["How to"] for part in config.nav or [] if "How to" in part]
    guides += sorted(file.name for file in DOCS.glob("*.md") if file.name not in named)
    return config


def _formula(source: str, *_: Any, **__: Any) -> str:
    return f'<div class="math">{convert(source, display="block")}</div>'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference, the rules for contributors, and whatever of the repository the pages link to."""
    for path, write in PAGES.items():
        files.append(File.generated(config, path, content=write()))
    rules = (DOCS.parent / "CONTRIBUTING.md").read_text(encoding="utf-8").replace("](docs/", "](")
    files.append(File.generated(config, "contributing.md", content=rules))
    for page in files.documentation_pages():
        for link in LINK.findall(page.content_string):
            target = _outside(page.src_uri, link)
            if target and not files.get_file_from_path(target):
                source = DOCS.parent / target.removeprefix("repository/").removesuffix(".txt")
                if source.is_file():
                    files.append(File.generated(config, target, abs_src_path=str(source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave `docs/` to the copies in the site."""

    def lead(match: re.Match[str]) -> str:
        target = _outside(page.file.src_uri, match[0])
        return posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".") if target else match[0]

    return LINK.sub(lead, markdown)


def _outside(page: str, link: str) -> str:
    """Return where the site has what a link outside of `docs/` leads to, or nothing for any other link."""
    place = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    if place in SHOWN:
        return SHOWN[place]
    if place.startswith(("docs/", "..")):
        return ""
    # Browsers show text, and download what they do not know.
    return f"repository/{place}" + ("" if place.endswith((".html", ".json", ".png")) else ".txt")


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put drawings into the page itself, where their colours are those of the page."""
    return PICTURE.sub(lambda match: _drawing(*match.groups()), html)


def _drawing(alt: str, folder: str, name: str) -> str:
    text = (DOCS / "assets" / f"{name}.svg").read_text(encoding="utf-8")
    return text.replace("<svg ", f'<svg aria-label="{escape(alt)}" ', 1)
