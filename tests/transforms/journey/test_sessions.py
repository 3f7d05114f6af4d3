"""Sessions: where they begin and end."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from contracts.event import DAY, HOUR, MINUTE, SECOND, Event, Identifier
from contracts.exchange import Session
from transforms.identity.ids import strand_id
from transforms.journey.ontology_file import parse_ontology
from transforms.journey.open_session import session_id_of

Make = Callable[..., Event]


def sessions(bench: Any, events: list[Any], horizon: int | None = None) -> tuple[Session, ...]:
    found: tuple[Session, ...] = bench.trace(events, horizon).sessions
    return found


def test_a_microsecond_less_than_the_gap_is_one_session(bench: Any, event: Make, start: int) -> None:
    found = sessions(bench, [event("home", start), event("search", start + 30 * MINUTE - 1)])
    assert len(found) == 1


def test_exactly_the_gap_is_two_sessions(bench: Any, event: Make, start: int) -> None:
    found = sessions(bench, [event("home", start), event("search", start + 30 * MINUTE)])
    assert len(found) == 2


def test_the_gap_is_no_part_of_a_session(bench: Any, event: Make, start: int) -> None:
    found = sessions(bench, [event("home", start), event("search", start + MINUTE)], start + DAY)
    assert (found[0].started_at, found[0].ended_at) == (start, start + MINUTE)


def test_the_id_is_that_of_the_first_event_and_its_strand(bench: Any, event: Make, start: int) -> None:
    first = event("home", start)
    found = sessions(bench, [(first, "s1"), (event("search", start + SECOND), "s2")])
    assert [s.session_id for s in found] == [session_id_of("s1", first.event_id)]


def test_a_session_spans_the_devices_of_a_person(bench: Any, event: Make, start: int) -> None:
    found = sessions(
        bench,
        [
            (event("home", start, device="mobile", path="/", campaign="spring"), "phone"),
            (event("search", start + MINUTE, device="desktop", path="/search"), "laptop"),
            (event("purchase", start + 2 * MINUTE), "laptop"),
        ],
    )
    assert len(found) == 1
    session = found[0]
    assert (session.events, session.device, session.conversions) == (3, "mobile", 1)
    assert (session.entry_page, session.exit_page, session.campaign) == ("/", "/search", "spring")


def test_a_receipt_opens_no_session_and_keeps_none_open(bench: Any, event: Make, start: int) -> None:
    trace = bench.trace(
        [
            event("email_delivered", start),
            event("home", start + MINUTE),
            event("email_opened", start + 20 * MINUTE),
            event("search", start + 40 * MINUTE),
        ]
    )
    assert [step.session_id is None for step in trace.steps] == [True, False, True, False]
    assert [session.events for session in trace.sessions] == [1, 1]


def test_the_trackers_sessions_may_interleave(bench_of: Any, ontology_text: str, event: Make, start: int) -> None:
    tracked = bench_of(parse_ontology(ontology_text, "journey.yaml", "tracker"))
    found = sessions(
        tracked,
        [
            event("page_view", start, tracker="t1"),
            event("page_view", start + MINUTE, tracker="t2"),
            event("page_view", start + 2 * HOUR, tracker="t1"),
            event("page_view", start + 2 * HOUR + MINUTE),
            event("page_view", start + 5 * DAY, tracker="t1"),
        ],
    )
    assert [(s.tracker_session_id, s.events) for s in found] == [("t1", 3), ("t2", 1), ("t1", 1)]


def test_a_session_is_final_when_no_late_event_can_reach_it(bench: Any, event: Make, start: int) -> None:
    lateness = 48 * HOUR
    events = [event("home", start)]
    assert not sessions(bench, events, start + lateness + 30 * MINUTE - 1)[0].is_final
    assert sessions(bench, events, start + lateness + 30 * MINUTE)[0].is_final


def test_a_session_is_not_named_like_a_strand() -> None:
    session = session_id_of("s1", "e1")
    assert re.fullmatch("v_[0-9a-f]{20}", session)
    assert strand_id(Identifier("anonymous_id", "a"), None).startswith("s_")
