"""The record store: the highest version stands whoever writes, and a cut takes effect at once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_world import ROOT, MakePlace, Place, a_record, another

from transforms.stores import record_store
from transforms.stores.database import Schema, open_database
from transforms.stores.record_store import SCHEMA
from transforms.stores.records import RecordKey, RecordStore, StoredRecord, open_records


@pytest.fixture
def store(place: Place) -> Iterator[RecordStore]:
    opened = open_records(place.address, timeout=5)
    yield opened
    opened.close()


def test_a_record_comes_back_as_it_was_put(store: RecordStore) -> None:
    record = a_record("anonymous_id\x1fa'1 %s ?", 2**40)
    assert store.put([record, a_record("b")]) == ["stored", "stored"]
    assert store.get([record.key, RecordKey("strand", 3, "unknown")]) == {record.key: record}


def test_the_same_key_in_another_shard_or_stage_is_another_record(store: RecordStore) -> None:
    one, two = a_record("a"), a_record("a", shard=4)
    three = replace(one, key=RecordKey("journey", 3, "a"), body=b"journey")
    store.put([one, two, three])
    assert store.get([one.key, two.key, three.key]) == {r.key: r for r in (one, two, three)}


def test_a_lower_version_never_replaces_a_higher_one(store: RecordStore) -> None:
    assert store.put([a_record("a", 5)]) == ["stored"]
    assert store.put([a_record("a", 4), a_record("b", 1)]) == ["stale", "stored"]
    assert store.get([a_record("a").key])[a_record("a").key].version == 5
    corrected = replace(a_record("a", 5), body=b"the bundle again")
    assert store.put([corrected]) == ["stored"]
    assert store.get([corrected.key]) == {corrected.key: corrected}


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5)), max_size=6), max_size=6))
def test_puts_equal_a_dictionary_of_highest_versions(
    make_place: MakePlace, batches: list[list[tuple[str, int]]]
) -> None:
    store = open_records(make_place().address)
    oracle: dict[str, int] = {}
    for batch in batches:
        expected = []
        for key, version in batch:
            expected.append("stale" if version < oracle.get(key, version) else "stored")
            oracle[key] = max(version, oracle.get(key, version))
        assert store.put([a_record(key, version) for key, version in batch]) == expected
    assert list(store.of_shard("strand", 3)) == [a_record(key, version) for key, version in sorted(oracle.items())]
    store.close()


def test_a_shard_is_read_in_order_over_pages(store: RecordStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_store, "PAGE", 4)
    records = [a_record(f"k{n:02d}") for n in range(12)]
    store.put([*reversed(records), a_record("other", shard=9)])
    assert list(store.of_shard("strand", 3)) == records
    store.put([a_record("zz")])
    assert [record.key.key for record in store.of_shard("strand", 3)][-2:] == ["k11", "zz"]
    assert list(store.of_shard("strand", 8)) == []


def test_what_was_deleted_may_be_put_again(store: RecordStore) -> None:
    store.put([a_record("a", 5), a_record("b")])
    assert store.delete([a_record("a").key, a_record("c").key]) == 1
    assert [record.key.key for record in store.of_shard("strand", 3)] == ["b"]
    assert store.put([a_record("a", 1)]) == ["stored"]


def test_a_cut_by_key_replaces_removes_or_leaves_and_says_nothing_of_what_is_put_later(store: RecordStore) -> None:
    shorter, empty, same = a_record("a"), a_record("b"), a_record("c")
    store.put([shorter, empty, same])

    def cut(record: StoredRecord) -> StoredRecord | None:
        return {"a": replace(record, body=b"cut"), "b": None}.get(record.key.key, record)

    assert store.cut([shorter.key, empty.key, same.key, RecordKey("strand", 3, "unknown")], cut) == 2
    assert list(store.of_shard("strand", 3)) == [replace(shorter, body=b"cut"), same]
    assert store.put([empty]) == ["stored"]


def test_names_are_those_that_begin_so_in_this_shard(store: RecordStore) -> None:
    store.put([a_record(name) for name in ("s_a", "s_a.000000", "s_a.000001", "s_a0", "s_b.000000")])
    store.put([a_record("s_a.000002", shard=4)])
    found = store.names("strand", 3, "s_a.")
    assert found == [RecordKey("strand", 3, "s_a.000000"), RecordKey("strand", 3, "s_a.000001")]


def test_nothing_asked_is_nothing_done(store: RecordStore) -> None:
    assert store.put([]) == []
    assert store.get([]) == {}
    assert store.delete([]) == 0
    assert store.cut([], lambda record: None) == 0


def test_a_store_that_looked_for_owners_is_taken_on_with_all_that_it_holds(place: Place) -> None:
    before = Schema(SCHEMA.name, SCHEMA.migrations[:1])
    open_database(place.address, before).close()
    place.behind("INSERT INTO records VALUES ('strand', 3, 'a', 7, 'owner', 50, 100, 2, '')")
    store = open_records(place.address)
    assert store.put([a_record("a", 6), a_record("b")]) == ["stale", "stored"]
    assert [(r.key.key, r.version, r.last_time) for r in store.of_shard("strand", 3)] == [("a", 7, 100), ("b", 1, 100)]
    store.close()


_WRITER = """
import sys
sys.path[:0] = sys.argv[1].split(":")
from store_world import a_record, address_of
from transforms.stores.records import open_records
store = open_records(address_of(sys.argv[2:]))
start = int(sys.argv[4])
for version in range(start, 40, 3):
    store.put([a_record(f"k{n}", version) for n in range(25)])
"""


def test_processes_that_write_at_once_leave_the_highest_version(place: Place) -> None:
    writers = [subprocess.Popen(another(_WRITER, place, str(start)), cwd=ROOT) for start in range(3)]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    store = open_records(place.address)
    assert [record.version for record in store.of_shard("strand", 3)] == [39] * 25
    store.close()
