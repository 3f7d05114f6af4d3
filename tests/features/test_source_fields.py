"""A feature changes with its declared source fields, with each of them, and with nothing else of an event."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.event import DAY, HOUR, MINUTE, SECOND, Context, Event, Identifier
from features.counters import GROUPS, TOTALS
from features.journey_features import FEATURES, named, vector
from transforms.journey.fold import JourneyFold, event_order
from transforms.journey.functions import FUNCTIONS
from transforms.journey.ontology_file import parse_ontology
from transforms.journey.session_rule import SessionRule

SHIPPED = (Path(__file__).parents[2] / "ontology" / "journey.yaml").read_text(encoding="utf-8")
BEHAVIOURS = sorted({shown for group in (GROUPS | TOTALS).values() for shown in group})
ONTOLOGY = parse_ontology(
    # a path for every behaviour: of those that the shipped ontology tells by name alone, another may tell them so
    re.sub(r"(?<=    paths:\n)(      .*\n)+", "".join(f'      {b}: ["/{b}"]\n' for b in BEHAVIOURS), SHIPPED, count=1),
    "paths.yaml",
)
FOLDS = [
    JourneyFold(replace(ONTOLOGY, sessions=rule), FUNCTIONS)
    for rule in (SessionRule(), SessionRule(by="tracker"), SessionRule(campaign=True))
]
T0 = 1_704_067_200_000_000
NAMES = (
    "page_view", "home_view", "product_view", "category_view", "search", "comparison_view", "pricing_view",
    "add_to_cart", "checkout_start", "purchase", "login", "demo_request", "email_unsubscribed", "support_ticket",
    "email_delivered", "email_open", "email_click", "ad_click", "account_view", "refund",
)  # fmt: skip
PATHS = (None, "/", *(f"/{shown}" for shown in BEHAVIOURS))
GAPS = (SECOND, MINUTE, 9 * MINUTE, 40 * MINUTE, 5 * HOUR, 2 * DAY, 9 * DAY)
CAMPAIGN = [field.name for field in fields(Context) if field.name.startswith("campaign_")]

Change = Callable[[random.Random, Event], Event]


def in_context(**changes: Callable[[random.Random], Any]) -> Change:
    return lambda rng, event: replace(
        event, context=replace(event.context, **{name: draw(rng) for name, draw in changes.items()})
    )


def of_event(name: str, draw: Callable[[random.Random], Any]) -> Change:
    return lambda rng, event: replace(event, **{name: draw(rng)})


def text(rng: random.Random) -> str | None:
    return rng.choice((None, "a", "b", "c"))


def consent(rng: random.Random) -> dict[str, bool]:
    return rng.choice(({}, {"email": True}, {"email": False, "ads": True}))


def properties(rng: random.Random) -> dict[str, Any]:
    return rng.choice(({}, {"value": 10.0}, {"value": 2.5, "total": 1}, {"engaged_ms": 3}))


def campaign(rng: random.Random, event: Event) -> Event:
    """Another value of one of the fields, or of none."""
    given = dict.fromkeys(CAMPAIGN) | {rng.choice(CAMPAIGN): rng.choice((None, None, None, "a"))}
    return replace(event, context=replace(event.context, **given))


CHANGES: dict[str, Change] = {
    "name": of_event("name", lambda rng: rng.choice(NAMES)),
    "event_time": lambda rng, event: replace(event, event_time=event.event_time - rng.choice(GAPS)),
    "received_time": lambda rng, event: replace(event, received_time=event.received_time + rng.choice(GAPS)),
    "source": of_event("source", lambda rng: rng.choice("abc")),
    "channel": of_event("channel", lambda rng: rng.choice(("web", "email", "call", "store", "ads"))),
    "identifiers": of_event("identifiers", lambda rng: (Identifier("user_id", rng.choice("abc")),)),
    "tracker_session_id": of_event("tracker_session_id", text),
    "action_id": of_event("action_id", text),
    "device_class": of_event("device_class", lambda rng: rng.choice((None, "mobile", "tablet", "desktop"))),
    "locale": of_event("locale", text),
    "time_zone": of_event("time_zone", lambda rng: rng.choice((None, "Europe/Berlin", "America/New_York"))),
    "country": of_event("country", text),
    "consent": of_event("consent", consent),
    "correlation_id": of_event("correlation_id", text),
    "traceparent": of_event("traceparent", text),
    "properties": of_event("properties", properties),
    "schema_version": of_event("schema_version", lambda rng: rng.randrange(9)),
    "mapping_version": of_event("mapping_version", text),
    "context.url": in_context(url=text),
    "context.path": in_context(path=lambda rng: rng.choice(PATHS)),
    "context.title": in_context(title=text),
    "context.referrer": in_context(referrer=text),
    "context.campaign": campaign,
}
"""Every field of an event but its id, which is its identity, and how it is changed."""


def journey(rng: random.Random) -> list[Event]:
    found, at = [], T0
    for number in range(rng.randrange(1, 25)):
        at += rng.choice(GAPS)
        event = Event(f"e{number:03}", rng.choice(NAMES), at, at, "s", "web", (Identifier("anonymous_id", "a"),))
        for change in ("channel", "tracker_session_id", "device_class", "consent", "properties", "context.path",
                       "context.campaign"):  # fmt: skip
            event = CHANGES[change](rng, event)
        if rng.random() < 0.3:
            event = replace(event, name="page_view")
        found.append(event)
    return found


def values(fold: JourneyFold, events: list[Event], at: int) -> dict[str, float]:
    made = fold.start("p")
    made.go_on(sorted(((event, "s") for event in events), key=event_order), at)
    return named(vector(made.features, at))


def moved(seed: int, field: str) -> set[str]:
    """The features that another value of a field of some events changes, in one journey."""
    rng = random.Random(f"{seed} {field}")
    before = journey(rng)
    share = rng.choice((0.1, 0.5, 1.0))
    after = [CHANGES[field](rng, event) if rng.random() < share else event for event in before]
    at = max(event.event_time for event in before) + rng.choice((0, HOUR, 6 * DAY, 29 * DAY))
    fold = rng.choice(FOLDS)
    old, new = values(fold, before, at), values(fold, after, at)
    return {name for name in old if old[name] != new[name]}


def test_every_field_of_an_event_can_be_changed_here() -> None:
    of_context = {f"context.{field.name}" for field in fields(Context)} - {f"context.{name}" for name in CAMPAIGN}
    of_all = {field.name for field in fields(Event)} - {"event_id", "context"}
    assert set(CHANGES) == of_all | of_context | {"context.campaign"}
    assert {field for feature in FEATURES for field in feature.fields} <= set(CHANGES)


@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 10**9), field=st.sampled_from(sorted(CHANGES)))
def test_a_feature_changes_only_with_its_source_fields(seed: int, field: str) -> None:
    declared = {feature.name for feature in FEATURES if field in feature.fields}
    assert moved(seed, field) <= declared


@pytest.mark.parametrize("field", sorted({field for feature in FEATURES for field in feature.fields}))
def test_a_feature_changes_with_each_of_its_source_fields(field: str) -> None:
    """So none is declared that does not matter; in so many journeys each is seen to."""
    waiting = {feature.name for feature in FEATURES if field in feature.fields}
    for seed in range(3_000):
        waiting -= moved(seed, field)
        if not waiting:
            return
    pytest.fail(f"{field} never changed {sorted(waiting)}")
