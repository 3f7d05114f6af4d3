"""What a stream erases leaves the record store too, also the copies of persons who were read back and not put away."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_world import DAY, HOUR, MINUTE, NOON, Runs, event, write_events

from contracts import wire
from contracts.event import Event
from pipelines.stream import stream
from pipelines.stream_plan import StreamOptions
from pipelines.table_sink import DIRECT
from transforms.identity.live_eviction import SHARD_KEY
from transforms.identity.live_eviction import STAGE as STRAND
from transforms.identity.live_records import unpack_chunk, unpack_evicted
from transforms.journey.live.stored import STAGE, record_of
from transforms.stores.database import STORE_FILE, StoreAddress
from transforms.stores.records import open_records
from transforms.tables.decided_notes import note_decided

SHARDS = 2


def stored_events(out: Path) -> dict[str, set[str]]:
    """The ids of the events in the records that lie in the record store, by stage."""
    records = open_records(StoreAddress(out / "stores" / STORE_FILE))
    found: dict[str, set[str]] = {STRAND: set(), STAGE: set()}
    try:
        for shard in range(SHARDS):
            for stored in records.of_shard(STAGE, shard):
                found[STAGE] |= {wire.unpack(Event, packed).event_id for packed, _ in record_of(stored).events()}
            for stored in records.of_shard(STRAND, shard):
                if stored.key.key != SHARD_KEY:
                    for chunk in unpack_evicted(stored.body).chunks:
                        found[STRAND] |= {e.event_id for part in unpack_chunk(chunk) for e in part.events}
    finally:
        records.close()
    return found


def test_what_a_stream_erases_is_in_no_copy_of_a_record(runs: Runs) -> None:
    phone, till = {"anonymous_id": "phone", "user_id": "u1"}, {"anonymous_id": "till"}
    runs.run([event("1", "home_view", NOON, phone), event("2", "home_view", NOON, till)])
    later = [event("3", "home_view", NOON + HOUR, phone), event("4", "home_view", NOON + HOUR, till)]
    first, second = runs.root / "first", runs.root / "second"
    write_events(first / "events.avro", later)
    options = {"config": runs.config, "runner": DIRECT, "shards": SHARDS}
    stream(StreamOptions(runs.out, (str(first),), **options))  # type: ignore[arg-type]
    before = stored_events(runs.out)
    assert "e1" in before[STAGE], "the stream took it over through the record store"
    write_events(second / "events.avro", [event("5", "erasure_requested", NOON + 2 * HOUR, {"user_id": "u1"})])
    stream(StreamOptions(runs.out, (str(second),), **options))  # type: ignore[arg-type]
    assert runs.query("SELECT event_id FROM events WHERE event_id IN ('e1', 'e3')") == []
    after = stored_events(runs.out)
    for stage, ids in after.items():
        assert not ids & {"e1", "e3"}, stage
    assert "e2" in after[STAGE], "whom nobody erased is still there"


def test_what_was_decided_about_an_erased_person_is_in_no_table_whoever_decided_it(runs: Runs) -> None:
    phone, till = {"anonymous_id": "phone", "user_id": "u1"}, {"anonymous_id": "till"}
    runs.run([event("1", "home_view", NOON, phone), event("2", "home_view", NOON, till)])
    first, second = runs.root / "first", runs.root / "second"
    later = [event("3", "pricing_view", NOON + HOUR, phone), event("4", "pricing_view", NOON + HOUR, till)]
    write_events(first / "events.avro", later)
    options = {"config": runs.config, "runner": DIRECT, "shards": SHARDS}
    stream(StreamOptions(runs.out, (str(first),), **options))  # type: ignore[arg-type]
    decided = "SELECT count(*), count(DISTINCT anchor_strand) FROM decisions"
    acted = "SELECT count(*) FROM actions WHERE decision_id NOT IN (SELECT decision_id FROM decisions)"
    (before,) = runs.query(decided)
    assert before[1] == 2, "both persons were decided about"
    write_events(second / "events.avro", [event("5", "erasure_requested", NOON + 2 * HOUR, {"user_id": "u1"})])
    stream(StreamOptions(runs.out, (str(second),), **options))  # type: ignore[arg-type]
    (after,) = runs.query(decided)
    assert 0 < after[0] < before[0]
    assert after[1] == 1
    assert runs.query(acted) == [(0,)]
    assert runs.query("SELECT count(*) FROM actions") == [(after[0],)]
    assert not list((runs.out / "stores" / "decided").glob("*")), "nothing is left to be taken back"


@pytest.mark.parametrize("by_stream", [False, True])
def test_what_somebody_noted_who_died_is_taken_back_by_the_next(runs: Runs, by_stream: bool) -> None:
    runs.run([event("1", "pricing_view", NOON, {"anonymous_id": "phone"})])
    ids = [name for (name,) in runs.query("SELECT decision_id FROM decisions ORDER BY decision_id")]
    notes = runs.out / "stores" / "decided"
    note_decided(notes, ids[:1], [name for (name,) in runs.query("SELECT action_id FROM actions")])
    write_events(runs.root / "next" / "events.avro", [event("2", "home_view", NOON + HOUR, {"anonymous_id": "till"})])
    if by_stream:
        stream(StreamOptions(runs.out, (str(runs.root / "next"),), config=runs.config, runner=DIRECT, shards=SHARDS))
    else:
        runs.run_files(runs.root / "next")
    left = {name for (name,) in runs.query("SELECT decision_id FROM decisions")}
    assert left.intersection(ids) == set(ids[1:])
    assert not list(notes.iterdir())


@pytest.mark.parametrize("by_stream", [False, True])
def test_what_time_alone_led_to_after_an_erased_event_goes_with_it(runs: Runs, by_stream: bool) -> None:
    phone, till = {"anonymous_id": "phone", "user_id": "u1"}, {"anonymous_id": "till"}
    names = ("product_view", "comparison_view", "pricing_view", "pricing_view", "add_to_cart", "checkout_start")
    runs.run(
        [event(f"{who}{n}", name, NOON + n * MINUTE, device) for who, device in (("a", phone), ("b", till))
         for n, name in enumerate(names)] + [event("later", "home_view", NOON + 60 * DAY, till)]
    )  # fmt: skip
    later = f'SELECT DISTINCT person_id FROM decisions WHERE epoch_us("at") > {NOON + 10 * MINUTE}'
    assert len(runs.query(later)) == 2, "both moved by time alone"
    request = event("4", "erasure_requested", NOON + 10 * MINUTE, {"user_id": "u1"})
    if by_stream:
        write_events(runs.root / "second" / "events.avro", [request])
        stream(StreamOptions(runs.out, (str(runs.root / "second"),), config=runs.config, runner=DIRECT, shards=SHARDS))
    else:
        runs.run([request])
    assert runs.query(later) == [(runs.person("anonymous_id", "till"),)]
    assert runs.query("SELECT count(*) FROM actions WHERE decision_id NOT IN (SELECT decision_id FROM decisions)") == [
        (0,)
    ]


def test_what_a_run_erases_is_in_no_copy_that_a_stream_left(runs: Runs) -> None:
    phone, till = {"anonymous_id": "phone", "user_id": "u1"}, {"anonymous_id": "till"}
    runs.run([event("1", "home_view", NOON, phone), event("2", "home_view", NOON, till)])
    write_events(runs.root / "first" / "events.avro", [event("3", "home_view", NOON + HOUR, phone)])
    options = {"config": runs.config, "runner": DIRECT, "shards": SHARDS}
    stream(StreamOptions(runs.out, (str(runs.root / "first"),), **options))  # type: ignore[arg-type]
    before = stored_events(runs.out)
    assert "e1" in before[STAGE] & before[STRAND]
    runs.run([event("4", "erasure_requested", NOON + 2 * HOUR, {"user_id": "u1"})])
    after = stored_events(runs.out)
    for stage, ids in after.items():
        assert not ids & {"e1", "e3"}, stage
        assert "e2" in ids, "whom nobody erased is still there"
    # and the next stream, whose shards read what is left, brings nothing of it back
    write_events(runs.root / "second" / "events.avro", [event("5", "home_view", NOON + 3 * HOUR, phone)])
    stream(StreamOptions(runs.out, (str(runs.root / "second"),), **options))  # type: ignore[arg-type]
    assert runs.query("SELECT event_id FROM events ORDER BY event_id") == [("e2",), ("e5",)]
    assert not stored_events(runs.out)[STRAND] & {"e1", "e3"}


def test_what_a_stream_erased_stays_gone_when_a_run_gets_it_again(runs: Runs) -> None:
    phone, till = {"anonymous_id": "phone", "user_id": "u1"}, {"anonymous_id": "till"}
    lives = [event("1", "home_view", NOON, phone), event("2", "home_view", NOON, till)]
    request = event("3", "erasure_requested", NOON + HOUR, {"user_id": "u1"})
    write_events(runs.root / "first" / "events.avro", [*lives, request])
    options = {"config": runs.config, "runner": DIRECT, "shards": SHARDS}
    stream(StreamOptions(runs.out, (str(runs.root / "first"),), **options))  # type: ignore[arg-type]
    ids = "SELECT (SELECT count(*) FROM identifiers), (SELECT count(*) FROM persons)"
    assert runs.query(ids) == [(1, 1)], "who is erased has no id any more"
    # without the request: only the tombstones know
    report = runs.run([*lives, event("4", "home_view", NOON + 2 * HOUR, phone)])
    assert runs.query(ids) == [(3, 3)]
    assert runs.query("SELECT event_id FROM events ORDER BY event_id") == [("e2",), ("e4",)]
    assert (report.total.accepted, report.total.duplicate, report.total.erased) == (1, 1, 1)
