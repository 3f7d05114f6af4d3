"""What a person holds of strands, whatever the order in which messages come."""

from __future__ import annotations

from contracts.event import Identifier
from contracts.exchange import APPEND, WHOLE, StrandMessage
from transforms.journey.live.messages import PersonRecord, take

ANYONE = PersonRecord("p")


def message(kind: str, version: int, after: int) -> StrandMessage:
    events = (f"e{version}".encode(),)
    return StrandMessage("s", Identifier("anonymous_id", "a"), None, "p", kind, 1, version, after, events)


def test_an_append_waits_for_the_version_it_names() -> None:
    held = take(ANYONE, [message(APPEND, 3, 2)])
    assert (held.early, held.applied) == (1, 0)
    then = take(held.record, [message(WHOLE, 2, 0)])
    assert (then.early, then.applied, then.record.version) == (0, 2, 3)


def test_an_append_that_comes_with_a_later_whole_waits_for_nothing() -> None:
    taken = take(ANYONE, [message(APPEND, 3, 2), message(APPEND, 3, 2), message(WHOLE, 4, 3)])
    assert (taken.applied, taken.dropped, taken.early, taken.record.early) == (1, 2, 0, ())
    assert taken.record.version == 4
