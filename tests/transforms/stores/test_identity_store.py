"""The identity store keeps its word on both databases: idempotence, order of commits, erasure, rules, many writers."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from identity_store_world import SHARDS, ends_of, mailbox, opened, said_by_core, said_by_store
from store_world import MakePlace, Place, another

import identity_world as world  # isort: skip
from identity_world import Seen, ident, links_of  # isort: skip
from contracts.errors import OutputError, WaylineError
from contracts.exchange import Link
from transforms.identity.graph import Links
from transforms.identity.ids import canonical_id, shard_of
from transforms.identity.neighbourhood import Neighbourhood
from transforms.identity.resolve import resolve, resolve_collected
from transforms.identity.rules import StrandKey
from transforms.stores.database import Transaction, open_database
from transforms.stores.identity import NOTHING, IdentityStore, open_identity
from transforms.stores.identity_schema import SCHEMA

RULES = world.rules()


@pytest.fixture
def store(place: Place) -> Iterator[IdentityStore]:
    opened_store = opened(place.address, RULES)
    yield opened_store
    opened_store.close()


def seen(*events: Seen) -> list[Link]:
    return links_of(events, RULES)


def person(store: IdentityStore, name: str) -> str:
    one = canonical_id(ident(name))
    return store.person_of([one])[one]


# --- linking ------------------------------------------------------------------------------------------------------


def test_what_is_known_already_changes_nothing(store: IdentityStore) -> None:
    links = seen(Seen(1, "cookie:a user:1"), Seen(2, "cookie:b user:1"))
    assert store.link(links).assignments == 5
    before = mailbox(store)
    assert store.link(links) == NOTHING
    assert store.link([*links, *links]) == NOTHING
    assert mailbox(store) == before


def test_a_raised_last_evidence_is_kept_but_resolves_only_where_a_policy_needs_it(store: IdentityStore) -> None:
    store.link(seen(Seen(1, "cookie:a user:1")))
    raised = store.link(seen(Seen(9, "cookie:a user:1")))
    assert (raised.links, raised.resolved, raised.assignments) == (1, 0, 0)
    assert [edge.last_time for edge in store.edges([ident("user:1")])] == [9]
    store.link(seen(Seen(5, "cookie:a user:2")))
    assert person(store, "cookie:a") == person(store, "user:1")
    assert store.link(seen(Seen(10, "cookie:a user:2"))).resolved > 0
    assert person(store, "cookie:a") == person(store, "user:2")


def test_only_changed_strands_get_a_new_number(store: IdentityStore) -> None:
    store.link(seen(Seen(1, "cookie:a user:1"), Seen(2, "cookie:b user:2")))
    last = {shard: max((a.sequence for a in store.assignments_since(shard, 0)), default=0) for shard in range(SHARDS)}
    store.link(seen(Seen(3, "cookie:a email:p"), Seen(4, "user:1 email:p")))
    news = {(a.primary, a.login) for shard in range(SHARDS) for a in store.assignments_since(shard, last[shard])}
    assert news == {(ident("email:p"), None), (ident("cookie:a"), ident("email:p"))}


def test_the_mailbox_is_read_in_pages(store: IdentityStore) -> None:
    store.link(seen(*(Seen(n, f"cookie:{n} user:{n % 7}") for n in range(60))))
    assert mailbox(store, limit=3) == mailbox(store)
    assert all(a.sequence and shard_of(a.primary, SHARDS) for a in mailbox(store))


def test_assignments_are_found_by_strand(store: IdentityStore) -> None:
    store.link(seen(Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2")))
    asked = [
        StrandKey(ident("cookie:a"), None),
        StrandKey(ident("cookie:a"), ident("user:1")),
        StrandKey(ident("cookie:a"), ident("user:3")),
        StrandKey(ident("cookie:x"), None),
    ]
    found = store.assignments_of(asked)
    assert found.keys() == set(asked[:2])
    assert found[asked[0]].steps[0][1] == canonical_id(ident("user:2"))
    assert found[asked[1]].steps[0][1] == canonical_id(ident("user:1"))


def test_any_id_ever_shown_resolves_after_merge_split_and_erasure(store: IdentityStore) -> None:
    store.link(seen(Seen(1, "cookie:a"), Seen(2, "crm:k email:p")))
    assert person(store, "email:p") == canonical_id(ident("crm:k"))
    store.link(seen(Seen(3, "cookie:a crm:k")))
    assert person(store, "cookie:a") == canonical_id(ident("crm:k"))
    store.link(seen(Seen(4, "email:p crm:k", name="unlink")))
    assert person(store, "email:p") == canonical_id(ident("email:p"))
    store.erase(9, persons=[canonical_id(ident("crm:k"))])
    for name in ("cookie:a", "crm:k"):
        assert person(store, name) == canonical_id(ident(name))
    assert store.person_of([canonical_id(ident("user:never"))]) == {}


def test_odd_identifiers_are_kept_as_they_are(store: IdentityStore) -> None:
    odd = ["a:b", "\0", "ü\U0001f600", "\ud800", "'; --", "", "p_", "x" * 1_000_000]
    links = [
        Link(ident("user:1"), world.Identifier("cookie", value), n, value[:9], n, value[:9], n)
        for n, value in enumerate(odd)
    ]
    store.link(links)
    assert said_by_store(store, ends_of(links)) == said_by_core(resolve(links, RULES), ends_of(links))


def test_identifiers_that_may_not_link_and_links_with_oneself_are_harmless(store: IdentityStore) -> None:
    one, network = ident("user:1"), ident("network:n")
    links = [
        Link(one, one, 1, "a", 1, "a", 1, kind="merge"),
        Link(one, network, 2, "b", 2, "b", 2),
        Link(ident("nothing:x"), one, 3, "c", 3, "c", 3),
    ]
    store.link(links)
    assert {(a.primary, a.login) for a in mailbox(store)} == {(one, None)}
    assert store.edges([one]) == []


def test_a_neighbourhood_can_be_resolved_by_who_asks(store: IdentityStore) -> None:
    links = seen(Seen(1, "cookie:a user:1"), Seen(2, "cookie:b user:1"), Seen(3, "cookie:c user:2"))
    store.link(links)
    near: Neighbourhood = store.neighbourhood_of(ident("user:1"))
    assert near.targets == {ident("cookie:a"), ident("cookie:b"), ident("user:1")}
    assert resolve(near.links, RULES).person_of(ident("cookie:a")) == canonical_id(ident("user:1"))


def test_a_shared_device_is_contained_and_never_read_whole(place: Place) -> None:
    rules = world.rules(size=20, crowd=50)
    store = opened(place.address, rules)
    links = links_of([Seen(n, f"cookie:kiosk user:{n}") for n in range(300)], rules)
    for start in range(0, 300, 25):
        store.link(links[start : start + 25])
    assert len({person(store, f"user:{n}") for n in range(300)}) == 300
    near = store.neighbourhood_of(ident("user:7"))
    assert len(near.links) == 1
    before = said_by_store(store, ends_of(links))
    assert store.compact() == 249
    assert store.compact() == 0
    assert store.link(links).assignments == 0
    after = said_by_store(store, ends_of(links))
    assert (after["assignments"], after["persons"]) == (before["assignments"], before["persons"])
    store.close()


@pytest.mark.parametrize("bulk", [False, True])
def test_a_strand_is_told_when_an_unlink_keeps_its_login_from_the_device_and_when_none_does(
    place: Place, bulk: bool
) -> None:
    rules = world.rules("carry_forward")
    strand = (ident("cookie:a"), ident("user:1"))
    events = [Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2"), Seen(3, "cookie:a user:3")]
    asked = [Seen(5, "cookie:a user:1", name="unlink"), Seen(6, "cookie:a user:1", name="merge")]
    store = opened(place.address, rules)
    told: list[bool] = []
    last = dict.fromkeys(range(SHARDS), 0)
    for count in range(3):
        links = links_of([*events, *asked[:count]], rules)
        if bulk:
            loaded = Links(rules)
            loaded.add_all(links)
            store.load(loaded, resolve_collected(loaded, rules))
        else:
            store.link(links)
        for shard in range(SHARDS):
            for a in store.assignments_since(shard, last[shard]):
                last[shard] = a.sequence
                told += [a.barred] * ((a.primary, a.login) == strand)
    store.close()
    assert told == [False, True, False]


# --- erasure ------------------------------------------------------------------------------------------------------


def test_an_erasure_tells_every_strand_and_leaves_only_tombstones(place: Place, store: IdentityStore) -> None:
    links = seen(Seen(1, "cookie:a user:1"), Seen(2, "cookie:a"), Seen(8, "cookie:b user:2"))
    store.link(links)
    store.erase(5, [ident("user:1")])
    told = {(a.primary, a.login): a.erased_before for a in mailbox(store)}
    gone = [StrandKey(ident("cookie:a"), None), StrandKey(ident("cookie:a"), ident("user:1"))]
    gone.append(StrandKey(ident("user:1"), None))
    assert {strand for strand, until in told.items() if until == 5} == set(gone)
    assert store.purge(gone, 4) == 0
    assert store.purge(gone, 5) == 3
    assert {(a.primary, a.login) for a in mailbox(store)} == told.keys() - set(gone)
    assert place.behind("SELECT count(*) FROM identity_identifiers WHERE value IS NULL") == [(2,)]
    assert set(store.erasures().values()) == {5}
    store.link(links)
    assert {(a.primary, a.login): a.erased_before for a in mailbox(store)} == told
    assert [edge.left for edge in store.edges(ends_of(links))] == [ident("user:2")]


def test_who_comes_back_after_an_erasure_starts_anew(store: IdentityStore) -> None:
    store.link(seen(Seen(1, "cookie:a user:1")))
    store.erase(5, [ident("user:1")])
    store.link(seen(Seen(7, "cookie:a user:1")))
    (edge,) = store.edges([ident("user:1")])
    assert (edge.first_time, edge.status) == (7, "accepted")
    assert {a.erased_before for a in mailbox(store)} == {5}


def test_an_older_link_that_comes_late_is_erased_too(store: IdentityStore) -> None:
    store.link(seen(Seen(2, "cookie:a user:1")))
    store.erase(5, [ident("user:1")])
    store.link(seen(Seen(1, "cookie:late user:1")))
    assert store.edges([ident("user:1")]) == []
    assert store.erasures()[canonical_id(ident("cookie:late"))] == 5


def test_what_compaction_folded_counts_no_longer_once_it_is_erased(make_place: MakePlace) -> None:
    rules = world.rules(size=2, crowd=2)
    links = links_of([Seen(n, f"cookie:kiosk user:{n}") for n in range(6)], rules)
    degrees = []
    for compacting in (False, True):
        place = make_place()
        store = opened(place.address, rules)
        store.link(links)
        assert not compacting or store.compact() == 3
        mark = store.rows_since(None).mark
        found = []
        for step in ("erase", "again", "back"):
            if step == "back":
                store.link(links_of([Seen(20, "cookie:kiosk user:5")], rules))
            else:
                store.erase(9, [ident("user:5")])
            if step == "erase":
                gone = store.rows_since(mark).gone
                assert ident("user:5") in gone.identifiers
                assert (ident("user:5"), ident("cookie:kiosk"), "seen") in gone.edges
            found.append(sorted(place.behind("SELECT namespace, degree FROM identity_identifiers")))
        degrees.append(found)
        store.close()
    assert degrees[0] == degrees[1]
    assert ("cookie", 5) in degrees[1][1]
    assert ("cookie", 6) in degrees[1][2]


# --- rules, shards, layout ----------------------------------------------------------------------------------------


def test_other_rules_are_not_mixed_in_before_they_are_asked_for_by_name(place: Place, store: IdentityStore) -> None:
    links = seen(Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2"))
    store.link(links)
    other = world.rules(owner="first_known")
    changed = opened(place.address, other)
    with pytest.raises(OutputError, match="resolved under"):
        changed.link(links)
    assert changed.reresolve().assignments == 1
    assert said_by_store(changed, ends_of(links)) == said_by_core(resolve(links, other), ends_of(links))
    with pytest.raises(OutputError, match="resolved under"):
        store.link(seen(Seen(9, "cookie:z")))
    changed.close()


def test_another_number_of_shards_is_refused(place: Place, store: IdentityStore) -> None:
    store.link(seen(Seen(1, "cookie:a")))
    other = open_identity(place.address, RULES, SHARDS + 1)
    with pytest.raises(OutputError, match="shards"):
        other.link(seen(Seen(2, "cookie:b")))
    other.close()


# --- several at once ----------------------------------------------------------------------------------------------


def test_a_reader_never_passes_over_a_number_of_a_transaction_that_is_still_open(place: Place) -> None:
    """One transaction has taken numbers and is held open while another wants to commit; a reader looks all the time."""
    first, second, reader = (opened(place.address, RULES) for _ in range(3))
    first.link(seen(Seen(0, "cookie:a user:0")))
    shard = int.from_bytes(shard_of(ident("cookie:a"), SHARDS), "big")
    held = open_database(place.address, SCHEMA, 30)
    taken, go = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        """What ``write`` does with a shard, slowly: the number is taken, the row stands, nothing is committed yet."""
        tx.execute("UPDATE identity_shards SET sequence = sequence + 1 WHERE shard = ?", (shard,))
        (number,) = tx.one("SELECT sequence FROM identity_shards WHERE shard = ?", (shard,)) or (0,)
        tx.execute("UPDATE identity_identifiers SET sequence = ? WHERE shard = ?", (number, shard))
        taken.set()
        go.wait(20)

    slow = threading.Thread(target=lambda: held.write(hold))
    slow.start()
    assert taken.wait(20)
    fast = threading.Thread(target=lambda: second.link(seen(Seen(9, "cookie:a user:9"))))
    fast.start()
    seen_so_far = [a.sequence for a in reader.assignments_since(shard, 0)]
    last = max(seen_so_far)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        # the second may not show a number above the first's while that is open
        assert reader.assignments_since(shard, last) == []
    go.set()
    slow.join(30)
    fast.join(30)
    numbers = [a.sequence for a in reader.assignments_since(shard, last)]
    assert numbers == sorted(set(numbers))
    assert len(numbers) >= 2
    for one in (first, second, reader, held):
        one.close()


def test_concurrent_writers_and_a_reader_agree(place: Place) -> None:
    """Three writers with links of the same few persons, and a reader who must never find a number it has passed."""
    rnd = random.Random(3)
    links = seen(*(Seen(n, f"cookie:{rnd.randrange(25)} user:{rnd.randrange(12)}") for n in range(90)))
    stores = [opened(place.address, RULES) for _ in range(4)]
    failed: list[Exception] = []
    done = threading.Event()

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except (AssertionError, WaylineError) as error:
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def writing(number: int) -> None:
        for start in range(number * 10, len(links), 20):
            stores[number].link(links[start : start + 20])

    followed: dict[object, object] = {}

    def reading() -> None:
        last = dict.fromkeys(range(SHARDS), 0)
        finished = False
        while not finished:
            finished = done.is_set()
            for shard in range(SHARDS):
                for a in stores[3].assignments_since(shard, last[shard], 5):
                    assert a.sequence > last[shard]
                    last[shard] = a.sequence
                    followed[a.primary, a.login] = (a.steps, a.erased_before, a.carry, a.barred)
                    finished = False

    reader = guarded(reading)
    writers = [guarded(lambda number=number: writing(number)) for number in range(3)]
    for writer in writers:
        writer.join(120)
    done.set()
    reader.join(60)
    assert not failed
    core = said_by_core(resolve(links, RULES), ends_of(links))
    assert said_by_store(stores[3], ends_of(links)) == core
    assert followed == core["assignments"]
    for one in stores:
        one.close()


KILLED = """
import sys, random, time
sys.path[:0] = sys.argv[1].split(":")
from store_world import address_of
from identity_store_world import opened
import identity_world as world
from identity_world import Seen, links_of
seed, count = int(sys.argv[4]), int(sys.argv[5])
rules = world.rules(demote_after="4")
store = opened(address_of(sys.argv[2:4]), rules)
rnd = random.Random(seed)
events = [Seen(n, f"cookie:{rnd.randrange(30)} user:{rnd.randrange(20)}") for n in range(count)]
links = links_of(events, rules)
print("ready", flush=True)
for start in range(0, len(links), 4):
    store.link(links[start : start + 4])
print("done", flush=True)
"""


def test_writers_that_are_killed_lose_nothing_that_is_linked_again(make_place: MakePlace) -> None:
    """Four processes, each killed somewhere in the middle, then run again to the end: as if nothing had happened."""
    place, rules, count = make_place(), world.rules(demote_after="4"), 160
    opened(place.address, rules).close()
    rnd = random.Random(11)

    def start(seed: int) -> subprocess.Popen[str]:
        command = another(KILLED, place, str(seed), str(count))
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    processes = [start(seed) for seed in range(4)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        time.sleep(rnd.uniform(0.05, 0.25))
        process.send_signal(signal.SIGKILL)
    codes = [process.wait(30) for process in processes]
    for process in processes:
        process.communicate()
    assert -signal.SIGKILL in codes
    again = [start(seed) for seed in range(4)]
    assert [process.communicate(timeout=240)[0] for process in again] == ["ready\ndone\n"] * 4
    links: list[Link] = []
    for seed in range(4):
        one = random.Random(seed)
        events = [Seen(n, f"cookie:{one.randrange(30)} user:{one.randrange(20)}") for n in range(count)]
        links += links_of(events, rules)
    store = opened(place.address, rules)
    assert said_by_store(store, ends_of(links)) == said_by_core(resolve(links, rules), ends_of(links))
    store.close()


def test_each_of_several_requests_in_one_batch_covers_its_own_time(place: Place) -> None:
    rules = world.rules("keep_apart")
    events = [
        Seen(1, "cookie:a user:1"),
        Seen(3, "user:1", name="erase"),
        Seen(4, "cookie:a user:2"),
        Seen(5, "user:1", name="erase"),
    ]
    links = links_of(events, rules)
    store = opened(place.address, rules)
    try:
        store.link(links)
        expected = {(a.primary, a.login): a.erased_before for a in resolve(links, rules).assignments()}
        assert expected[ident("cookie:a"), None] == 3
        assert {(a.primary, a.login): a.erased_before for a in mailbox(store)} == expected
    finally:
        store.close()
