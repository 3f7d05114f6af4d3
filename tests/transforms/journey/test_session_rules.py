"""Sessions by rule against a naive oracle, and the conventions of others against what they publish.

The sources are named in docs/sessions.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.errors import ConfigurationError
from contracts.event import DAY, HOUR, MINUTE, SECOND, Event
from transforms.journey.ontology import Ontology
from transforms.journey.ontology_file import parse_ontology

GAP = 30 * MINUTE
Make = Callable[..., Event]
SHIPPED = """\
  by: gap                # or tracker: the tracker's own session id says
  gap: 30m
  tracker_timeout: 24h
"""


def under(text: str, *rules: str) -> Ontology:
    """The shipped ontology with other session rules."""
    assert SHIPPED in text
    return parse_ontology(text.replace(SHIPPED, "".join(f"  {rule}\n" for rule in rules)), "journey.yaml")


def naive(events: list[tuple[Event, str]], zone: str | None, campaigns: bool) -> list[list[str]]:
    """Event ids by session, by the words of the rule alone."""
    found: list[list[str]] = []
    before: Event | None = None
    stated: str | None = None
    for event, _ in events:
        anew = before is None or event.event_time - before.event_time >= GAP
        if before is not None and zone is not None:
            anew |= local_day(before, zone) != local_day(event, zone)
        campaign = event.context.campaign_name
        anew |= campaigns and campaign is not None and campaign != stated
        if anew:
            found.append([])
            stated = None
        stated = campaign or stated
        found[-1].append(event.event_id)
        before = event
    return found


def local_day(event: Event, zone: str) -> object:
    return datetime.fromtimestamp(event.event_time / SECOND, UTC).astimezone(ZoneInfo(zone)).date()


STEPS = st.lists(
    st.tuples(
        st.sampled_from([0, SECOND, 10 * MINUTE, GAP - 1, GAP, 5 * HOUR, DAY]),
        st.sampled_from([None, None, "spring", "summer"]),
        st.sampled_from(["phone", "laptop"]),
    ),
    min_size=1,
    max_size=40,
)


@given(
    STEPS,
    st.sampled_from([None, "UTC", "Europe/Berlin", "America/Sao_Paulo"]),
    st.booleans(),
    # around midnight, and where clocks change: Berlin in March, and Sao Paulo, whose midnight was skipped
    st.sampled_from(["2024-01-01T23:40", "2024-03-30T22:30", "2018-11-04T02:30", "2018-02-18T01:30"]),
)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_midnight_and_campaigns_part_sessions_as_the_words_say(
    bench_of: Any, ontology_text: str, event: Make, steps: Any, zone: str | None, campaigns: bool, start: str
) -> None:
    rules = [f"new_at_campaign: {str(campaigns).lower()}"] + ([f"new_at_midnight: {zone}"] if zone else [])
    at = int(datetime.fromisoformat(start).replace(tzinfo=UTC).timestamp()) * SECOND
    events = []
    for number, (pause, campaign, strand) in enumerate(steps):
        at += pause
        events.append((event("search", at, event_id=f"e{number:02}", campaign=campaign), strand))
    trace = bench_of(under(ontology_text, *rules)).trace(events, at)
    found: dict[str, list[str]] = {}
    for step in trace.steps:
        found.setdefault(step.session_id, []).append(step.event.event_id)
    assert list(found.values()) == naive(events, zone, campaigns)
    # and each strand alone, as if it were a person of its own
    for strand in ("phone", "laptop"):
        own = [s for s in trace.strand_sessions if s.strand_id == strand]
        alone = naive([pair for pair in events if pair[1] == strand], zone, campaigns)
        assert [(s.number, s.events) for s in own] == [(n, len(ids)) for n, ids in enumerate(alone, 1)]
    assert {s.inside for s in trace.strand_sessions} <= {s.session_id for s in trace.sessions}


def test_a_session_across_devices_is_one_of_the_person_and_one_of_each(bench: Any, event: Make, start: int) -> None:
    trace = bench.trace(
        [
            (event("home_view", start, path="/", channel="web"), "phone"),
            (event("search", start + 20 * MINUTE, path="/s", channel="web"), "laptop"),
            (event("search", start + 40 * MINUTE, path="/t", channel="app"), "phone"),
        ]
    )
    (whole,) = trace.sessions
    assert (whole.events, whole.strands, whole.channels) == (3, 2, {"web": 2, "app": 1})
    assert [(s.strand_id, s.number, s.events) for s in trace.strand_sessions] == [
        ("phone", 1, 1), ("laptop", 1, 1), ("phone", 2, 1),
    ]  # fmt: skip
    assert {s.inside for s in trace.strand_sessions} == {whole.session_id}


# --- GA4 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "apart", "engaged"),
    [
        (["page_view"], 0, False),
        (["page_view", "scroll"], 10 * SECOND, False),  # "lasts longer than 10 seconds"
        (["page_view", "scroll"], 10 * SECOND + 1, True),
        (["page_view", "page_view"], SECOND, True),  # "at least 2 pageviews or screenviews"
        (["page_view", "purchase"], SECOND, True),  # "has a key event"
        (["product_view", "product_view"], SECOND, False),  # an event of another name is no page view
    ],
)
def test_ga4_an_engaged_session(
    bench_of: Any, ontology_text: str, event: Make, start: int, names: list[str], apart: int, engaged: bool
) -> None:
    events = [event(name, start + apart * n, tracker="1704067200", path="/") for n, name in enumerate(names)]
    (session,) = bench_of(under(ontology_text, "preset: ga4")).trace(events).sessions
    assert session.bounced is not engaged


def test_ga4_neither_midnight_nor_a_campaign_ends_a_session_but_30_minutes_do(
    bench_of: Any, ontology_text: str, event: Make, start: int
) -> None:
    events = [
        event("page_view", start - MINUTE, campaign="a"),
        event("page_view", start + MINUTE, campaign="b"),
        event("page_view", start + 31 * MINUTE),
    ]
    found = bench_of(under(ontology_text, "preset: ga4")).trace(events).sessions
    assert [s.events for s in found] == [2, 1]


def test_ga4_there_is_no_limit_to_how_long_a_session_can_last_and_a_property_may_wait_7_hours_55_minutes(
    bench_of: Any, ontology_text: str, event: Make, start: int
) -> None:
    """The tracker knows which timeout its property has: where it goes on with an id, so do we."""
    longest = 7 * HOUR + 55 * MINUTE
    events = [event("page_view", start + n * (longest - SECOND), tracker="100.200.1704067200") for n in range(30)]
    (session,) = bench_of(under(ontology_text, "preset: ga4")).trace(events).sessions
    assert session.ended_at - session.started_at > 9 * DAY


@dataclass
class Ga4Session:
    """A session by the words of Google's pages, counted by hand."""

    begun: int
    ended: int = 0
    events: int = 0
    views: int = 0
    key_events: int = 0
    msec: int = 0

    @property
    def engaged(self) -> bool:
        """ "lasts longer than 10 seconds, has a key event, or has at least 2 pageviews or screenviews"."""
        return self.ended - self.begun > 10 * SECOND or self.key_events > 0 or self.views >= 2


VISITS = st.lists(
    st.tuples(
        st.sampled_from([0, SECOND, 10 * SECOND, 11 * SECOND, 9 * MINUTE, GAP - 1, GAP, 5 * HOUR, 2 * DAY]),
        st.sampled_from(["page_view", "screen_view", "scroll", "user_engagement", "view_item", "purchase"]),
        st.integers(0, 20_000),
    ),
    min_size=1,
    max_size=40,
)


@given(VISITS)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_ga4_sessions_of_a_device_are_those_of_the_published_words(
    bench_of: Any, ontology_text: str, event: Make, start: int, visits: list[tuple[int, str, int]]
) -> None:
    """A tracker by Google's words gives the ids; what the preset makes of them is held against counting by hand.

    A session begins with a view when none is active, ends after 30 minutes of inactivity whatever the day or the
    campaign, and is told by ``ga_session_id`` (the second it began) within ``user_pseudo_id``, as the mapping joins
    them.
    """
    expected: list[Ga4Session] = []
    events, at, tracker = [], start, ""
    for number, (pause, name, msec) in enumerate(visits):
        at += pause
        if not expected or pause >= GAP:
            name = "page_view"
            expected.append(Ga4Session(at))
            tracker = f"100.200.{at // SECOND}"
        session = expected[-1]
        # no event states more time than went by since the one before
        said = min(msec, pause // 1_000) if session.events else 0
        session.ended = at
        session.events += 1
        session.views += name in ("page_view", "screen_view")
        session.key_events += name == "purchase"
        session.msec += said
        properties = {"engagement_time_msec": said}
        events.append(event(name, at, event_id=f"e{number:02}", tracker=tracker, path="/", properties=properties))
    trace = bench_of(under(ontology_text, "preset: ga4")).trace(events, at)
    assert [
        (s.number, s.tracker_session_id, s.started_at, s.ended_at, s.events, s.views, s.engaged, not s.bounced)
        for s in trace.strand_sessions
    ] == [
        # ga_session_number: "a user's 1st or 5th session"
        (n, f"100.200.{s.begun // SECOND}", s.begun, s.ended, s.events, s.views, s.msec * 1_000, s.engaged)
        for n, s in enumerate(expected, 1)
    ]
    assert len(trace.sessions) == len({e.tracker_session_id for e in events})


def test_ga4_two_devices_that_begin_in_the_same_second_have_a_session_each(
    bench_of: Any, ontology_text: str, event: Make, start: int
) -> None:
    """As the mapping joins them: the id alone is a time in seconds."""
    events = [
        (event("page_view", start, tracker=f"{device}.1704067200", event_id=device), device)
        for device in ("100.200", "300.400")
    ]
    assert len(bench_of(under(ontology_text, "preset: ga4")).trace(events).sessions) == 2


def test_ga4_engagement_time_is_the_sum_of_what_events_state(
    bench_of: Any, ontology_text: str, event: Make, start: int
) -> None:
    said = [{"engagement_time_msec": 4_000}, {"engagement_time_msec": 6_500}, {"engagement_time_msec": "x"}, {}]
    events = [event("scroll", start + n, tracker="1", properties=p) for n, p in enumerate(said)]
    (session,) = bench_of(under(ontology_text, "preset: ga4")).trace(events).sessions
    assert session.engaged == 10_500_000
    assert not session.bounced


# --- Snowplow ----------------------------------------------------------------------------------------------------


def snowplows_engaged_time(pings: dict[str, list[int]]) -> int:
    """Page view to times of its pings; seconds as the page-view model states them: 10 * (distinct - 1) + 5."""
    return sum(10 * (len({at // (10 * SECOND) for at in times}) - 1) + 5 for times in pings.values() if times)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["v1", "v2", "v3"])), max_size=30))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_snowplow_engaged_time_of_interleaved_tabs(
    bench_of: Any, ontology_text: str, event: Make, start: int, pings: list[tuple[int, str]]
) -> None:
    at, events, times = start, [event("page_view", start, tracker="t", path="/")], {}
    for number, (pause, view) in enumerate(pings):
        at += pause * SECOND
        times.setdefault(view, []).append(at)
        properties = {"page_view_id": view}
        events.append(event("page_ping", at, event_id=f"p{number:02}", tracker="t", path="/", properties=properties))
    (session,) = bench_of(under(ontology_text, "preset: snowplow")).trace(events).sessions
    expected = snowplows_engaged_time(times)
    assert (session.engaged or 0) == expected * SECOND
    # engaged_session of the package: page_views >= 2 or engaged_time_in_s / heartbeat >= 2
    assert session.bounced is not (session.views >= 2 or expected / 10 >= 2)


def test_snowplow_the_trackers_id_says_and_without_one_30_minutes_do(
    bench_of: Any, ontology_text: str, event: Make, start: int
) -> None:
    events = [
        event("page_view", start, tracker="s1"),
        event("page_view", start + 29 * MINUTE, tracker="s1"),
        event("page_view", start + 2 * HOUR, tracker="s2"),
        event("page_view", start + 3 * HOUR),
    ]
    trace = bench_of(under(ontology_text, "preset: snowplow")).trace(events)
    assert [(s.number, s.tracker_session_id, s.events) for s in trace.strand_sessions] == [
        (1, "s1", 2), (2, "s2", 1), (3, None, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("preset: ga5", "ga5"),
        ("new_at_midnight: Europe/Berlim", "no time zone"),
        ("views: [page]", "no behaviour"),
        ("engaged: {views: 0}", "at least 1"),
        ("tracker_timeout: 1m", "shorter"),
    ],
)
def test_a_rule_that_is_none_is_refused_with_its_line(ontology_text: str, rule: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        under(ontology_text, rule)
    assert caught.value.line is not None
