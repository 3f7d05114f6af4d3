"""The board of a real run in headless Chromium: keyboard, colours, what it asks for, and what is new."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from benchmarks.browser import Browser, browser
from pipelines.definitions import Definitions
from pipelines.run import run
from pipelines.run_options import RunOptions
from pipelines.stream import stream
from pipelines.stream_plan import StreamOptions
from pipelines.table_sink import DIRECT
from reports.asked import person_asked
from reports.lookup import JourneyTables
from reports.page.renewal import state_of
from reports.page.sections import sections
from reports.page.story import person_html
from sources.simulator.config import WorldConfig
from sources.simulator.world import simulate
from transforms.tables.views import open_views

Served = Callable[..., AbstractContextManager[int]]
Contrast = Callable[[str, str], float]
_PATIENCE = 90.0
"""Seconds: sections rest between two looks, the longer the slower the machine is."""
_CUT = """[...document.querySelectorAll('.wide')].filter(one => one.scrollWidth > one.clientWidth + 1
  && !one.closest('details:not([open])')).map(one => one.getAttribute('aria-label'))"""
_TAB, _ENTER = ("Tab", 9), ("Enter", 13, "\r")


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory, tiny_out: Path) -> Path:
    """A copy of the tiny run that a test may add to."""
    out = tmp_path_factory.mktemp("growing") / "out"
    shutil.copytree(tiny_out, out)
    return out


@pytest.fixture(scope="module")
def port(growing: Path, definitions: Definitions, served: Served) -> Iterator[int]:
    def story(asked: str) -> Callable[[], str]:
        with closing(JourneyTables(growing, definitions.tables)) as tables:
            told = person_html(person_asked(tables, asked, definitions.config.identity, None))
        return lambda: told

    open_views(growing, definitions.tables).close()
    with served(
        sections(definitions.tables),
        story,
        state=lambda: state_of(growing),
        connect=lambda: open_views(growing, definitions.tables),
    ) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs the package chromium")
    with browser(program, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def _board(page: Browser, port: int) -> None:
    page.open(f"http://127.0.0.1:{port}/")
    page.until(f"document.querySelectorAll('main > section[data-version]').length === {len(sections(()))}")
    page.until("!document.querySelector('[aria-busy]')")


def _skip_to_content(page: Browser, port: int) -> None:
    _board(page, port)
    page.press(*_TAB)
    assert page.value("document.activeElement.matches('a.skip')"), "it comes first"
    page.press(*_ENTER)
    assert page.value("document.activeElement.id") == "content"


def test_the_skip_link_leads_past_the_head_by_the_keyboard_alone(page: Browser, port: int) -> None:
    _skip_to_content(page, port)
    page.press(*_TAB)
    assert page.value("document.activeElement.closest('main section') !== null"), "the next one is in the content"


def test_a_person_is_found_by_the_keyboard_alone(
    page: Browser, port: int, growing: Path, definitions: Definitions
) -> None:
    with closing(JourneyTables(growing, definitions.tables)) as tables:
        row = tables.first("journeys", "TRUE", order="events DESC, person_id")
    assert row is not None
    _board(page, port)
    for _ in range(10):
        page.press(*_TAB)
        if page.value("document.activeElement.id") == "id":
            break
    page.write(row["person_id"])
    page.press(*_ENTER)
    page.until("location.pathname === '/find' && document.querySelector('#timeline details')")
    assert row["person_id"] in page.value("document.querySelector('h2').textContent")
    for _ in range(30):
        page.press(*_TAB)
        if page.value("document.activeElement.closest('#timeline') !== null"):
            break
    assert not page.value("document.activeElement.parentElement.open")
    page.press(*_ENTER)
    assert page.value("document.activeElement.parentElement.open")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_text_stands_out_and_the_page_is_no_wider_than_the_window(
    page: Browser, port: int, scheme: str, width: int, contrast: Contrast
) -> None:
    page.look(width, 768, scheme)
    _board(page, port)
    pairs = page.text_colours()
    assert len(pairs) >= 2
    for pair in pairs:
        assert contrast(*pair.split()) >= 4.5, pair
    paper = page.value("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.value("document.documentElement.scrollWidth <= window.innerWidth")
    if width == 1280:
        assert page.value(_CUT) == [], "on a laptop nothing that is unfolded has to be scrolled to be read"


def test_a_new_run_shows_by_itself_but_not_under_the_reader(
    page: Browser, port: int, growing: Path, definitions: Definitions, tmp_path: Path
) -> None:
    _skip_to_content(page, port)
    page.value("document.querySelector('#identity details').open = true")
    page.value("document.querySelector('#funnel summary').focus()")
    before = page.value("document.getElementById('funnel').dataset.version")
    simulate(WorldConfig(customers=4, days=3, seed=9), tmp_path / "world")
    parts = sorted(str(path) for path in (tmp_path / "world" / "events").glob("*.avro"))
    run(RunOptions((*parts,), growing), definitions=definitions)
    page.until("document.getElementById('ledger').textContent.includes('run-000003')", _PATIENCE)
    page.until("document.getElementById('said').textContent.includes('when you leave it')", _PATIENCE)
    assert page.value("document.querySelector('#identity details').open")
    assert page.value("document.getElementById('funnel').dataset.version") == before
    # the skip link's target holds the focus of a reader who goes on from there: it freezes nothing
    for _ in range(40):
        page.press(*_TAB, shift=True)
        if page.value("document.activeElement.matches('a.skip')"):
            break
    page.press(*_ENTER)
    assert page.value("document.activeElement.id") == "content"
    page.until(f"document.getElementById('funnel').dataset.version !== '{before}'")


def test_rows_of_a_running_stream_show_without_a_reload(
    page: Browser, port: int, growing: Path, definitions: Definitions, tmp_path: Path
) -> None:
    simulate(WorldConfig(customers=40, days=8, seed=21), tmp_path / "world")
    _board(page, port)
    before = page.value("document.getElementById('identity').dataset.version")
    page.value("window.loadedOnce = true")
    options = StreamOptions(growing, inputs=(str(tmp_path / "world" / "events"),), runner=DIRECT, pane=1)
    with ThreadPoolExecutor(1) as beside:
        running = beside.submit(stream, options, definitions=definitions)
        page.until(f"document.getElementById('identity').dataset.version !== '{before}'", _PATIENCE)
        assert not running.done(), "the page changed while the stream ran"
        report = running.result(timeout=120)
    ended = f"'{report.run_id}', '{report.total.received}'"
    shown = "document.getElementById('ledger').textContent"
    page.until(f"[{ended}].every(one => {shown}.includes(one))", _PATIENCE)
    assert page.value("window.loadedOnce")


def test_the_page_asks_its_own_origin_alone_and_its_console_is_silent(page: Browser, port: int) -> None:
    _board(page, port)
    own = (f"http://127.0.0.1:{port}/", "data:", "about:")
    assert page.requests
    assert [address for address in page.requests if not address.startswith(own)] == []
    assert page.errors == []
