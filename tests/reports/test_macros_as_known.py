"""The table macros as of a time beside ``wayline journey --as-of``: what they call exact is what was known then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from features.journey_features import FEATURE_NAMES
from pipelines.definitions import Definitions
from pipelines.known_by import known_by
from reports.journey_as_of import JourneyThen, journey_then
from reports.lookup import JourneyTables

Known = dict[int, dict[str, list[JourneyThen]]]


@pytest.fixture(scope="module")
def base(tiny_out: Path) -> Iterator[Any]:
    connection = duckdb.connect(str(tiny_out / "wayline.duckdb"), read_only=True)
    connection.execute("SET TimeZone = 'UTC'")
    yield connection
    connection.close()


@pytest.fixture(scope="module")
def times(base: Any) -> list[int]:
    first, last = base.execute("SELECT min(epoch_us(event_time)), max(epoch_us(event_time)) FROM events").fetchone()
    return [first + (last - first) * tenths // 10 for tenths in (2, 4, 6, 8, 10)]


@pytest.fixture(scope="module")
def known_then(base: Any, tiny_out: Path, definitions: Definitions, times: list[int]) -> Known:
    """Of each time, the journeys folded from what was known by then of those who are one person now.

    The id that a person had then may be an alias by now.
    """
    now = dict(base.execute("SELECT person_id, coalesce(merged_into, person_id) FROM persons").fetchall())
    tables = JourneyTables(tiny_out, definitions.tables)
    found: Known = {}
    for time in times:
        known = known_by(tiny_out, definitions, time)
        found[time] = defaultdict(list)
        for person in known.history.persons:
            then = journey_then(
                known.history, person, known.horizon, known.ontologies, definitions.config.lateness, None, tables
            )
            found[time][now[person]].append(then)
    tables.close()
    return found


def _asked(base: Any, columns: str, macro: str, time: int) -> list[tuple[Any, ...]]:
    moment = f"make_timestamptz({time})"
    found: list[tuple[Any, ...]] = base.execute(f"SELECT {columns} FROM {macro}({moment}, {moment})").fetchall()
    return found


def _exact(base: Any, time: int) -> set[str]:
    return {person for person, exact in _asked(base, "person_id, is_exact", "known_as_of", time) if exact}


def test_whoever_is_exact_had_just_these_events_stage_and_features(
    base: Any, times: list[int], known_then: Known
) -> None:
    compared = 0
    columns = ", ".join(FEATURE_NAMES)
    for time in times:
        known = {row[0]: row[1:] for row in _asked(base, "person_id, events, is_exact", "known_as_of", time)}
        vectors = {
            row[0]: row[1:] for row in _asked(base, f'person_id, epoch_us("at"), {columns}', "features_as_of", time)
        }
        stages = dict(base.execute(f"SELECT person_id, stage FROM stage_as_of(make_timestamptz({time}))").fetchall())
        for person in _exact(base, time):
            (then,) = known_then[time][person]
            assert known[person][0] == then.events
            assert stages[person] == then.stage
            assert vectors[person] == (then.features_at, *then.features.values())
            compared += 1
    assert compared > 20


def test_whoever_is_exact_had_just_these_decisions_with_what_had_become_of_them(
    base: Any, times: list[int], known_then: Known
) -> None:
    compared = 0
    resolved = dict(base.execute("SELECT person_id, coalesce(merged_into, person_id) FROM persons").fetchall())
    for time in times:
        made = defaultdict(set)
        for person, *told in _asked(base, "person_id, decision_id, status, outcomes, stands", "decisions_as_of", time):
            if told.pop():
                made[person].add(tuple(told))
        for person in _exact(base, time):
            # of a strand that is shared, the fold also tells decisions that were made of the other person
            (then,) = known_then[time][person]
            expected = {
                (one.decision["decision_id"], one.status, len(one.outcomes))
                for one in then.decisions
                if resolved[one.decision["person_id"]] == person
            }
            assert made[person] == expected
            compared += len(expected)
    assert compared > 50


def test_whose_events_came_later_or_who_was_several_is_not_exact(
    base: Any, times: list[int], known_then: Known
) -> None:
    not_exact = 0
    for time in times:
        exact = _exact(base, time)
        for person, late, links in _asked(base, "person_id, late, later_links", "known_as_of", time):
            if person not in exact:
                assert late or links
                not_exact += 1
        told = {person for (person,) in _asked(base, "person_id", "known_as_of", time)}
        assert exact <= told <= known_then[time].keys()
    assert not_exact


def test_a_late_event_takes_no_part_before_it_was_received(base: Any) -> None:
    """Every vector that is told by a time was made of events received by then."""
    late = base.execute(
        "SELECT epoch_us(event_time), epoch_us(received_time) FROM events "
        "WHERE received_time > event_time + INTERVAL 1 HOUR"
    ).fetchall()
    assert late
    for happened, received in late:
        moments = f"make_timestamptz({happened}), make_timestamptz({received - 1})"
        (newest,) = base.execute(f"SELECT max(epoch_us(created)) FROM features_as_of({moments})").fetchone()
        assert newest is None or newest < received


def test_the_evidence_of_identity_is_what_was_known(base: Any, times: list[int], known_then: Known) -> None:
    """All persons together: whose a shared device is may have changed since, not who was seen with it."""
    pair = "left_namespace, left_value, right_namespace, right_value, kind"
    compared = 0
    for time in times:
        moment = f"make_timestamptz({time})"
        expected = {
            (*edge.left, *edge.right, edge.kind)
            for journeys in known_then[time].values()
            for then in journeys
            for edge in then.edges
        }
        told = set()
        for (person,) in base.execute("SELECT person_id FROM persons WHERE is_current").fetchall():
            told.update(base.execute(f"SELECT {pair} FROM identity_as_of(?, {moment}, {moment})", [person]).fetchall())
        assert told == expected
        compared += len(told)
    assert compared > 20
