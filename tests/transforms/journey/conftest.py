"""Journeys for tests: events made short, the default ontology, and features that count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from contracts.event import DAY, Context, Event, Identifier, Scalar
from transforms.journey.fold import FeatureFunctions, JourneyFold, Trace
from transforms.journey.ontology import Ontology, load_ontology
from transforms.journey.path import StagePath, StagePaths

ONTOLOGY = Path(__file__).parents[3] / "ontology" / "journey.yaml"
START = 1_704_067_200_000_000
"""2024-01-01 00:00 UTC, a Monday."""


class CountingFeatures:
    """The number of events and of begun sessions, and the time since the latest."""

    def __init__(self) -> None:
        self.events = 0
        self.begun = 0
        self.latest = 0

    def observe(
        self,
        event: Event,
        behaviours: tuple[str, ...],
        new_session: bool,
        activity: bool = True,
        *,
        value: float | None = None,
    ) -> None:
        assert event.event_time >= self.latest, "features see the events in order"
        self.events += 1
        self.begun += new_session
        self.latest = event.event_time


def counted(state: CountingFeatures, at: int) -> tuple[float, ...]:
    return (float(state.events), float(state.begun), (at - state.latest) / DAY)


FEATURES = FeatureFunctions(("events", "begun", "idle_days"), CountingFeatures, counted)


def make_event(
    name: str,
    at: int,
    *,
    event_id: str | None = None,
    path: str | None = None,
    who: Sequence[tuple[str, str]] = (("anonymous_id", "a1"),),
    tracker: str | None = None,
    action_id: str | None = None,
    consent: dict[str, bool] | None = None,
    properties: dict[str, Scalar] | None = None,
    channel: str = "web",
    received: int | None = None,
    campaign: str | None = None,
    device: str | None = None,
) -> Event:
    return Event(
        event_id=event_id or f"{name}-{at}",
        name=name,
        event_time=at,
        received_time=at if received is None else received,
        source="test",
        channel=channel,
        identifiers=tuple(Identifier(*pair) for pair in who),
        tracker_session_id=tracker,
        action_id=action_id,
        context=Context(path=path, campaign_name=campaign),
        device_class=device,
        consent=consent or {},
        properties=properties or {},
    )


class Bench:
    """Folds journeys under one ontology."""

    def __init__(self, ontology: Ontology) -> None:
        self.ontology = ontology
        self.fold = JourneyFold(ontology, FEATURES)
        self.paths = StagePaths(ontology, FEATURES)

    def trace(self, events: Sequence[Event | tuple[Event, str]], horizon: int | None = None) -> Trace:
        pairs = [item if isinstance(item, tuple) else (item, "strand") for item in events]
        end = max(event.event_time for event, _ in pairs) if horizon is None else horizon
        return self.fold.trace("p1", pairs, end)

    def path(self, events: Sequence[Event | tuple[Event, str]], horizon: int | None = None) -> StagePath:
        return self.paths.stage_path(self.trace(events, horizon))

    def stages(self, events: Sequence[Event | tuple[Event, str]], horizon: int | None = None) -> list[str]:
        return [transition.to_stage for transition in self.path(events, horizon).transitions]


@pytest.fixture(scope="session")
def ontology() -> Ontology:
    return load_ontology(ONTOLOGY)


@pytest.fixture(scope="session")
def bench(ontology: Ontology) -> Bench:
    return Bench(ontology)


@pytest.fixture(scope="session")
def ontology_text() -> str:
    return ONTOLOGY.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def event() -> Callable[..., Event]:
    return make_event


@pytest.fixture(scope="session")
def bench_of() -> Callable[[Ontology], Bench]:
    return Bench


@pytest.fixture(scope="session")
def start() -> int:
    return START
