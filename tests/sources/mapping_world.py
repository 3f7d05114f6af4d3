"""A small mapping to which a test adds what it is about, and what it makes of a row."""

from __future__ import annotations

from contracts.documents import parse
from contracts.event import Event
from sources.importer.mapping import Mapping
from sources.importer.mapping_file import parse_mapping

HEAD = """name: test
format: jsonl
"""
EVENT = """event:
  name: what
  event_time: {field: at, format: epoch_us}
  source: {constant: test}
  channel: {constant: web}
  identifiers: [{namespace: user_id, field: user}]
"""
ROW = {"what": "view", "at": 1_709_287_200_000_000, "user": "u1"}


def mapping(more: str = "", head: str = "", path: str = "m.yaml") -> Mapping:
    return parse_mapping(parse(HEAD + head + EVENT + more, path))


def events(m: Mapping, **changes: object) -> list[Event]:
    return [made.event for row in m.rows({**ROW, **changes}) for made in m.events(row)]


def value_of(written: str, **changes: object) -> object:
    """What the language makes of a value, as property ``v``."""
    (event,) = events(mapping(f"  properties:\n    v: {written}"), **changes)
    return event.properties.get("v")
