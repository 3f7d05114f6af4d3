"""The report of a real run in headless Chromium, from the file alone: colours, width, keyboard, and no request."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.browser import Browser, browser
from pipelines.cli import wayline

_TAB, _ENTER = ("Tab", 9), ("Enter", 13, "\r")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, tiny_out: Path) -> str:
    target = tmp_path_factory.mktemp("report") / "report.html"
    done = CliRunner().invoke(wayline, ["report", "--out", str(tiny_out), "--to", str(target)], catch_exceptions=False)
    assert done.exit_code == 0
    return target.as_uri()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs the package chromium")
    with browser(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1366, 390])
def test_every_text_of_the_report_stands_out_and_it_is_no_wider_than_the_window(
    page: Browser, report: str, scheme: str, width: int, contrast: Callable[[str, str], float]
) -> None:
    page.look(width, 768, scheme)
    page.open(report)
    page.value("document.querySelectorAll('details').forEach(one => { one.open = true })")
    pairs = page.text_colours()
    assert len(pairs) >= 2, "its style is allowed by its own policy"
    for pair in pairs:
        assert contrast(*pair.split()) >= 4.5, pair
    paper = page.value("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.value("document.documentElement.scrollWidth <= window.innerWidth")


def test_the_report_is_read_by_the_keyboard_alone(page: Browser, report: str) -> None:
    page.open(report)
    page.press(*_TAB)
    assert page.value("document.activeElement.matches('a.skip')"), "it comes first"
    page.press(*_ENTER)
    assert page.value("document.activeElement.id") == "content"
    for _ in range(4):
        page.press(*_TAB)
        if page.value("document.activeElement.matches('summary')"):
            break
    page.press(*_ENTER)
    assert page.value("document.activeElement.parentElement.open")
    wide = "[...document.querySelectorAll('.wide')].filter(one => one.scrollWidth > one.clientWidth)"
    assert page.value(f"{wide}.every(one => one.tabIndex === 0)")


def test_links_of_the_report_lead_to_its_sections(page: Browser, report: str) -> None:
    page.open(report)
    targets = page.value("[...document.querySelectorAll('nav a')].map(one => one.getAttribute('href'))")
    assert targets
    assert page.value(f"{targets}.every(one => document.querySelector(one))")


def test_the_report_asks_for_nothing_but_itself_and_its_console_is_silent(page: Browser, report: str) -> None:
    page.open(report)
    assert set(page.requests) <= {report, "data:,"}
    assert page.errors == []
