"""With what a link begins after an erasure, in a stream: as if nothing but what stayed had ever been seen."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import identity_world as world
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Seen, links_of
from live_world import SHARDS, Sent, ShardLog, Stores, Stream, expected, shard_number, strand_event, streamed
from test_live_strands import OWNERS, ROOMY, TIGHT

from contracts import wire
from contracts.exchange import MIN_TIME, IdentityRows, ShardInput
from transforms.identity.evidence import LinkBook
from transforms.identity.ids import canonical_id
from transforms.identity.reported import ReportedLinks
from transforms.identity.resolve import resolve
from transforms.stores.identity import IdentityStore


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    made = Stores(tmp_path_factory.mktemp("live"))
    yield made
    made.close()


@dataclass
class Worker:
    """What a worker of the link stage does: it merges the links of a bundle, and does not tell what it told before."""

    stream: Stream
    reported: ReportedLinks = field(init=False)

    def __post_init__(self) -> None:
        self.reported = ReportedLinks(self.stream.rules, refresh=5)
        self.stream.send = self.send  # type: ignore[method-assign]

    def send(self, batch: Sequence[Sent], *, packs: int = 1) -> None:
        book = LinkBook(self.stream.rules)
        inputs: dict[int, ShardInput] = {}
        for sent in batch:
            e = sent.event()
            book.observe(e.identifiers, e.name, e.event_id, e.event_time, e.received_time)
            stored = strand_event(sent, self.stream.rules)
            _add(inputs, shard_number(stored.primary), ShardInput((stored,)))
        news, later = self.reported.told_apart(book.drain())
        self.stream.identity.link(news)
        self.reported.confirm(news)
        for link in later:
            _add(inputs, shard_number(link.left), ShardInput(sightings=(link,)))
        for shard, content in sorted(inputs.items()):
            packed = wire.pack_compressed(content)
            self.stream._do(shard, lambda core, packed=packed: core.handle([packed], self.stream.now))


def _add(inputs: dict[int, ShardInput], shard: int, more: ShardInput) -> None:
    held = inputs.get(shard, ShardInput())
    inputs[shard] = ShardInput(held.events + more.events, sightings=held.sightings + more.sightings)


def rows_of(store: IdentityStore) -> dict[str, Any]:
    """What the store says to the tables."""
    mark, pages = None, []
    while True:
        page = store.rows_since(mark)
        pages.append(page.rows)
        mark = page.mark
        if not page.more:
            return compared(pages)


def compared(pages: Sequence[IdentityRows]) -> dict[str, Any]:
    """Rows without when they were received: of what is left, nobody keeps that apart."""
    return {
        "identifiers": {row[:2]: row[2:] for page in pages for row in page.identifiers},
        "ids": {row[0]: row[1:] for page in pages for row in page.persons},
        "edges": {row[:5]: row[5:13] for page in pages for row in page.edges},
    }


def rows_of_events(stream: Stream, events: Sequence[Seen]) -> dict[str, Any]:
    """What resolving the events says that no tombstone of the store covers."""
    erased = stream.identity.erasures()
    left = []
    for e in events:
        key = stream.rules.strand_key(e.identifiers)
        assert key is not None
        if e.time > erased.get(canonical_id(key.login or key.primary), MIN_TIME):
            left.append(e)
    found = resolve(links_of(left, stream.rules), stream.rules)
    edges = tuple(edge.columns() for edge in found.edges())
    return compared([IdentityRows(tuple(found.identifiers()), tuple(found.persons()), edges)])


def told(stream: Stream, events: Sequence[Seen], rnd: random.Random, *, crashes: bool) -> None:
    Worker(stream)
    streamed(stream, [Sent(e) for e in [*events, *rnd.sample(list(events), len(events) // 3)]], rnd, crashes=crashes)


@settings(max_examples=120, deadline=None)
@given(
    events=world.repeated() | world.worlds(max_size=14), owner=st.sampled_from(OWNERS), unique=st.booleans(),
    tight=st.booleans(), crashes=st.booleans(), rnd=st.randoms(use_true_random=False),
)  # fmt: skip
def test_a_stream_ends_with_the_rows_of_what_stayed_in_any_order_and_any_batches(
    stores: Stores, events: list[Seen], owner: str, unique: bool, tight: bool, crashes: bool, rnd: random.Random
) -> None:
    stream = stores.stream(world.rules(owner, unique), TIGHT if tight else ROOMY)
    told(stream, events, rnd, crashes=crashes)
    assert rows_of(stream.identity) == rows_of_events(stream, events)


@settings(max_examples=40, deadline=None)
@given(
    events=world.repeated() | world.worlds(max_size=14), owner=st.sampled_from(OWNERS), unique=st.booleans(),
    crashes=st.booleans(), rnd=st.randoms(use_true_random=False),
)  # fmt: skip
def test_no_shard_has_mail_when_all_have_drained(
    stores: Stores, events: list[Seen], owner: str, unique: bool, crashes: bool, rnd: random.Random
) -> None:
    stream = stores.stream(world.rules(owner, unique), ROOMY)
    told(stream, events, rnd, crashes=crashes)
    assert stream.unread() == []


@pytest.mark.parametrize("cookie", ["cookie:a", "cookie:b", "cookie:c"])
@pytest.mark.parametrize("together", [True, False])
def test_a_strand_that_the_last_step_of_another_shard_moves_hears_of_it(
    stores: Stores, cookie: str, together: bool
) -> None:
    stream = stores.stream(world.rules("first_known"), ROOMY)
    if not together:
        stream.meeting = None
        stream.cores = [stream.core(shard) for shard in range(SHARDS)]
    Worker(stream)
    events = [*(Sent(Seen(at, f"user:1 {cookie}")) for at in (3, 7, 9)), Sent(Seen(8, f"user:2 {cookie}"))]
    events.append(Sent(Seen(10, cookie, "whose")))
    stream.send(events)
    stream.poll()
    # whoever hears of this in its last step tells the store that the first user was there at 7, before the second
    request = Sent(Seen(5, "user:1", name="erase"))
    stream.send([request])
    stream.drain()
    assert len(stream.unread()) == (0 if together else 1), "each by itself, one has mail that it does not hear of"
    _, records = expected(stream, [*events, request])
    assert (stream.ear.records() == records) is together


def test_shards_without_news_for_each_other_drain_in_one_round(stores: Stores) -> None:
    stream = stores.stream(world.rules(), ROOMY)
    stream.send([Sent(Seen(1, f"cookie:{name} user:1")) for name in "abcd"])
    stream.drain()
    assert stream.drains == [0, 1, 0], "the first has to hear that the second is through"


SEEN = [Seen(at, "user:1 email:p") for at in (3, 7, 9)]
BOB = Seen(8, "user:2 email:p")


@pytest.mark.parametrize("first", range(3))
def test_the_address_stays_with_whom_it_was_first_seen_with_after_the_request(stores: Stores, first: int) -> None:
    events = [*SEEN[first:], *SEEN[:first], BOB]
    stream = stores.stream(world.rules(), ROOMY)
    Worker(stream)
    stream.send([Sent(e) for e in events])
    stream.send([Sent(Seen(5, "user:1", name="erase"))])
    stream.poll()
    assert rows_of(stream.identity) == rows_of_events(stream, [*events, Seen(5, "user:1", name="erase")])
    # between the two: neither the first nor the last that the worker has told
    stream.send([Sent(Seen(6, "user:1 email:p"))])
    stream.drain()
    assert stream.identity.edges([world.ident("email:p")])[0].first_time == 6


def test_a_shard_that_begins_anew_has_what_was_seen_after_an_erasure(stores: Stores) -> None:
    stream = stores.stream(world.rules(), ROOMY)
    Worker(stream)
    stream.send([Sent(e) for e in (SEEN[0], SEEN[2], Seen(5, "user:1", name="erase"))])
    stream.poll()
    stream.send([Sent(SEEN[1])])
    stream.logs = [ShardLog(log.chunks) for log in stream.logs]
    stream.cores = [stream.core(shard) for shard in range(SHARDS)]
    stream.drain()
    assert [edge.first_time for edge in stream.identity.edges([world.ident("email:p")])] == [7]
