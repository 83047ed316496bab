"""The report in a headless Chromium: by day and in dark mode, on a desk and on a phone, with the keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Browser, chromium
from report_store import report_store

from sdar.flows.report.page import page
from sdar.tasks.report_data import read_report
from sdar.tasks.report_episodes import chosen_episodes

PROGRAM = shutil.which("chromium")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="there is no `chromium` on the path"),
]
DESK, PHONE = 1200, 360
LUMINANCE = """(rgb) => rgb.map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0)"""
# The colours as they are painted, on a canvas of one point: styles may mix them in any notation.
CONTRAST = f"""(selector) => {{
    const luminance = {LUMINANCE}, canvas = document.createElement("canvas").getContext("2d");
    const painted = (colours) => {{
        for (const colour of colours) {{ canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }}
        return luminance(Array.from(canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)));
    }};
    const style = (element) => getComputedStyle(element);
    const paper = style(document.body).backgroundColor;
    return Array.from(document.querySelectorAll(selector)).map((element) => {{
        const below = [paper, style(element).backgroundColor];
        const pair = [painted(below), painted([...below, style(element).color])].sort((a, b) => b - a);
        return (pair[0] + 0.05) / (pair[1] + 0.05);
    }});
}}"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a store whose text attacks the page."""
    store = report_store(tmp_path_factory.mktemp("report") / "store")
    data = read_report(store, store.run("r1"))
    text = page(data, chosen_episodes(store, "r1", 6), store.path, "2026-01-01T00:00:00+00:00")
    made = store.path / "r1.html"
    made.write_text(text, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(str(PROGRAM)) as opened:
        yield opened


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [DESK, PHONE])
def test_the_page_loads_fits_and_can_be_read(browser: Browser, file: Path, width: int, dark: bool) -> None:
    browser.open(file, width, dark=dark)
    assert browser.value("document.documentElement.scrollWidth") <= width
    assert browser.value("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    assert browser.value("document.querySelectorAll('.chart svg path').length") > 50
    for selector in ("p, td, th, h1, h2, h3, a, summary, dt, dd, figcaption, .better, .worse", ".t"):
        contrasts: list[float] = browser.value(f"({CONTRAST})({selector!r})")
        assert contrasts
        assert min(contrasts) >= 4.5, selector  # WCAG 2.2, 1.4.3
    assert browser.value("window.hacked") is None
    assert browser.requests == [file.as_uri()]
    assert browser.faults == []


def test_the_page_is_dark_in_dark_mode(browser: Browser, file: Path) -> None:
    colours = []
    for dark in (False, True):
        browser.open(file, DESK, dark=dark)
        line = "getComputedStyle(document.querySelector('.chart svg path[style*=\"--c1\"]')).stroke"
        colours.append(
            (browser.value("getComputedStyle(document.body).backgroundColor"), browser.value(line))
        )
    assert colours == [("rgb(255, 255, 255)", "rgb(11, 99, 176)"), ("rgb(21, 24, 28)", "rgb(116, 185, 255)")]


def chosen(browser: Browser) -> Any:
    return browser.value(
        "document.activeElement.className.startsWith('t') && document.activeElement.textContent"
    )


def test_tokens_are_read_with_the_keyboard(browser: Browser, file: Path) -> None:
    browser.open(file, DESK)
    browser.value("document.querySelector('.scale').previousElementSibling.tabIndex = -1")
    browser.value("document.querySelector('.scale').previousElementSibling.focus()")
    browser.press("Tab")
    assert chosen(browser) == "go to "
    browser.press("ArrowRight")
    assert str(chosen(browser)).startswith("drawer 2")
    said = browser.value("document.querySelector('.values').textContent")
    assert (
        "gap +2.00 nats, gate 1.00: student 5.0\N{NO-BREAK SPACE}%, teacher 36.8\N{NO-BREAK SPACE}%" in said
    )
    assert "named in s1" in said
    assert browser.value("document.querySelectorAll('.named').length") == 1
    browser.press("ArrowDown")
    assert chosen(browser) == "<|end|>"
    assert browser.value("document.querySelectorAll('.named').length") == 0
    browser.press("Tab")  # one stop an episode: the next one is what follows its tokens
    assert chosen(browser) is False
    assert browser.faults == []


def test_pointing_at_a_token_shows_its_values(browser: Browser, file: Path) -> None:
    browser.open(file, PHONE)
    place = browser.value(
        "(() => { const t = document.querySelectorAll('.episode .t')[1]; t.scrollIntoView({block: 'center', "
        "behavior: 'instant'}); const r = t.getClientRects()[0]; return [r.x + 5, r.y + 5]; })()"
    )
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    assert "gap +2.00 nats" in browser.value("document.querySelector('.values').textContent")
    assert browser.faults == []
