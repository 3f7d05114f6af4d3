"""Events and files for the tests of the input stages."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import fastavro
import pytest

from contracts import codec
from contracts.event import Context, Event, Identifier
from contracts.event_codec import event_to_record

NOON = 1_750_000_000_000_000


def _event(number: int = 0, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "event_id": f"e{number}",
        "name": "product_view",
        "event_time": NOON + number * 1_000_000,
        "received_time": NOON + number * 1_000_000 + 500_000,
        "source": "web",
        "channel": "web",
        "identifiers": (Identifier("anonymous_id", f"a{number % 7}"), Identifier("user_id", f"u{number % 5}")),
        "context": Context(url=f"https://shop.example/p/{number}", path=f"/p/{number}"),
        "device_class": "mobile",
        "consent": {"email": True},
        "properties": {"price": 9.5, "sku": "x", "count": number},
    }
    return Event(**{**fields, **changes})


def _container(events: Sequence[Event], codec_name: str = "null", interval: int = 2_000) -> bytes:
    out = io.BytesIO()
    records = [event_to_record(e) for e in events]
    fastavro.writer(
        out,
        codec.without_logical_types(codec.raw_schema("event")),
        records,
        codec=codec_name,
        sync_interval=interval,
        sync_marker=b"0123456789abcdef",
    )
    return out.getvalue()


@pytest.fixture(name="make_event", scope="session")
def make_event_fixture() -> Any:
    """event(number, **changes)."""
    return _event


@pytest.fixture(name="make_file", scope="session")
def make_file_fixture() -> Any:
    """container(events, codec, interval) -> bytes of an event file."""
    return _container
