"""The compiled reader says what the Avro library says, and fails only as announced."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.event import EMPTY_CONTEXT, Context, Event, Identifier
from contracts.event_codec import decode_event, encode_event
from contracts.event_reader import FAULTS, event_reader, read_long, read_time

text = st.text(max_size=70)
maybe = st.none() | text
int64 = st.integers(-(2**63), 2**63 - 1)
scalar = st.none() | st.booleans() | int64 | st.floats(allow_nan=False) | text
contexts = st.builds(Context, *[maybe] * 9)
events = st.builds(
    Event,
    text,
    text,
    int64,
    int64 | st.integers(10**15, 2 * 10**15),
    text,
    text,
    st.lists(st.builds(Identifier, text, text), max_size=4).map(tuple),
    maybe,
    maybe,
    st.just(EMPTY_CONTEXT) | contexts,
    maybe,
    maybe,
    maybe,
    maybe,
    st.dictionaries(text, st.booleans(), max_size=3),
    maybe,
    maybe,
    st.dictionaries(text, scalar, max_size=4),
    st.integers(-(2**31), 2**31 - 1),
    maybe,
)


@settings(max_examples=50, deadline=None)
@given(events, events)
def test_reads_what_the_library_wrote_one_event_after_the_other(first: Event, second: Event) -> None:
    data = encode_event(first) + encode_event(second)
    read = event_reader()
    one, at = read(data, 0)
    two, end = read(data, at)
    assert (one, two, end) == (first, second, len(data))
    assert decode_event(encode_event(one)) == first


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_that_are_no_event_raise_only_the_announced_faults(data: bytes) -> None:
    try:
        event, end = event_reader()(data, 0)
    except FAULTS:
        return
    assert isinstance(event, Event)
    assert end > 0


@settings(max_examples=40, deadline=None)
@given(events, st.data())
def test_a_cut_event_is_never_taken_for_a_whole_one(event: Event, data: st.DataObject) -> None:
    whole = encode_event(event)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    try:
        _, end = event_reader()(cut, 0)
    except FAULTS:
        return
    assert end > len(cut)


@given(int64)
def test_both_integer_readers_agree(value: int) -> None:
    zigzag = (value << 1) ^ (value >> 63)
    out = bytearray()
    while zigzag > 127:
        out.append(zigzag & 127 | 128)
        zigzag >>= 7
    out.append(zigzag)
    assert read_long(bytes(out), 0) == read_time(bytes(out) + b"\xff" * 8, 0) == (value, len(out))


def test_an_endless_integer_is_refused() -> None:
    with pytest.raises(ValueError, match="64 bits"):
        read_long(b"\xff" * 30, 0)
