"""The documentation as `make docs` builds it, opened from the disk in a headless Chromium."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import WAIT, Browser, chromium

ROOT = Path(__file__).parents[2]
PROGRAM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="there is no `chromium` on the path"),
    pytest.mark.skipif(importlib.util.find_spec("material") is None, reason="needs the extra `docs`"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, with every warning as an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    built = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": ".links"}, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(str(PROGRAM)) as opened:
        yield opened


def own(browser: Browser) -> bool:
    """Say whether everything that was asked for lies on the disk or in the page itself."""
    return all(address.startswith(("file:", "data:")) for address in browser.requests)


@pytest.mark.parametrize("width", [1300, 360])
def test_every_page_opens_offline_and_fits(browser: Browser, site: Path, width: int) -> None:
    # Pages of studies are not made here, and the page for wrong addresses is one that only servers show.
    pages = [page for page in sorted(site.rglob("*.html")) if page.name not in ("404.html", "index.html")]
    assert len(pages) > 25
    for page in (site / "index.html", *pages):
        browser.open(page, width)
        assert browser.value("document.documentElement.scrollWidth") <= width, page
        assert own(browser), (page, browser.requests)
        assert browser.faults == [], page


def test_formulas_and_the_drawing_are_in_the_page(browser: Browser, site: Path) -> None:
    browser.open(site / "algorithms.html", 1300)
    assert browser.value("document.querySelectorAll('math mfrac').length") >= 2
    assert browser.value("document.querySelector('math').getBoundingClientRect().height") > 20
    colours = []
    for dark in (False, True):
        browser.open(site / "concepts.html", 1300, dark=dark)
        colours.append(browser.value("getComputedStyle(document.querySelector('.drawing text')).fill"))
    assert colours == ["rgb(31, 41, 51)", "rgb(228, 233, 238)"]


def test_the_search_finds_without_a_server(browser: Browser, site: Path) -> None:
    browser.open(site / "index.html", 1300)
    browser.call("Emulation.setFocusEmulationEnabled", enabled=True)
    browser.value("document.querySelector('[data-md-component=search-query]').focus()")
    browser.call("Input.insertText", text="misleading skills")
    browser.call("Input.dispatchKeyEvent", type="keyUp", key="s")
    deadline = time.monotonic() + WAIT
    links = "Array.from(document.querySelectorAll('.md-search-result__link')).map((link) => link.href)"
    while not browser.value(links):
        assert time.monotonic() < deadline, "the search found nothing"
        time.sleep(0.1)
    assert any(re.search(r"/skills\.html\?h=.*#misleading-skills$", link) for link in browser.value(links))
    assert own(browser)
    assert browser.faults == []
