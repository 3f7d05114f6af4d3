"""Batches on their way to an actor."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import StateVersionError
from transforms.actor.packing import VERSION, pack, unpack


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_a_batch_is_unpacked_as_it_was_packed(elements: list[bytes]) -> None:
    assert unpack(pack(elements)) == elements


def test_a_batch_of_a_newer_release_is_refused_by_its_version() -> None:
    newer = bytes((VERSION + 1,)) + b"whatever it may look like"
    with pytest.raises(StateVersionError, match=f"version {VERSION + 1}, and this .* up to version {VERSION}"):
        unpack(newer)


@pytest.mark.parametrize("junk", [b"", b"\x01", b"\x00no batch", b"\x01" + msgspec.msgpack.encode({"a": 1})])
def test_what_is_no_batch_is_said_to_be_none(junk: bytes) -> None:
    with pytest.raises(ValueError, match="no batch of elements"):
        unpack(junk)
