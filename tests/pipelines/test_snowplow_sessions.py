"""The session presets on Snowplow's own log: its sessions, their indices and engaged time, against the tracker's.

The log goes through the cores of a run in one process: import, validate, protect, link, strand, fold. The tracker's own
``domain_sessionid`` and ``domain_sessionidx`` are read from its rows, and its sessions from the file that Snowplow
expects of them; no code of the pipeline has a part in either.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.parity_worlds import read_arrivals
from benchmarks.real_data import SNOWPLOW, missing
from contracts.event import DAY, SECOND, Event
from contracts.exchange import Session
from pipelines.config import SHIPPED, ProjectConfig
from pipelines.scenarios.play import PlayedPerson, World
from sources.importer.convert import import_files
from sources.importer.mapping_file import load_mapping
from transforms.dead_letter import DeadLetterBox
from transforms.keys import KEY_BYTES

BATCHES = ("sp_event.csv", "sp_event_update.csv")
SECTION = (
    "  by: gap                # or tracker: the tracker's own session id says\n  gap: 30m\n  tracker_timeout: 24h\n"
)

Play = Callable[..., tuple[PlayedPerson, ...]]


@dataclass(frozen=True)
class Row:
    """What the tracker says of an event."""

    device: str
    session: str
    index: int
    name: str


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    """Event id to what the log says, both batches."""
    if why := missing(SNOWPLOW):
        pytest.skip(why)
    found: dict[str, Row] = {}
    for name in BATCHES:
        with (SNOWPLOW / name).open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found[row["event_id"]] = Row(
                    row["domain_userid"], row["domain_sessionid"], int(row["domain_sessionidx"]), row["event"]
                )
    return found


@pytest.fixture(scope="module")
def expected() -> dict[str, Mapping[str, str]]:
    """The sessions that Snowplow expects of both batches, by id."""
    if why := missing(SNOWPLOW):
        pytest.skip(why)
    with (SNOWPLOW / "snowplow_sessions_expected.csv").open(encoding="utf-8") as file:
        return {row["session_id"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def events(rows: dict[str, Row], tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    root = tmp_path_factory.mktemp("snowplow-presets")
    mapping = load_mapping("snowplow", SHIPPED / "mappings")
    paths = [SNOWPLOW / name for name in BATCHES]
    summary = import_files(paths, mapping, root, DeadLetterBox(bytes(KEY_BYTES)), lambda _: None)
    assert not summary.dead
    found = read_arrivals([str(root / "events")])
    assert {event.event_id for event in found} == set(rows)
    return found


@pytest.fixture
def play(events: list[Event], tmp_path: Path) -> Play:
    """Play the log under other session rules; ``changed`` makes another event of each."""

    def played(*rules: str, changed: Callable[[Event], Event] = lambda event: event) -> tuple[PlayedPerson, ...]:
        text = (SHIPPED / "journey.yaml").read_text(encoding="utf-8")
        assert SECTION in text
        path = tmp_path / "journey.yaml"
        path.write_text(text.replace(SECTION, "".join(f"  {rule}\n" for rule in rules)), encoding="utf-8")
        come = [changed(event) for event in events]
        horizon = max(event.event_time for event in come) + DAY
        found = World(ProjectConfig(ontology=path)).play(come, horizon)
        assert not found.rejected
        return found.persons

    return played


def members(persons: tuple[PlayedPerson, ...]) -> set[frozenset[str]]:
    """Sessions of persons as sets of event ids."""
    found: dict[str, set[str]] = defaultdict(set)
    for person in persons:
        for step in person.trace.steps:
            assert step.session_id is not None
            found[step.session_id].add(step.event.event_id)
    return {frozenset(ids) for ids in found.values()}


def of_the_tracker(rows: dict[str, Row]) -> set[frozenset[str]]:
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for event_id, row in rows.items():
        found[row.device, row.session].add(event_id)
    return {frozenset(ids) for ids in found.values()}


def device_sessions(persons: tuple[PlayedPerson, ...], rows: dict[str, Row]) -> list[tuple[str, Session]]:
    """Sessions of strands, each with the device of its strand."""
    device = {step.strand_id: rows[step.event.event_id].device for one in persons for step in one.trace.steps}
    return [(device[session.strand_id], session) for one in persons for session in one.trace.strand_sessions]


@pytest.mark.parametrize("preset", ["snowplow", "ga4"])
def test_sessions_of_either_preset_hold_the_events_of_the_trackers_sessions(
    rows: dict[str, Row], play: Play, preset: str
) -> None:
    assert members(play(f"preset: {preset}")) == of_the_tracker(rows)


def test_the_place_of_a_session_among_those_of_its_device_is_domain_sessionidx(
    rows: dict[str, Row], play: Play
) -> None:
    begun: dict[tuple[str, str], int] = {}
    for device, session in device_sessions(play("preset: snowplow"), rows):
        key = device, str(session.tracker_session_id)
        begun[key] = min(session.started_at, begun.get(key, session.started_at))
    place = {key: 1 + sum(other[0] == key[0] and at < begun[key] for other, at in begun.items()) for key in begun}
    assert place == {(row.device, row.session): row.index for row in rows.values()}


def test_number_differs_from_the_index_where_a_login_begins_another_strand_and_nowhere_else(
    rows: dict[str, Row], play: Play
) -> None:
    """The third cookie's second visit is the first of its login: number 1, domain_sessionidx 2."""
    index = {(row.device, row.session): row.index for row in rows.values()}
    found = device_sessions(play("preset: snowplow"), rows)
    differing = {
        (device, session.tracker_session_id): (session.number, index[device, str(session.tracker_session_id)])
        for device, session in found
        if session.number != index[device, str(session.tracker_session_id)]
    }
    assert differing == {("domain_userid_3", "user_3_session_2"): (1, 2)}
    # a login within a visit parts it: the visits of the first two cookies are two sessions of strands each
    parted = Counter((device, session.tracker_session_id) for device, session in found)
    assert {key for key, count in parted.items() if count > 1} == {
        ("domain_userid_1", "user_1_session_1"),
        ("domain_userid_2", "user_2_session_1"),
    }


def test_without_the_trackers_ids_thirty_minutes_join_what_it_told_apart(rows: dict[str, Row], play: Play) -> None:
    """So the agreement above is the id's doing: the third cookie's two visits are forty seconds apart."""
    found = members(play("preset: snowplow", changed=lambda event: replace(event, tracker_session_id=None)))
    third = frozenset(event_id for event_id, row in rows.items() if row.device == "domain_userid_3")
    assert found - of_the_tracker(rows) == {third}
    assert len(found) == len(of_the_tracker(rows)) - 1


def test_views_and_engagement_are_those_of_the_log(rows: dict[str, Row], play: Play) -> None:
    """Both presets count page views; a session of two is engaged, one of a single view without pings bounced."""
    views = Counter((row.session) for row in rows.values() if row.name == "page_view")
    for preset in ("snowplow", "ga4"):
        sessions = {s.tracker_session_id: s for one in play(f"preset: {preset}") for s in one.trace.sessions}
        assert {name: session.views for name, session in sessions.items()} == views
        assert {name for name, session in sessions.items() if not session.bounced} == {
            name for name, count in views.items() if count >= 2
        }


def test_engaged_time_is_the_expected_one_by_the_heartbeat_of_that_log(
    expected: dict[str, Mapping[str, str]], play: Play
) -> None:
    """That file is of the older model: a ping is worth its whole interval of 30 s. The newer one counts 5 s for the
    first ping of a view, and so does the preset.
    """
    stated = {name: int(row["time_engaged_in_s"]) for name, row in expected.items()}
    older = play("preset: snowplow", "heartbeats: {events: [page_ping], every: 30s, minimum: 30s}")
    assert {s.tracker_session_id: (s.engaged or 0) // SECOND for p in older for s in p.trace.sessions} == stated
    newer = play("preset: snowplow")
    assert {s.tracker_session_id: (s.engaged or 0) // SECOND for p in newer for s in p.trace.sessions} == {
        name: 5 if seconds else 0 for name, seconds in stated.items()
    }
