"""The mapping ``segment`` on the payloads of Segment's own specification, and what the ontology makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.event import Event
from pipelines.config import SHIPPED
from sources.importer.mapping import Mapping
from sources.importer.mapping_file import load_mapping
from sources.importer.rows import RowError
from transforms.journey.ontology import load_ontology

SPEC = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "segment_spec"
ENVELOPE = {
    "anonymousId": "a1",
    "messageId": "m1",
    "timestamp": "2024-03-01T10:00:00.250Z",
    "receivedAt": "2024-03-01T10:00:01Z",
}
"""What Segment's libraries and servers add to every call; many examples of the specification show the rest only."""


def mapping() -> Mapping:
    return load_mapping("segment", SHIPPED / "mappings")


def mapped(call: dict[str, Any]) -> Event:
    (made,) = mapping().events(call)
    return made.event


def payloads() -> dict[str, list[dict[str, Any]]]:
    if not SPEC.is_dir():
        pytest.skip(f"{SPEC} is not here: Segment's payloads lie beside the repository, in ../shared/data")
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(SPEC.glob("*.json"))}
    return {name: calls if isinstance(calls, list) else [calls] for name, calls in found.items()}


def test_every_payload_of_the_specification_maps() -> None:
    found = payloads()
    assert len(found) == 30
    for name, calls in found.items():
        for number, call in enumerate(calls):
            event = mapped({**ENVELOPE, "messageId": f"{name}-{number}", **call})
            kind = call.get("type", call.get("action"))
            expected = {"page": "page_view", "screen": "screen_view"}.get(kind, kind)
            assert event.name == (call["event"] if kind == "track" else expected), name
            assert event.event_id.startswith(call.get("messageId", name))


def test_a_payload_that_is_whole_maps_as_it_stands_and_a_part_of_one_is_no_event() -> None:
    whole, parts = [], []
    for name, calls in payloads().items():
        for call in calls:
            try:
                whole += [name for _ in mapping().events(call)]
            except RowError as error:
                parts.append((name, error.reason))
    assert whole == ["alias_2", "common_1", "group_2", "identify_2", "page_2", "screen_2", "track_2"]
    assert {reason for _, reason in parts} == {"missing_field"}
    assert len({*whole, *(name for name, _ in parts)}) == 30


def test_the_shipped_ontologies_know_the_events_of_the_specification() -> None:
    paths = [SHIPPED / "journey.yaml", *sorted((SHIPPED / "templates").glob("*/journey.yaml"))]
    ontologies = [load_ontology(path) for path in paths]
    of_somebody = {"Report Submitted", "Course Clicked"}
    for calls in payloads().values():
        for call in calls:
            event = mapped({**ENVELOPE, **call})
            for path, ontology in zip(paths, ontologies, strict=True):
                known = ontology.is_known(event.name, event.context.path)
                assert known or event.name in of_somebody, f"{path}: {event.name}"


def test_who_somebody_is_stands_in_identifiers_and_not_in_properties() -> None:
    event = mapped(
        {
            **ENVELOPE,
            "type": "track",
            "event": "Signed Up",
            "userId": "u1",
            "context": {"traits": {"email": "ann@shop.example"}, "groupId": "g1", "device": {"id": "D-1"}},
            "properties": {"first_name": "Ann", "email": "ann@shop.example", "type": "organic", "nested": {"a": 1}},
        }
    )
    assert event.identifiers == (
        ("anonymous_id", "a1"),
        ("device_id", "D-1"),
        ("user_id", "u1"),
        ("email", "ann@shop.example"),
    )
    assert event.properties == {"type": "organic", "account_id": "g1"}


def test_members_of_an_account_are_not_one_person() -> None:
    call = {**ENVELOPE, "type": "group", "userId": "u1", "groupId": "g1", "traits": {"email": "office@shop.example"}}
    event = mapped(call)
    assert event.identifiers == (("anonymous_id", "a1"), ("user_id", "u1"))
    assert event.properties["account_id"] == "g1"


@pytest.mark.parametrize(
    ("previous", "expected"), [("a0", ("anonymous_id", "a0")), ("jen@shop.example", ("email", "jen@shop.example"))]
)
def test_an_alias_links_the_former_name(previous: str, expected: tuple[str, str]) -> None:
    call = {"type": "alias", "userId": "u1", "previousId": previous, "timestamp": ENVELOPE["timestamp"]}
    event = mapped(call)
    assert event.identifiers == (("user_id", "u1"), expected)
    assert event.name == "alias"


def test_a_call_without_a_message_id_keeps_its_id_when_it_is_sent_again() -> None:
    call = {key: value for key, value in ENVELOPE.items() if key != "messageId"}
    first = mapped({**call, "type": "track", "event": "Order Completed", "receivedAt": "2024-03-01T10:00:01Z"})
    again = mapped({**call, "type": "track", "event": "Order Completed", "receivedAt": "2024-03-01T10:05:01Z"})
    other = mapped({**call, "type": "track", "event": "Order Cancelled"})
    assert first.event_id == again.event_id != other.event_id


@pytest.mark.parametrize(
    ("call", "channel", "device", "path"),
    [
        ({"type": "page", "properties": {"url": "https://x.example/pricing?a=1"}}, "web", None, "/pricing"),
        ({"type": "page", "context": {"page": {"path": "/docs"}}}, "web", None, "/docs"),
        ({"type": "screen", "name": "Cart", "context": {"device": {"type": "ios"}}}, "app", "mobile", "Cart"),
        ({"type": "track", "event": "Email Opened"}, "email", None, None),
        ({"type": "track", "event": "x", "channel": "server"}, "other", None, None),
        ({"action": "track", "event": "x", "context": {"userAgent": "Mozilla (Macintosh)"}}, "web", "desktop", None),
    ],
)
def test_where_somebody_was(call: dict[str, Any], channel: str, device: str | None, path: str | None) -> None:
    event = mapped({**ENVELOPE, **call})
    assert (event.channel, event.device_class, event.context.path) == (channel, device, path)


def test_a_call_of_rudderstack_maps_by_the_same_file() -> None:
    event = mapped(
        {
            "type": "page",
            "channel": "web",
            "messageId": "r-1",
            "anonymousId": "a1",
            "userId": "u1",
            "originalTimestamp": "2024-03-01T10:00:00.000Z",
            "sentAt": "2024-03-01T10:00:00.100Z",
            "context": {
                "traits": {"email": "ann@shop.example"},
                "page": {"path": "/pricing", "url": "https://x.example/pricing", "referrer": "$direct"},
                "locale": "de-DE",
            },
            "properties": {"path": "/pricing", "url": "https://x.example/pricing", "name": "Pricing"},
            "name": "Pricing",
        }
    )
    assert (event.name, event.channel, event.context.path, event.locale) == ("page_view", "web", "/pricing", "de-DE")
    assert [identifier.namespace for identifier in event.identifiers] == ["anonymous_id", "user_id", "email"]
    assert event.received_time - event.event_time == 100_000


def test_what_is_no_call_is_left_out() -> None:
    assert list(mapping().events({**ENVELOPE, "type": "_metadata"})) == []
