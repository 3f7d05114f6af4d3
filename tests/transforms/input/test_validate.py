"""Each rule of validation, at its bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.event import HOUR, MINUTE, Context, Event, Identifier
from transforms.dead_letter import REASONS
from transforms.validate import (
    FLAGS,
    FLAGS_PROPERTY,
    YEAR_2000,
    YEAR_2100,
    ValidationRules,
    Validator,
    flagged,
    without_reserved,
)

Maker = Callable[..., Event]
DOCS = Path(__file__).parents[3] / "docs" / "dead_letters.md"
T = 1_750_000_000_000_000


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"name": ""}, "missing_field"),
        ({"event_id": " \t"}, "missing_field"),
        ({"source": ""}, "missing_field"),
        ({"channel": ""}, "missing_field"),
        ({"event_time": T + 10 * MINUTE, "received_time": T}, None),
        ({"event_time": T + 10 * MINUTE + 1, "received_time": T}, "clock_skew"),
        ({"event_time": T - 48 * HOUR, "received_time": T}, None),
        ({"event_time": T - 48 * HOUR - 1, "received_time": T}, "expired_late"),
        ({"event_time": YEAR_2000 - 1}, "time_out_of_range"),
        ({"event_time": YEAR_2000, "received_time": YEAR_2000}, None),
        ({"received_time": YEAR_2100}, "time_out_of_range"),
        ({"event_time": -(2**63), "received_time": 2**63 - 1}, "time_out_of_range"),
        ({"identifiers": ()}, "no_identifier"),
        ({"identifiers": (Identifier("a", "b"),) * 65}, "out_of_range"),
        ({"event_id": "x" * 513}, "out_of_range"),
        ({"name": "x" * 201}, "out_of_range"),
        ({"properties": {"x": float("nan")}}, "out_of_range"),
        ({"properties": {"x": float("-inf")}}, "out_of_range"),
        ({"properties": {"x": "y" * 262_144}}, "oversize"),
        ({"context": Context(title="y" * 262_144)}, "oversize"),
        ({"identifiers": (Identifier("a", "y" * 262_144),)}, "oversize"),
        ({"properties": {"x": "y" * 200_000}}, None),
    ],
)
def test_each_rule_at_its_bound(make_event: Maker, changes: dict[str, Any], reason: str | None) -> None:
    verdict = Validator(ValidationRules()).check(make_event(**changes))
    assert verdict.reason == reason
    assert reason is None or reason in REASONS


LONG = "y" * 262_144
IN_CONTEXT = [field.name for field in dataclasses.fields(Context)]
BESIDES = {"event_time", "received_time", "schema_version", "identifiers", "context", "consent", "properties"}
"""Fields of an event that are no text; those that hold texts are listed below."""
LONG_TEXTS: list[dict[str, Any]] = [
    *({field.name: LONG} for field in dataclasses.fields(Event) if field.name not in BESIDES),
    *({"context": Context(**{name: LONG})} for name in IN_CONTEXT),
    {"identifiers": (Identifier("a", LONG),)},
    {"identifiers": (Identifier(LONG, "a"),)},
    {"consent": {LONG: True}},
    {"properties": {LONG: 1}},
    {"properties": {"a": LONG}},
    # no field is too long by itself
    {"locale": LONG[:140_000], "country": LONG[:140_000]},
]


@pytest.mark.parametrize("changes", LONG_TEXTS, ids=lambda changes: ",".join(changes))
def test_every_text_counts_for_the_size(make_event: Maker, changes: dict[str, Any]) -> None:
    assert Validator(ValidationRules()).check(make_event(**changes)).reason == "oversize"


def test_lateness_is_a_rule_of_the_event_alone(make_event: Maker) -> None:
    late = make_event(event_time=T - 3 * HOUR, received_time=T)
    assert Validator(ValidationRules(lateness=3 * HOUR)).check(late).reason is None
    assert Validator(ValidationRules(lateness=2 * HOUR)).check(late).reason == "expired_late"


def test_unknown_names_and_channels_are_kept_and_flagged(make_event: Maker) -> None:
    validator = Validator(ValidationRules(is_known=lambda name, path: name == "known"))
    assert validator.check(make_event(name="known")).flags == ()
    assert validator.check(make_event(name="other")).flags == ("unknown_name",)
    both = validator.check(make_event(name="other", channel="carrier pigeon"))
    assert both.flags == ("unknown_name", "unknown_channel")
    assert flagged(make_event(), both.flags).properties[FLAGS_PROPERTY] == "unknown_name,unknown_channel"
    assert set(both.flags) <= set(FLAGS)


def test_a_sender_cannot_set_properties_of_ours(make_event: Maker) -> None:
    forged = make_event(properties={"wayline.flags": "x", "sku": "y"})
    assert without_reserved(forged).properties == {"sku": "y"}
    plain = make_event()
    assert without_reserved(plain) is plain


def test_no_detail_repeats_content(make_event: Maker) -> None:
    secret = "jane@example.com"
    for changes in ({"name": "", "event_id": secret}, {"identifiers": (Identifier("email", secret * 20_000),)}):
        assert secret not in Validator(ValidationRules()).check(make_event(**changes)).detail


def test_the_documented_reasons_and_flags_are_the_closed_lists() -> None:
    rows = [line.split(" | ") for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    documented = {row[0].strip("| "): row[1].rstrip(" |") for row in rows}
    del documented["reason"], documented["flag"]
    assert documented == {**REASONS, **FLAGS}
