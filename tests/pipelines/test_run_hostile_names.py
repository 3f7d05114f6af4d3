"""Events and folders whose names were chosen to do harm: pages, terminals, SQL and paths take them for text."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from run_world import KEY, MINUTE, NOON, Runs, event, write_events

from contracts.errors import ConfigurationError, WaylineError
from contracts.event import Context
from pipelines.cli import main, refused_by_system, report, wayline
from pipelines.definitions import load_definitions
from reports.explain import explain_person
from reports.lookup import JourneyTables
from reports.page.story import person_html

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "\x1b[2J\x1b]0;owned\x07",
    "'; DROP TABLE events; --",
    "[/red][link=http://example.com]there[/link]",
    "=cmd|' /C calc'!A0",
    "\x9b31m\u202e\u2066",
    "../../../etc/passwd",
    "{0} %s ${HOME} `id` $(id)",
)


@pytest.fixture(scope="module")
def hostile(make_runs: Callable[[str], Runs]) -> tuple[Path, Path, Path, str]:
    """(input, OUT, configuration, what the run printed)."""
    runs = make_runs("hostile")
    out = runs.root / 'o\'u [1]* "t" [red]'
    runs.out.rename(out)
    records = [
        event(
            text,
            text if number % 2 else "pricing_view",
            NOON + number * MINUTE,
            {"user_id": "ann", "anonymous_id": text},
            source=text,
            channel=text if number % 3 == 0 else "web",
            context=Context(path=f"/{text}", title=text, campaign_source=text),
            properties={text: text, "note": text},
            locale=text[:20],
        )
        for number, text in enumerate(HOSTILE)
    ]
    given = write_events(runs.root / "in [x]" / "ev\x1b[2J'ents.avro", records).parent
    (given / "no <b>avro\x1b[2J.avro").write_bytes(b"junk")
    assert (out / "keys" / "pseudonym.key").read_text() == KEY
    done = CliRunner().invoke(
        wayline, ["run", "--input", str(given), "--out", str(out), "--config", str(runs.config), "--workers", "1"]
    )
    assert done.exit_code == 0, done.exception
    return given, out, runs.config, done.output


def unsafe(text: str) -> list[str]:
    """The characters that a terminal would obey."""
    return sorted({c for c in text if not c.isprintable() and c != "\n"})


def test_what_a_terminal_shows_is_text(hostile: tuple[Path, Path, Path, str]) -> None:
    given, out, config, ran = hostile
    assert unsafe(ran) == []
    assert "[/red]" in ran
    with closing(JourneyTables(out, load_definitions(config).tables)) as tables:
        (person,) = {row["person_id"] for row in tables.rows("journeys", "TRUE")}
        events = tables.rows("events", "TRUE")
    assert len(events) == len(HOSTILE)
    of_out = (
        ("tables",),
        ("query", "SELECT name, source, path, properties FROM events"),
        ("query", "SELECT * FROM events", "--format", "json"),
        ("query", 'SELECT 1 AS "\x1b[2J"'),
        ("query", 'SELECT "\x1b[2J" FROM events'),
        ("explain", "--person", person),
        ("explain", "--event", events[0]["event_id"]),
        ("explain", "--event", HOSTILE[3]),
        ("journey", person, "--json"),
        ("identity", "explain", person, "--json"),
        ("review", "--draw", "--list"),
        ("review", "--export", str(out.parent / "sheet.csv")),
    )
    alone = (("audit", "--input", str(given)), ("audit", "--input", str(given), "--json"))
    for command in (*((*words, "--out", str(out)) for words in of_out), *alone):
        done = CliRunner().invoke(wayline, [*command, "--config", str(config)])
        assert done.exit_code == 0 or isinstance(done.exception, WaylineError), (command, done.exception)
        assert unsafe(done.output) == [], command


def test_an_error_that_names_what_stood_in_a_file_is_text_too(capsys: pytest.CaptureFixture[str]) -> None:
    report(ConfigurationError("a\x1b[2J.yaml", 1, "unknown key '\x9b31m'", hint="did you mean '\x1b]0;x\x07'?\nno?"))
    said = capsys.readouterr().err
    assert unsafe(said) == []
    assert "fix: did you mean" in said


def test_a_name_that_the_system_refuses_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["tables", "--out"], ["run", "--out", "x", "--input"], ["mapping", "show"]):
        with pytest.raises(SystemExit) as ended:
            main([*command, "a" * 300])
        assert ended.value.code == 4
        assert "too long" in capsys.readouterr().err
    assert refused_by_system(OSError(errno.EIO, "Input/output error", "x")) is None


def test_what_a_browser_shows_is_text(hostile: tuple[Path, Path, Path, str]) -> None:
    given, out, config, _ = hostile
    page, audit = out.parent / "report.html", out.parent / "audit.html"
    for command in (
        ("report", "--out", str(out), "--to", str(page)),
        ("audit", "--input", str(given), "--html", str(audit)),
    ):
        done = CliRunner().invoke(wayline, [*command, "--config", str(config)])
        assert done.exit_code == 0, done.exception
    with closing(JourneyTables(out, load_definitions(config).tables)) as tables:
        (person,) = {row["person_id"] for row in tables.rows("journeys", "TRUE")}
        story = person_html(explain_person(tables, person, "by its id"))
    for html in (page.read_text(encoding="utf-8"), audit.read_text(encoding="utf-8"), story):
        assert not re.search(r"<(script>alert|img src=x|b>avro)", html)
        assert "onerror='" not in html


def test_nothing_was_made_outside_of_the_folders(hostile: tuple[Path, Path, Path, str]) -> None:
    given, out, _, _ = hostile
    made = {path.name for path in out.parent.iterdir()} - {"report.html", "audit.html", "sheet.csv"}
    assert made == {given.name, out.name}
    assert (out / "keys" / "pseudonym.key").read_text() == KEY
