"""`wayline features show` and `history`: true to the tables, for any id of a person, and to what made a row."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree
from zlib import crc32

import pyarrow.parquet as pq
import pytest

from contracts.errors import InputError
from features.journey_features import FEATURE_NAMES, FEATURE_VERSION, VERSIONS
from features.provenance import PROVENANCE
from pipelines.cli import main
from pipelines.definitions import Definitions
from pipelines.run import run
from pipelines.run_options import RunOptions
from reports.feature_plot import HOLD, MARK, picture, text_plot
from reports.feature_rows import feature_history, features_now
from reports.lookup import JourneyTables, Row
from reports.tell_features import computed_by

SVG = "{http://www.w3.org/2000/svg}"
START = datetime(2025, 1, 1, tzinfo=UTC)
Ask = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ask(tiny_out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Ask:
    monkeypatch.delenv("WAYLINE_PSEUDONYM_KEY", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["features", *arguments, "--out", str(tiny_out)])
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return call


def test_the_values_shown_are_those_of_the_newest_row(found: JourneyTables, busiest: Row) -> None:
    rows = found.rows("features", "person_id = ?", [busiest["person_id"]], order='"at"')
    shown = features_now(found, busiest["person_id"])
    assert shown.reading.at == max(row["at"] for row in rows)
    assert shown.reading.values == {name: rows[-1][name] for name in FEATURE_NAMES}
    assert shown.reading.revision == rows[-1]["revision"]
    assert shown.reading.made.events == busiest["events"]


def test_an_older_version_shows_its_own_features_only(found: JourneyTables, busiest: Row, ask: Ask) -> None:
    shown = features_now(found, busiest["person_id"], version="journey:v1")
    assert list(shown.reading.values) == [feature.name for feature in VERSIONS["journey:v1"]]
    code, told, _ = ask("show", busiest["person_id"], "--version", "journey:v1")
    assert code == 0
    assert "events_30d" in told
    assert "sessions_30d" not in told


def test_every_row_names_the_events_that_made_it(found: JourneyTables) -> None:
    seen: set[bool] = set()
    for journey in found.rows("journeys", "TRUE"):
        events = found.rows("events", "person_id = ?", [journey["person_id"]])
        for reading in feature_history(found, journey["person_id"], "events_30d").readings:
            used = [event for event in events if event["event_time"] <= reading.at]
            last = max(used, key=lambda event: (event["event_time"], event["event_id"], event["strand_id"]))
            made = reading.made
            assert (made.events, made.event_id) == (len(used), last["event_id"])
            assert made.on_event == (last["event_time"] == reading.at)
            # the row itself says when its latest event was received: what is derived must say the same
            assert made.agrees
            assert made.version == FEATURE_VERSION
            assert made.code == version("wayline")
            seen.add(made.on_event)
    assert seen == {True, False}


def test_a_row_states_how_many_events_made_it_the_last_and_a_checksum_of_all(found: JourneyTables) -> None:
    stated = 0
    for journey in found.rows("journeys", "TRUE"):
        asked = "person_id = ?", [journey["person_id"]]
        events = found.rows("events", *asked, order="event_time, event_id")
        for row in found.rows("features", *asked):
            ids = [event["event_id"] for event in events if event["event_time"] <= row["at"]]
            joined = "".join(f"{event_id}\0" for event_id in ids).encode()
            assert (row["made_of"], row["last_event_id"], row["events_checksum"]) == (len(ids), ids[-1], crc32(joined))
            stated += 1
    assert stated > 100


def test_an_event_that_took_another_s_place_is_seen_by_the_checksum(
    found: JourneyTables, busiest: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many events, received at the same times, with the same last one."""
    kept = found.rows

    def with_another(name: str, *arguments: object, **options: object) -> list[Row]:
        rows: list[Row] = kept(name, *arguments, **options)  # type: ignore[arg-type]
        return [{**rows[0], "event_id": "another"}, *rows[1:]] if name == "events" else rows

    monkeypatch.setattr(found, "rows", with_another)
    made = features_now(found, busiest["person_id"]).reading.made
    assert not made.agrees
    assert made.events == busiest["events"]


PROVENANCE_COLUMNS = [name for name, _, _ in PROVENANCE]


def test_rows_of_before_they_stated_it_are_told_as_far_as_tables_say_and_stated_by_the_next_run(
    tiny_out: Path, definitions: Definitions, tmp_path: Path
) -> None:
    out = tmp_path / "old"
    shutil.copytree(tiny_out, out)
    for part in (out / "tables" / "features").glob("*.parquet"):
        pq.write_table(pq.read_table(part).drop_columns(PROVENANCE_COLUMNS), part)
    tables = JourneyTables(out, definitions.tables)
    person = tables.rows("journeys", "TRUE", order="events DESC, person_id")[0]
    made = features_now(tables, person["person_id"]).reading.made
    assert (made.events, made.agrees, made.version, made.code) == (person["events"], True, FEATURE_VERSION, None)
    assert "not in the row" in computed_by(made)
    tables.close()
    run(RunOptions((), out), definitions=definitions)
    tables = JourneyTables(out, definitions.tables)
    assert all(row["code_version"] == version("wayline") for row in tables.rows("features", "TRUE"))
    assert features_now(tables, person["person_id"]).reading.made.agrees
    tables.close()


def test_events_that_vanished_since_are_not_claimed(
    found: JourneyTables, busiest: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = found.rows

    def without_the_newest(name: str, *arguments: object, **options: object) -> list[Row]:
        rows: list[Row] = kept(name, *arguments, **options)  # type: ignore[arg-type]
        latest = max((row["received_time"] for row in rows), default=None) if name == "events" else None
        return rows if latest is None else [row for row in rows if row["received_time"] < latest]

    monkeypatch.setattr(found, "rows", without_the_newest)
    assert not features_now(found, busiest["person_id"]).reading.made.agrees


def test_a_history_has_every_point_in_order_of_event_time(found: JourneyTables, busiest: Row) -> None:
    rows = found.rows("features", "person_id = ?", [busiest["person_id"]], order='"at"')
    history = feature_history(found, busiest["person_id"], "session_events")
    assert history.points == [(row["at"], row["session_events"]) for row in rows]
    assert len({value for _, value in history.points}) > 2


def test_every_id_of_a_person_leads_to_its_features(found: JourneyTables, busiest: Row, ask: Ask) -> None:
    person_id = busiest["person_id"]
    held = found.rows("identifiers", "person_id = ?", [person_id])[0]
    for asked in (person_id, f"{held['namespace']}:{held['value']}"):
        code, told, _ = ask("show", asked)
        assert code == 0
        assert f"Features of {person_id}" in told
        for part in ("age now", "revision", "made of", FEATURE_VERSION, *FEATURE_NAMES):
            assert part in told


def test_a_history_is_plotted_and_drawn(busiest: Row, ask: Ask, tmp_path: Path) -> None:
    drawn = tmp_path / "plot.svg"
    code, told, _ = ask("history", busiest["person_id"], "events_7d", "--picture", str(drawn))
    assert code == 0
    assert MARK in told
    assert str(drawn.name) in told.replace("\n", "")
    assert ElementTree.parse(drawn).getroot().tag == f"{SVG}svg"


def test_unknown_names_are_refused_with_the_nearest(found: JourneyTables, busiest: Row, ask: Ask) -> None:
    code, _, said = ask("history", busiest["person_id"], "event_7d")
    assert code
    assert "events_7d" in said
    code, _, said = ask("show", busiest["person_id"], "--version", "journey:v9")
    assert code
    assert FEATURE_VERSION in said
    code, _, said = ask("show", "nobody-at-all")
    assert code
    assert "nobody" in said
    with pytest.raises(InputError, match="derived from the stage"):
        feature_history(found, busiest["person_id"], "days_in_stage")


def test_a_text_plot_puts_each_value_at_its_height_and_holds_it() -> None:
    lines = text_plot([(START, 0.0), (START + timedelta(days=9), 9.0)], width=10, height=10)
    assert lines[0] == "9 \N{BOX DRAWINGS LIGHT VERTICAL}" + " " * 9 + MARK
    assert lines[9] == "0 \N{BOX DRAWINGS LIGHT VERTICAL}" + MARK + HOLD * 8
    assert "2025-01-01" in lines[10]
    assert "2025-01-10" in lines[10]


@pytest.mark.parametrize("value", [0.0, -3.0, 5.0])
def test_one_value_alone_is_drawn(value: float) -> None:
    assert sum(line.count(MARK) for line in text_plot([(START, value)])) == 1
    assert len(list(ElementTree.fromstring(picture([(START, value)], "a", "b")).iter(f"{SVG}circle"))) == 1


def test_the_picture_is_true_to_its_values_and_readable_in_the_dark() -> None:
    points = [(START, 0.0), (START + timedelta(days=1), 10.0), (START + timedelta(days=4), 5.0)]
    text = picture(points, "<title & person>", "what")
    root = ElementTree.fromstring(text)
    circles = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in root.iter(f"{SVG}circle")]
    (x0, y0), (x1, y1), (x2, y2) = circles
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.25, abs=0.001)
    assert (y0 - y2) / (y0 - y1) == pytest.approx(0.5, abs=0.001)
    assert "prefers-color-scheme: dark" in text
    assert root.findtext(f"{SVG}title") == "<title & person>"
