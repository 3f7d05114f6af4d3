"""The strand fold: each event one fate, the same for any order, in any number of shards and over any number of runs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import ident

from contracts import wire
from contracts.event import Event, Identifier
from contracts.event_codec import decode_event
from contracts.exchange import MIN_TIME, Assignment, ShardInput, StrandEvent
from transforms.dead_letter import DeadLetterBox
from transforms.identity.ids import canonical_id, person_shard, shard_of, strand_id
from transforms.identity.strands import PROTECTED_PAYLOAD, ShardResult, fold_shard, payload_hash

BOX = DeadLetterBox(b"k" * 32)
A, B, USER = ident("cookie:a"), ident("cookie:b"), ident("user:1")


def made(
    event_id: str,
    time: int,
    *,
    primary: Identifier = A,
    login: Identifier | None = None,
    received: int | None = None,
    name: str = "view",
    stored: bool = False,
    source: str = "web",
) -> StrandEvent:
    identifiers = (primary,) if login is None else (primary, login)
    arrived = time if received is None else received
    event = Event(event_id, name, time, arrived, source, "web", identifiers)
    return StrandEvent(event_id, time, arrived, source, primary, login, wire.pack(event), stored)


def assigned(
    person: str,
    *,
    primary: Identifier = A,
    login: Identifier | None = None,
    until: int | None = None,
    sequence: int = 1,
) -> Assignment:
    return Assignment(primary, login, sequence, ((MIN_TIME, person),), until)


def fold(events: Sequence[StrandEvent], *assignments: Assignment) -> ShardResult:
    return fold_shard([ShardInput(tuple(events)), ShardInput((), assignments)], BOX)


def times(result: ShardResult) -> list[list[int]]:
    return [[wire.unpack(Event, event).event_time for event in record.events] for record in result.records]


def said(result: ShardResult) -> tuple[object, ...]:
    """All that a result says, comparable; the log in any order."""
    return (result.records, result.dead_letters, +result.counts, sorted(result.log, key=repr), result.purges)


def test_events_of_a_strand_are_in_order_and_ties_go_by_event_id() -> None:
    result = fold([made("c", 2), made("b", 1), made("a", 2)], assigned("p"))
    (record,) = result.records
    assert [wire.unpack(Event, event).event_id for event in record.events] == ["b", "a", "c"]
    assert (record.strand_id, record.person_id, record.sequence) == (strand_id(A, None), "p", 1)


def test_logins_of_a_device_are_strands_of_their_own() -> None:
    result = fold([made("a", 1), made("b", 2, login=USER)], assigned("p"), assigned("q", login=USER))
    assert {(record.login, record.person_id) for record in result.records} == {(None, "p"), (USER, "q")}


def test_copies_are_duplicates_and_the_earliest_received_stays() -> None:
    result = fold([made("a", 1, received=9), made("a", 1, received=3), made("a", 1, received=9)], assigned("p"))
    assert result.counts == Counter({("web", "accepted"): 1, ("web", "duplicate"): 2})
    ((event,),) = (record.events for record in result.records)
    assert wire.unpack(Event, event).received_time == 3
    assert [event.received_time for event in result.log] == [3]


def test_same_id_on_another_primary_identifier_is_another_event() -> None:
    result = fold([made("a", 1), made("a", 1, primary=B)], assigned("p"), assigned("q", primary=B))
    assert result.counts == Counter({("web", "accepted"): 2})


def test_of_conflicting_payloads_the_lowest_hash_wins_and_the_other_is_a_whole_dead_letter() -> None:
    secret = "order of jane@example.com"
    one, two = made(secret, 1, name="x"), made(secret, 1, name="y")
    winner, loser = sorted((one, two), key=lambda event: payload_hash(event.event))
    for order in ([one, two, two], [two, one, two], [two, two, one]):
        result = fold(order, assigned("p"))
        (record,) = result.records
        assert record.events == (winner.event,)
        (letter,) = result.dead_letters
        assert (letter.stage, letter.reason, letter.payload_schema) == (
            "strand",
            "conflicting_payload",
            PROTECTED_PAYLOAD,
        )
        assert secret not in letter.detail
        assert decode_event(BOX.open(letter.dead_letter_id, letter.payload)) == wire.unpack(Event, loser.event)
        assert result.counts == Counter({("web", "accepted"): 1, ("web", "dead_lettered"): 1, ("web", "duplicate"): 1})


def test_payload_hash_ignores_received_time_and_the_order_of_maps_and_identifiers() -> None:
    event = Event("a", "x", 1, 2, "s", "web", (A, USER), properties={"k": 1, "l": 2})
    other = replace(event, received_time=9, identifiers=(USER, A), properties={"l": 2, "k": 1})
    assert payload_hash(wire.pack(event)) == payload_hash(wire.pack(other))
    assert payload_hash(wire.pack(event)) != payload_hash(wire.pack(replace(event, properties={"k": 2, "l": 2})))


def test_events_of_an_earlier_run_are_not_counted_but_make_copies_duplicates() -> None:
    result = fold([made("a", 1, stored=True), made("a", 1), made("b", 2)], assigned("p"))
    assert result.counts == Counter({("web", "duplicate"): 1, ("web", "accepted"): 1})
    assert times(result) == [[1, 2]]
    assert [event.event_id for event in result.log] == ["b"]


def test_copy_received_before_the_stored_one_replaces_it_in_the_log() -> None:
    result = fold([made("a", 1, received=9, stored=True), made("a", 1, received=3)], assigned("p"))
    assert result.counts == Counter({("web", "duplicate"): 1})
    assert [event.received_time for event in result.log] == [3]


def test_running_again_over_log_and_input_changes_nothing() -> None:
    new = [made("a", 1), made("a", 1, name="other"), made("b", 2), made("b", 2, received=7)]
    first = fold(new, assigned("p"))
    log = [replace(event, stored=True) for event in first.log]
    again = fold([*log, *new], assigned("p"))
    assert (again.records, again.dead_letters, again.log) == (first.records, first.dead_letters, [])
    assert again.counts == Counter({("web", "duplicate"): 4})
    assert fold(log, assigned("p")).records == first.records


def test_events_up_to_an_erasure_are_erased_and_its_strand_purged() -> None:
    events = [made("a", 1), made("a", 1, received=5), made("b", 5, stored=True), made("c", 6)]
    result = fold(events, assigned("p", until=5))
    assert times(result) == [[6]]
    assert result.counts == Counter({("web", "erased"): 2, ("web", "accepted"): 1})
    assert [event.event_id for event in result.log] == ["c"]
    assert [event.event_id for event in result.erased] == ["b"]
    (purge,) = result.purges
    assert (purge.strand_id, purge.until) == (strand_id(A, None), 5)


def test_an_erased_payload_is_no_dead_letter() -> None:
    result = fold([made("a", 1, name="x"), made("a", 1, name="y")], assigned("p", until=5))
    assert result.dead_letters == []
    assert result.counts == Counter({("web", "erased"): 2})


def test_assignment_of_the_highest_sequence_counts() -> None:
    result = fold([made("a", 1)], assigned("new", sequence=3), assigned("old", sequence=2))
    assert [(record.person_id, record.sequence) for record in result.records] == [("new", 3)]


def test_steps_of_an_assignment_split_a_strand_by_event_time() -> None:
    steps = Assignment(A, None, 1, ((MIN_TIME, "p"), (5, "q"), (8, "p")))
    result = fold([made(f"e{t}", t) for t in range(1, 10)], steps)
    assert {record.person_id: list(spans) for record, spans in zip(result.records, times(result), strict=True)} == {
        "p": [1, 2, 3, 4, 8, 9],
        "q": [5, 6, 7],
    }


def test_strand_without_an_assignment_stands_for_itself() -> None:
    (record,) = fold([made("a", 1, login=USER)]).records
    assert record.person_id == canonical_id(USER)


_events = st.lists(
    st.builds(
        made,
        st.sampled_from("abc"),
        st.sampled_from([1, 6]),
        primary=st.sampled_from([A, B]),
        login=st.sampled_from([None, USER]),
        received=st.integers(6, 8),
        name=st.sampled_from(["x", "y"]),
        stored=st.booleans(),
        source=st.sampled_from(["s", "t"]),
    ),
    max_size=10,
)
_assignments = [
    assigned("p"),
    assigned("q", login=USER, until=3),
    assigned("r", primary=B),
    assigned("q", primary=B, login=USER),
]


@settings(max_examples=60, deadline=None)
@given(_events, st.randoms(use_true_random=False))
def test_any_order_and_any_batching_gives_the_same_result(events: list[StrandEvent], rnd: random.Random) -> None:
    expected = said(fold(events, *_assignments))
    shuffled = list(events)
    rnd.shuffle(shuffled)
    batches = [ShardInput((event,), (rnd.choice(_assignments),)) for event in shuffled]
    batches.insert(rnd.randrange(len(batches) + 1), ShardInput((), tuple(_assignments)))
    assert said(fold_shard(batches, BOX)) == expected


@settings(max_examples=50, deadline=None)
@given(_events)
def test_each_event_of_the_run_meets_exactly_one_fate(events: list[StrandEvent]) -> None:
    result = fold(events, *_assignments)
    assert sum(result.counts.values()) == sum(not event.stored for event in events)
    kept = [wire.unpack(Event, event) for record in result.records for event in record.events]
    assert len(
        {(record.primary, wire.unpack(Event, e).event_id) for record in result.records for e in record.events}
    ) == len(kept)


@settings(max_examples=60, deadline=None)
@given(_events)
def test_shards_do_not_matter(events: list[StrandEvent]) -> None:
    together = fold(events, *_assignments)
    apart = [fold([e for e in events if e.primary == p], *[a for a in _assignments if a.primary == p]) for p in (A, B)]
    assert together.records == [record for result in apart for record in result.records]
    assert +together.counts == apart[0].counts + apart[1].counts


def test_shards_are_stable_and_within_bounds() -> None:
    assert shard_of(A, 64) == shard_of(ident("cookie:a"), 64)
    shards = Counter(shard_of(ident(f"cookie:{n}"), 64) for n in range(6400))
    assert len(shards) == 64
    assert max(shards.values()) < 200
    assert {int.from_bytes(person_shard(f"p_{n}", 8), "big") for n in range(200)} == set(range(8))
    assert shard_of(ident("cookie:\ud800"), 64)


def _clash(*, stored: bool) -> tuple[StrandEvent, StrandEvent]:
    """(winner, loser) of one id: of a login and of another, so that one of them can be erased alone."""
    one = made("a", 1, name="x", login=USER, stored=stored)
    two = made("a", 1, name="y", login=ident("user:2"), stored=stored)
    winner, loser = sorted((one, two), key=lambda event: payload_hash(event.event))
    return winner, loser


@pytest.mark.parametrize("which", [0, 1], ids=["what it lost to", "its event"])
def test_a_dead_letter_of_an_earlier_run_is_withdrawn_when_one_of_the_two_is_erased(which: int) -> None:
    pair = _clash(stored=False)
    (letter,) = fold(pair).dead_letters
    again = [replace(event, stored=True) for event in pair]
    result = fold(again, assigned("p", login=pair[which].login, until=5))
    assert [gone.dead_letter_id for gone in result.withdrawn] == [letter.dead_letter_id]
    assert (result.dead_letters, result.erased) == ([], [again[which]])
    (record,) = result.records
    assert record.events == (again[1 - which].event,)


def test_nothing_is_withdrawn_that_nobody_was_told() -> None:
    winner, loser = _clash(stored=False)
    assert fold([winner, loser], assigned("p", login=loser.login, until=5)).withdrawn == []
    stored = [replace(winner, stored=True), replace(loser, stored=True)]
    assert fold(stored).withdrawn == []
