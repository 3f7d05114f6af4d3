"""The board over real tables, asked by HTTP."""

from __future__ import annotations

import html
import json
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import duckdb
import pytest

from contracts.errors import InputError, LockedError, OutputError
from contracts.event import MINUTE
from pipelines.definitions import Definitions
from reports.asked import decision_asked, person_asked
from reports.lookup import JourneyTables, Row
from reports.page.benchmark_section import against_benchmarks, verdict
from reports.page.board import DARK, LIGHT
from reports.page.charts import bars, calibration, flow, lines, spans, table
from reports.page.renewal import Renewal, state_of
from reports.page.sections import Section, sections
from reports.page.server import board_server
from reports.page.story import decision_html, person_html
from reports.table_check import failed_tests
from transforms.journey.ontology import Stage
from transforms.tables.metrics import METRICS_FILE, load_metrics, metric_sql
from transforms.tables.views import fetch, open_views

Served = Callable[..., AbstractContextManager[int]]
Contrast = Callable[[str, str], float]
_HOSTILE = "<script>alert('x')</script>"


def _told(text: str) -> Section:
    return Section("one", "One", lambda connection: text)


def _ask(port: int, path: str, host: str = "127.0.0.1:1") -> tuple[int, str, str]:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text, answer.getheader("Content-Security-Policy", "")


def _until(holds: Callable[[], bool]) -> None:
    for _ in range(500):
        if holds():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it never came to hold")


@pytest.fixture(scope="module")
def whole(tiny_out: Path, definitions: Definitions, served: Served) -> str:
    """The page of the tiny run."""
    with served(sections(definitions.tables), connect=lambda: open_views(tiny_out, definitions.tables)) as port:
        status, text, policy = _ask(port, "/")
    assert status == 200
    assert "default-src 'none'" in policy
    return text


def test_the_board_shows_every_section_of_a_run(whole: str, definitions: Definitions) -> None:
    for one in sections(definitions.tables):
        assert f'<section id="{one.name}"' in whole
    assert all(stage.name in whole for stage in definitions.ontology.stages)
    assert "cannot be read" not in whole
    assert "aria-busy" not in whole


def test_people_who_moved_on_are_held_against_the_benchmark_of_their_stage(
    tiny_out: Path, definitions: Definitions
) -> None:
    """Counted by hand from the transitions; who went on and back again has moved on, and a lost lead has not."""
    stages = definitions.ontology.stages
    place = {stage.name: stage.number for stage in stages}
    expected = [replace(stages[0], benchmark=0.999999), replace(stages[1], benchmark=0.000001), *stages[2:]]
    connection = open_views(tiny_out, definitions.tables)
    _, moves = fetch(connection, "SELECT person_id, from_stage, to_stage FROM transitions")
    told = _benchmarks(expected, connection)
    for stage, words in ((stages[0], "below"), (stages[1], "above")):
        ever = {who for who, _, after in moves if after == stage.name}
        on = {who for who, before, after in moves if before == stage.name and place[after] > stage.number}
        assert 0 < len(on) < len(ever)
        cells = told[stage.name]
        assert cells[:4] == [f"{len(ever):,}", "moved on", f"{len(on):,}", f"{len(on) / len(ever):.1%}"]
        assert cells[5] == f"{words} its benchmark"
    lost = [*stages[:-1], replace(stages[-1], terminal=True)]
    sold = {who for who, before, after in moves if before == stages[2].name and after == stages[3].name}
    assert sold
    assert stages[2].name not in _benchmarks(lost, connection), "nothing but the lost stage is left to move on to"
    connection.close()


def _benchmarks(stages: Sequence[Stage], connection: Any) -> dict[str, list[str]]:
    """Stage to the other cells of its row."""
    rows = re.findall(r"<tr>(.*?)</tr>", against_benchmarks(stages, connection))
    cells = [[html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)] for row in rows]
    return {row[0]: row[1:] for row in cells if row}


def _journeys(moves: Sequence[tuple[str, str | None, str, int]], shown: Sequence[tuple[str, str, int]]) -> Any:
    """People who moved (who, to, from there to, hour) and what they showed (who, behaviour, minute)."""
    connection = duckdb.connect()
    connection.execute("CREATE TABLE stage_history (person_id TEXT, stage TEXT, went_to TEXT, valid_from TIMESTAMPTZ)")
    connection.execute("CREATE TABLE events (person_id TEXT, behaviours TEXT, event_time TIMESTAMPTZ)")
    for who, went_to, stage, minute in moves:
        connection.execute(
            "INSERT INTO stage_history VALUES (?, ?, ?, make_timestamptz(?))", [who, stage, went_to, minute * MINUTE]
        )
    for who, behaviour, minute in shown:
        connection.execute(
            "INSERT INTO events VALUES (?, ?, make_timestamptz(?))", [who, json.dumps([behaviour]), minute * MINUTE]
        )
    return connection


def test_of_a_certain_stage_with_none_after_it_buying_again_is_what_is_expected(definitions: Definitions) -> None:
    """The lines of the order that made the customer are not again, nor is anything else that a customer does."""
    stages = definitions.ontology.stages
    (customer,) = (stage for stage in stages if stage.certain)
    moves = [(who, None, customer.name, 100) for who in ("once", "lines", "twice", "renews", "uses")]
    # who came back as a customer entered first before
    moves += [("back", "decision", customer.name, 100), ("back", None, customer.name, 900)]
    shown = [(who, "conversion", 100) for who, *_ in moves[:5]]
    shown += [("lines", "conversion", 159), ("twice", "conversion", 160), ("renews", "renewal", 9_000)]
    shown += [("uses", "usage", 9_000), ("back", "conversion", 900)]
    told = _benchmarks(stages, _journeys(moves, shown))
    assert told == {customer.name: ["6", "again", "3", "50.0%", "25.0%", "about its benchmark"]}


def test_of_a_terminal_stage_coming_back_is_what_is_expected(definitions: Definitions) -> None:
    stages = definitions.ontology.stages
    lost = replace(stages[3], terminal=True, benchmark=0.05)
    moves = [(f"p{n}", None, lost.name, 5) for n in range(60)] + [("back", "decision", lost.name, 5)]
    told = _benchmarks([*stages[:3], lost], _journeys(moves, []))
    assert told == {lost.name: ["61", "left", "1", "1.6%", "5.0%", "about its benchmark"]}


def test_a_certain_stage_with_a_later_one_is_asked_who_moved_on(definitions: Definitions) -> None:
    stages = definitions.ontology.stages
    buyer = replace(stages[3], benchmark=0.3)
    loyal = replace(stages[3], name="loyal", number=4, benchmark=None)
    moves = [("a", "loyal", buyer.name, 5), ("b", None, buyer.name, 5), ("c", "decision", buyer.name, 5)]
    told = _benchmarks([*stages[:3], buyer, loyal], _journeys(moves, [("b", "conversion", 900)]))
    assert told[buyer.name][:3] == ["3", "moved on", "1"]


@pytest.mark.parametrize(
    ("moved", "people", "said"), [(30, 100, "about"), (30, 1_000, "below"), (400, 1_000, "above"), (0, 3, "about")]
)
def test_a_share_of_few_people_is_not_called_below_its_benchmark(moved: int, people: int, said: str) -> None:
    assert verdict(moved / people, people, 0.35) == f"{said} its benchmark"


def test_numbers_of_the_board_are_those_of_the_tables(whole: str, tiny_out: Path, definitions: Definitions) -> None:
    connection = open_views(tiny_out, definitions.tables)
    _, reasons = fetch(connection, "SELECT stage, reason, count(*) FROM dead_letters GROUP BY ALL")
    _, moves = fetch(
        connection, "SELECT coalesce(came_from, 'the start'), stage, count(*) FROM stage_history GROUP BY ALL"
    )
    connection.close()
    assert reasons
    for stage, reason, count in reasons:
        assert f">{reason} ({stage})</text>" in whole
        assert f">{count:,}</text>" in whole
    for came_from, stage, count in moves:
        assert f"<title>{came_from} to {stage}: {count:,}</title>" in whole
    failed = len(failed_tests(tiny_out, definitions.tables))
    assert ("Those that do not" in whole) == bool(failed)
    assert "data tests hold" in whole


def test_the_board_tells_every_metric_as_it_is_defined(whole: str, tiny_out: Path, definitions: Definitions) -> None:
    connection = open_views(tiny_out, definitions.tables)
    for metric in load_metrics(METRICS_FILE, definitions.tables):
        _, rows = fetch(connection, metric_sql(metric))
        assert metric.source == "retention" or not rows or html.escape(metric.doc) in whole
        if metric.format == "count":
            assert f"<td>{metric.name.replace('_', ' ')}</td><td>{rows[0][0]}</td>" in re.sub(
                r' class="\w+"', "", whole
            )
    connection.close()


def test_hostile_names_are_escaped_in_charts_tables_and_stories(served: Served) -> None:
    drawn = [
        bars(_HOSTILE, [(_HOSTILE, 1.0, _HOSTILE)]),
        table(_HOSTILE, [_HOSTILE], [[_HOSTILE]]),
        lines(_HOSTILE, [(_HOSTILE, [(0.0, 1.0), (1.0, 0.5)])], _HOSTILE),
        flow(_HOSTILE, [_HOSTILE], [(_HOSTILE, _HOSTILE, 1)]),
        spans(_HOSTILE, [(_HOSTILE, 1.0, 2.0, 3.0, _HOSTILE)]),
        calibration(_HOSTILE, [(_HOSTILE, [(0.5, 0.4, 10)])]),
    ]
    assert not any("<script" in one for one in drawn)

    def story(asked: str) -> Callable[[], str]:
        raise InputError(f"nobody is known as {asked}")

    with served([_told("")], story) as port:
        status, text, _ = _ask(port, "/find?id=%3Cscript%3Ealert('x')%3C/script%3E")
    assert status == 404
    assert "nobody is known as" in text
    assert "<script>" not in text


def test_bands_of_a_flow_leave_and_enter_as_many_as_there_are() -> None:
    drawn = flow("moves", ["a", "b"], [("a", "b", 3), ("b", "a", 1)])
    assert ">a 3</text>" in drawn
    assert ">b 1</text>" in drawn
    assert ">b 3</text>" in drawn
    assert drawn.count('class="band') == 2
    assert drawn.count(" back") == 1


def test_a_page_comes_while_a_section_is_still_counted_and_no_section_waits_for_another(served: Served) -> None:
    release = threading.Event()

    def slow(connection: object) -> str:
        release.wait(20)
        return "<p>late</p>"

    with served([Section("slow", "Slow", slow), _told("<p>quick</p>")], wait=False) as port:
        _until(lambda: "quick" in _ask(port, "/")[1])
        text = _ask(port, "/")[1]
        assert 'id="slow" data-version="" aria-busy="true"' in text
        assert "late" not in text
        release.set()
        _until(lambda: "late" in _ask(port, "/section/slow")[1])


def test_a_section_is_made_again_when_the_state_differs_and_only_then(served: Served) -> None:
    states, made = [0], []

    def count(connection: object) -> str:
        made.append(states[0])
        return f"<p>state {states[0]}</p>"

    with served([Section("one", "One", count)], state=lambda: states[0]) as port:
        for _ in range(5):
            _ask(port, "/versions")
            threading.Event().wait(0.03)
        assert made == [0]
        states[0] = 1
        _until(lambda: "state 1" in _ask(port, "/section/one")[1])
    assert made == [0, 1]


def test_a_query_that_fails_is_said_above_what_was_shown_and_tried_again(served: Served) -> None:
    states = [0]

    def make(connection: Any) -> str:
        if states[0] == 1:
            states[0] = 2
            raise duckdb.IOException("a part is gone")
        return f"<p>state {states[0]}</p>"

    with served([Section("one", "One", make)], state=lambda: states[0]) as port:
        states[0] = 1
        seen: list[str] = []

        def again() -> bool:
            seen.append(_ask(port, "/section/one")[1])
            return "state 2" in seen[-1]

        _until(again)
    failed = [text for text in seen if 'role="alert"' in text]
    assert all("a part is gone" in text and "state 0" in text for text in failed)
    assert "alert" not in seen[-1]


def test_the_state_of_a_folder_differs_with_its_parts(tmp_path: Path) -> None:
    (tmp_path / "tables" / "events").mkdir(parents=True)
    before = state_of(tmp_path)
    assert state_of(tmp_path) == before
    (tmp_path / "tables" / "events" / "a.parquet").touch()
    assert state_of(tmp_path) != before


def test_a_story_of_a_person_tells_moves_sessions_and_decisions_with_their_reasons(
    found: JourneyTables, busiest: Row, definitions: Definitions
) -> None:
    story = person_asked(found, busiest["person_id"], definitions.config.identity, None)
    told = person_html(story, limit=1000)
    assert story.transitions
    assert story.deeds
    for row in story.transitions:
        assert row["to_stage"] in told
    assert all(event["event_id"] in told for event in story.events if event["session_id"])
    for deed in story.deeds:
        assert f"/find?id={deed.decision['decision_id']}" in told
        assert all(candidate["name"] in told for candidate in deed.decision["candidates"])
    assert "The newest" not in told
    assert "The newest 1 of" in person_html(story, limit=1)


def test_a_decision_is_found_by_its_id_and_by_that_of_its_action(
    found: JourneyTables, definitions: Definitions
) -> None:
    action = found.first("actions", "TRUE", order="action_id")
    assert action is not None
    stories = [
        decision_asked(found, asked, definitions.policies) for asked in (action["decision_id"], action["action_id"])
    ]
    assert stories[0] is not None
    assert stories[0] == stories[1]
    assert action["decision_id"] in decision_html(stories[0])
    assert decision_asked(found, "p_nobody", definitions.policies) is None


def test_a_story_begins_before_it_is_known_and_says_what_fails(served: Served) -> None:
    release = threading.Event()

    def tell() -> str:
        release.wait(20)
        raise OutputError("the tables changed", hint="ask again")

    with served([_told("")], lambda asked: tell) as port:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/find?id=p_1")
        answer = connection.getresponse()
        begin = answer.read1().decode()
        release.set()
        whole = begin + answer.read().decode()
        connection.close()
    assert "It is being looked up" in begin
    assert "alert" not in begin
    assert 'role="alert">the tables changed<br>ask again' in whole
    assert whole.endswith("</html>")


def test_who_is_not_found_is_offered_others_as_links(served: Served) -> None:
    def story(asked: str) -> Callable[[], str]:
        raise InputError("nobody has the id '<p_0>'", hint="the one with most events is --person p_0a1b2c3d4e & more")

    with served([_told("")], story) as port:
        status, text, _ = _ask(port, "/find?id=p_0")
    assert status == 404
    assert "nobody has the id &#x27;&lt;p_0&gt;&#x27;" in text
    assert 'most events is <a href="/find?id=p_0a1b2c3d4e">p_0a1b2c3d4e</a> &amp; more' in text


def test_a_name_of_another_site_is_refused(served: Served) -> None:
    with served([_told("secret")]) as port:
        status, text, _ = _ask(port, "/", host="elsewhere.example:1")
    assert status == 403
    assert "secret" not in text


def test_a_taken_port_and_a_folder_without_tables_are_told(tmp_path: Path, served: Served) -> None:
    with served([_told("")]) as port, pytest.raises(LockedError, match="--port"):
        board_server(port, Renewal([], duckdb.connect, int), lambda asked: str)
    with pytest.raises((OutputError, OSError)):
        state_of(tmp_path / "none")


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_text_and_shapes_stand_out_from_the_paper(colours: dict[str, str], contrast: Contrast) -> None:
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    for name in ("ink", "soft", "link"):
        assert contrast(colours[name], colours["paper"]) >= 4.5
    for name in colours.keys() - {"ink", "soft", "link", "paper"}:
        assert contrast(colours[name], colours["paper"]) >= 3, name
