"""What sessions keep: in parts they are what they are at once, and how far off engaged time without page ids may be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.event import DAY, MINUTE, SECOND, Event
from transforms.journey.fold import event_order
from transforms.journey.ontology_file import parse_ontology

Make = Callable[..., Event]
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, SECOND, 10 * MINUTE, 30 * MINUTE, 3 * DAY, 400 * DAY]),
        st.sampled_from(["a", "a", "a", "b"]),
        st.sampled_from([None, "t1", "t2"]),
        st.sampled_from(["page_view", "page_ping", "email_delivered", "purchase"]),
        st.booleans(),
    ),
    min_size=1,
    max_size=30,
)


@given(STEPS, st.sampled_from(["gap", "tracker"]))
@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
def test_sessions_in_parts_are_exact_however_long_the_journey(
    bench_of: Any, ontology_text: str, event: Make, start: int, steps: Any, by: str
) -> None:
    fold = bench_of(parse_ontology(ontology_text, "journey.yaml", by)).fold
    at, events = start, []
    for number, (pause, strand, tracker, name, _) in enumerate(steps):
        at += pause
        events.append((event(name, at, event_id=f"e{number:02}", tracker=tracker, path="/p"), strand))
    events.sort(key=event_order)
    whole = fold.trace("p", events, at)
    parts = fold.start("p")
    stated, stated_of_strands = {}, {}
    for (_, _, _, _, together), item in zip(steps, events, strict=True):
        if not together:
            parts.sessions.forget_touched()
        parts.go_on([item], item[0].event_time)
        # a stream states what was touched; what was not has to be as it was stated
        for session in parts.sessions.rows("p", at, fold.lateness, parts.sessions.touched.values()):
            stated[session.session_id] = session
        own = parts.sessions.touched_by_strand.values()
        for session in parts.sessions.rows("p", at, fold.lateness, own, of_strand=True):
            stated_of_strands[session.session_id] = session
    assert tuple(stated.values()) == whole.sessions
    assert stated_of_strands == {s.session_id: s for s in whole.strand_sessions}
    assert sum(s.events for s in whole.sessions) == sum(s.events for s in whole.strand_sessions)


@given(st.sets(st.integers(0, 12), min_size=1), st.sets(st.integers(0, 12), min_size=1))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_two_tabs_of_one_page_without_ids_are_off_by_what_they_share(
    bench: Any, event: Make, start: int, one: set[int], other: set[int]
) -> None:
    pings = sorted([(interval, "v1") for interval in one] + [(interval, "v2") for interval in other])
    named = [
        event(
            "page_ping",
            start + interval * 10 * SECOND,
            event_id=f"{interval:02}{view}",
            path="/",
            properties={"page_view_id": view},
        )
        for interval, view in pings
    ]
    exact, by_path = (
        bench.trace(events).sessions[0].engaged for events in (named, [replace(ping, properties={}) for ping in named])
    )
    assert exact - by_path == 10 * SECOND * len(one & other) - 5 * SECOND
