"""What a journey says when its events before a cut are gone: what is exact, what is off, and by how much at most.

The stage that folds journeys cuts nothing by itself. A history begins later where a folder was begun with part of it,
or where a person's events up to a time were erased. docs/sessions.md has the table that is held here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.event import DAY, HOUR, MINUTE, SECOND, Event
from features.journey_features import FEATURES
from transforms.journey.fold import JourneyFold, Trace, event_order
from transforms.journey.functions import FUNCTIONS
from transforms.journey.ontology import Ontology
from transforms.journey.path import StagePath, StagePaths

Make = Callable[..., Event]
NAMES = (
    "home_view", "search", "product_view", "comparison_view", "pricing_view", "add_to_cart", "remove_from_cart",
    "checkout_start", "demo_request", "purchase", "login", "feature_used", "email_delivered", "email_clicked",
)  # fmt: skip
happenings = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from((SECOND, MINUTE, 29 * MINUTE, 30 * MINUTE, 7 * HOUR, 2 * DAY, 9 * DAY)),
        st.sampled_from(("phone", "laptop")),
    ),
    min_size=2,
    max_size=30,
)
quiet = settings(deadline=None, max_examples=50, suppress_health_check=list(HealthCheck))

LOOK_BACK = {"sessions_7d", "sessions_30d", "pricing_returns_30d", "device_switches_30d"}
"""Counts of what is known by the event before: the first after the cut may count for one more, or for one less."""
OF_SESSIONS = {"events_per_session_30d"}
"""Has such a count below the line."""


class Cut:
    """A journey, and the same with its events from one of them on."""

    def __init__(self, ontology: Ontology, event: Make, start: int, happened: Any, share: float, later: int) -> None:
        at, events = start, []
        for number, (name, gap, device) in enumerate(happened):
            at += gap
            made = event(name, at, event_id=f"e{number:02}", device="desktop" if device == "laptop" else "mobile")
            events.append((made, device))
        events.sort(key=event_order)
        self.place = 1 + round(share * (len(events) - 2))
        self.at = events[self.place][0].event_time
        self.before = [event for event, _ in events[: self.place]]
        self.horizon = at + later
        self._fold, self.paths = JourneyFold(ontology, FUNCTIONS), StagePaths(ontology, FUNCTIONS)
        self.whole, self.whole_path = self._told(events)
        self.tail, self.tail_path = self._told(events[self.place :])

    def _told(self, events: list[tuple[Event, str]]) -> tuple[Trace, StagePath]:
        trace = self._fold.trace("p1", events, self.horizon)
        return trace, self.paths.stage_path(trace)

    def features(self) -> tuple[dict[str, float], dict[str, float]]:
        one, other = (
            self.paths.trigger_at(trace, path, self.horizon).features
            for trace, path in ((self.whole, self.whole_path), (self.tail, self.tail_path))
        )
        return one, other


@pytest.fixture
def cut(ontology: Ontology, event: Make, start: int) -> Callable[..., Cut]:
    return lambda *arguments: Cut(ontology, event, start, *arguments)


@given(happenings, st.floats(0, 1))
@quiet
def test_sessions_after_the_first_silence_are_exact(cut: Callable[..., Cut], happened: Any, share: float) -> None:
    """All but the one the cut goes through, which begins with the first event that is left; and their numbers."""
    found = cut(happened, share, 0)
    known = {session.session_id: session for session in found.whole.sessions}
    anew = [session for session in found.tail.sessions if session.session_id not in known]
    for session in found.tail.sessions:
        if session.session_id in known:
            assert replace(session, number=known[session.session_id].number) == known[session.session_id]
    assert len(anew) <= 1
    for session in anew:
        assert session == found.tail.sessions[0]
        (parted,) = [s for s in found.whole.sessions if s.started_at < session.started_at <= s.ended_at]
        assert session.ended_at == parted.ended_at
        assert session.events < parted.events
    # of a strand too
    known = {session.session_id: session for session in found.whole.strand_sessions}
    for session in found.tail.strand_sessions:
        if session.session_id in known and session.inside in {s.session_id for s in found.whole.sessions}:
            assert replace(session, number=known[session.session_id].number) == known[session.session_id]


@given(happenings, st.floats(0, 1), st.integers(0, 60 * DAY))
@quiet
def test_an_intent_is_never_more_and_off_by_at_most_what_the_old_evidence_would_be_worth(
    cut: Callable[..., Cut], ontology: Ontology, happened: Any, share: float, later: int
) -> None:
    """Of each signal at most its cap, and what it was fed before the cut halves with each of its half-lives."""
    found = cut(happened, share, later)
    assert not any(signal.when is not None for signal in ontology.signals), "a condition could feed it otherwise"
    for stage in ontology.stages:
        missing = found.whole_path.intents[stage.name] - found.tail_path.intents[stage.name]
        most = 0.0
        for signal in stage.signals:
            fed = [e for e in found.before if signal.number in ontology.meaning(e.name, None).signals]
            worth = sum(signal.weight * 2.0 ** ((e.event_time - found.horizon) / signal.half_life) for e in fed)
            most += min(signal.cap, worth)
        assert -1e-9 <= missing <= most + 1e-9


@given(happenings, st.floats(0, 1), st.integers(0, 60 * DAY))
@quiet
def test_features_of_a_window_are_exact_once_the_window_lies_after_the_cut(
    cut: Callable[..., Cut], happened: Any, share: float, later: int
) -> None:
    found = cut(happened, share, later)
    whole, tail = found.features()
    for feature in FEATURES:
        if feature.window is None or found.horizon - feature.window < found.at:
            continue
        off = abs(whole[feature.name] - tail[feature.name])
        if feature.name in LOOK_BACK:
            assert off <= 1, feature.name
        elif feature.name not in OF_SESSIONS:
            assert off <= 1e-12, feature.name


@given(happenings, st.floats(0, 1))
@quiet
def test_counts_over_the_whole_journey_are_off_by_what_came_before(
    cut: Callable[..., Cut], ontology: Ontology, happened: Any, share: float
) -> None:
    found = cut(happened, share, 0)
    whole, tail = found.features()
    bought = sum("conversion" in ontology.meaning(event.name, None).behaviours for event in found.before)
    assert whole["conversions"] - tail["conversions"] == bought
    assert whole["known"] >= tail["known"]
    gone = found.at - found.before[0].event_time
    assert (whole["days_since_first"] - tail["days_since_first"]) * DAY == pytest.approx(gone, abs=SECOND)
    assert found.tail_path.transitions[0].from_stage is None, "the journey begins at the cut"


def test_a_stage_is_another_while_what_was_before_the_cut_still_tells(cut: Callable[..., Cut]) -> None:
    """There is no bound: who bought before the cut is a customer for half a year, and nobody knows."""
    bought = cut([("purchase", 0, "phone"), ("home_view", DAY, "phone")], 0.0, 100 * DAY)
    assert bought.whole_path.stages[-1] == "customer"
    assert bought.tail_path.stages[-1] == "discovery"
    # evidence that fades does so within what is told by its half-life: 3.5 of decision keeps it below 1.47 for 90 h
    ready = [("add_to_cart", 0, "phone"), ("checkout_start", MINUTE, "phone"), ("login", HOUR, "phone")]
    for later, stages in ((DAY, ("decision", "discovery")), (4 * DAY, ("discovery", "discovery"))):
        found = cut(ready, 1.0, later)
        names = [found.paths.names_at(0)[path.standing.stage] for path in (found.whole_path, found.tail_path)]
        assert tuple(names) == stages
