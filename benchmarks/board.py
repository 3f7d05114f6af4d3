"""How soon the board shows itself, in headless Chromium: ``python -m benchmarks.board --out OUT``.

Input: an output folder. Output: a table of seconds, printed: first contentful paint just after the board was started
and again when all is counted, the moment at which each section was there, and a story by its id. Time domain: the wall
clock, from the moment the board said its address; paint from the navigation on, as the browser tells it. State: none.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.browser import Browser, browser
from pipelines.definitions import load_definitions
from reports.lookup import JourneyTables

_PAINT = "performance.getEntriesByName('first-contentful-paint').map(one => one.startTime / 1000)[0] ?? 0"
_THERE = "[...document.querySelectorAll('main > section')].filter(one => one.dataset.version).map(one => one.id)"
_PATIENCE = 300.0


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    program = shutil.which("chromium")
    if program is None:
        sys.exit("the package chromium is needed")
    tables = JourneyTables(out, load_definitions(None).tables)
    events, person = tables.count("events"), tables.first("journeys", "TRUE", order="events DESC, person_id")
    tables.close()
    if person is None:
        sys.exit(f"{out} holds no journey")
    print(f"{events:,} events")
    began = time.monotonic()
    command = [sys.executable, "-m", "pipelines.cli", "board", "--out", str(out), "--port", "0", "--no-open"]
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        browser(program, Path(profile)) as page,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as board,
    ):
        try:
            assert board.stdout is not None
            address = re.findall(r"http://\S+/", board.stdout.readline())[0]
            print(f"the board said its address after {time.monotonic() - began:.2f} s")
            _measure(page, address, person["person_id"])
        finally:
            board.terminate()


def _measure(page: Browser, address: str, person_id: str) -> None:
    began = time.monotonic()
    page.open(address)
    page.until(f"({_PAINT}) > 0")
    print(f"first paint, nothing counted yet: {page.value(_PAINT):.2f} s")
    there: set[str] = set()
    while time.monotonic() - began < _PATIENCE:
        found = set(page.value(_THERE))
        for name in sorted(found - there):
            print(f"  {name} after {time.monotonic() - began:.1f} s")
        there = found
        if not page.value("document.querySelectorAll('[aria-busy]').length"):
            break
        time.sleep(0.1)
    page.open("about:blank#again")
    page.call("Page.navigate", url=address)
    page.until(f"location.href.startsWith('http') && ({_PAINT}) > 0")
    print(f"first paint, all counted: {page.value(_PAINT):.2f} s, {len(page.value(_THERE))} sections in it")
    page.call("Page.navigate", url=f"{address}find?id={person_id}")
    page.until(f"location.pathname === '/find' && ({_PAINT}) > 0")
    print(f"story of the person with most events: first paint {page.value(_PAINT):.2f} s")
    page.until("document.querySelector('#who')")
    print(f"  all of it after {page.value('performance.now() / 1000'):.1f} s")


if __name__ == "__main__":
    main()
