"""The mapping ``segment`` on the payloads of Segment's own specification, and what the ontology makes of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import fastavro
import pytest
from click.testing import CliRunner

from benchmarks.real_data import REAL_DATA, missing
from contracts.event import Event
from pipelines.cli import wayline
from pipelines.config import SHIPPED
from sources.importer.filling import parse_filling
from sources.importer.mapping import Mapping
from sources.importer.mapping_file import load_mapping
from sources.importer.rows import RowError
from transforms.journey.ontology import load_ontology

SPEC = REAL_DATA / "segment_spec"
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
    if why := missing(SPEC):
        pytest.skip(why)
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


def test_without_an_id_of_its_own_a_call_is_known_by_all_that_it_says() -> None:
    call = {**ENVELOPE, "type": "track", "event": "Product Added", "properties": {"sku": "a", "at": {"n": 1, "row": 2}}}
    del call["messageId"]
    same = {**call, "receivedAt": "2024-03-01T11:00:00Z", "properties": {"at": {"row": 2, "n": 1}, "sku": "a"}}
    other = {**call, "properties": {"sku": "a", "at": {"n": 1, "row": 3}}}
    assert mapped(call).event_id == mapped(same).event_id != mapped(other).event_id


def test_every_payload_maps_with_the_command_of_the_page(tmp_path: Path) -> None:
    page = (SHIPPED.parent / "docs" / "mappings.md").read_text(encoding="utf-8")
    fills = re.search(r"all do with `(--fill [^`]+)`", page)
    assert fills is not None
    calls = sum(map(len, payloads().values()))
    command = ["import", "--mapping", "segment", "--input", str(SPEC), "--out", str(tmp_path)]
    done = CliRunner().invoke(wayline, [*command, *fills[1].split()], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    files = sorted((tmp_path / "events").glob("*.avro"))
    made = [list(fastavro.reader(file.open("rb"))) for file in files]
    assert (len(files), all(made), sum(map(len, made))) == (30, True, calls)
    assert len({event["event_id"] for events in made for event in events}) >= calls - 6, "shortened examples agree"
    assert not (tmp_path / "dead_letters").exists()


def test_what_nobody_made_is_no_event_until_somebody_says_who() -> None:
    filling = parse_filling(["timestamp=2024-03-01T10:00:00Z"])
    dead = set()
    for name, calls in payloads().items():
        for call in calls:
            try:
                list(mapping().events(filling.row(call)))
            except RowError as error:
                dead.add((name, error.reason))
    of_nobody = ("ecommerce_v2_all", "group_1", "page_1", "screen_1", "track_1")
    assert dead == {(name, "no_identifier") for name in of_nobody}


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
