"""Ids and shards in bulk are those of one at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contracts.event import Identifier
from transforms.identity.ids import canonical_digest, in_bulk, shard_of

any_text = st.text(st.characters(codec=None), max_size=6)


@given(st.lists(st.builds(Identifier, st.sampled_from(["a", "ü", "\ud800"]) | any_text, any_text)), st.integers(1, 99))
def test_in_bulk_says_what_one_at_a_time_says(identifiers: list[Identifier], shards: int) -> None:
    assert list(in_bulk(identifiers, shards)) == [
        (
            canonical_digest(one),
            one.value.encode("utf-8", "surrogatepass"),
            int.from_bytes(shard_of(one, shards), "big"),
        )
        for one in identifiers
    ]
