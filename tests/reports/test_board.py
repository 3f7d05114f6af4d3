"""The board over real tables, asked by HTTP."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from contracts.errors import InputError, LockedError, OutputError
from pipelines.definitions import Definitions
from reports.page.board import fragment
from reports.page.charts import bars, table
from reports.page.server import Kept, board_server

_HOSTILE = "<script>alert('x')</script>"


@contextmanager
def _served(make: Callable[[], str], person: Callable[[str], str] = str) -> Iterator[int]:
    server = board_server(0, Kept(make, 0), person)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _ask(port: int, path: str, host: str = "127.0.0.1:1") -> tuple[int, str, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.getheader("Content-Security-Policy", "")


def test_the_board_shows_every_section_of_a_run(tiny_out: Path, definitions: Definitions) -> None:
    with _served(lambda: fragment(tiny_out, definitions.tables)) as port:
        status, text, policy = _ask(port, "/")
    assert status == 200
    assert "default-src 'none'" in policy
    for name in ("funnel", "flow", "cohorts", "identity", "decisions", "quality"):
        assert f'<section id="{name}">' in text
    assert all(stage.name in text for stage in definitions.ontology.stages)


def test_hostile_names_are_escaped_in_charts_tables_and_stories() -> None:
    assert "<script" not in bars(_HOSTILE, [(_HOSTILE, 1.0, _HOSTILE)]) + table(_HOSTILE, [_HOSTILE], [[_HOSTILE]])
    with _served(str) as port:
        assert "<script>" not in _ask(port, "/person?id=%3Cscript%3Ealert('x')%3C/script%3E")[1]


def test_an_unknown_person_is_a_page_that_says_so() -> None:
    def person(asked: str) -> str:
        raise InputError(f"nobody is known as {asked}")

    with _served(str, person) as port:
        status, text, _ = _ask(port, "/person?id=abc")
    assert status == 404
    assert "nobody is known as abc" in text


def test_the_fragment_follows_what_the_tables_say() -> None:
    said = iter(["first", "second"])
    with _served(lambda: next(said)) as port:
        assert [_ask(port, "/fragment")[1] for _ in range(2)] == ["first", "second"]


def test_a_name_of_another_site_is_refused() -> None:
    with _served(lambda: "secret") as port:
        status, text, _ = _ask(port, "/", host="elsewhere.example:1")
    assert status == 403
    assert "secret" not in text


def test_a_taken_port_and_a_folder_without_tables_are_told(tmp_path: Path, definitions: Definitions) -> None:
    with _served(str) as port, pytest.raises(LockedError, match="--port"):
        board_server(port, Kept(str, 0), str)
    with pytest.raises(OutputError):
        fragment(tmp_path / "none", definitions.tables)


def test_a_browser_renews_the_page_and_runs_no_script_of_a_name(tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs the package chromium")
    said = iter(["<p>first</p>"])
    with _served(lambda: next(said, f"<p>second</p>{bars('names', [(_HOSTILE, 1.0, _HOSTILE)])}")) as port:
        done = subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"),
                *("--virtual-time-budget=4000", "--dump-dom", f"http://127.0.0.1:{port}/"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert "<p>second</p>" in done.stdout
    assert "<p>first</p>" not in done.stdout
    assert "<script>" not in done.stdout
