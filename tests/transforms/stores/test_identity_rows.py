"""Tables that follow the store by ``rows_since`` hold what a bounded run of all links would have written."""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

import identity_store_world as stored
import identity_world as world
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from identity_store_world import SHARDS, emptied, ends_of, mailbox, placed
from identity_world import Seen, ident, links_of
from store_world import MakePlace, Place

from contracts.event import Identifier
from contracts.exchange import IdentityRows, Link, LinkBatch
from transforms.identity import components
from transforms.identity.evidence import merge_links
from transforms.identity.graph import Links
from transforms.identity.ids import canonical_id
from transforms.identity.resolve import resolve_collected
from transforms.identity.rules import IdentityRules, StrandKey
from transforms.link import ROWS, ResolveLinks, route
from transforms.stores.database import Schema, Transaction, open_database
from transforms.stores.identity import IdentityStore, Mark
from transforms.stores.identity_schema import CHANGES, LINK_FIELDS, NODE_FIELDS, SCHEMA, STRAND_FIELDS

calm = settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

Rows = dict[Any, tuple[Any, ...]]


class Tables:
    """Tables as a host keeps them: rows by key, brought up to date page by page."""

    def __init__(self) -> None:
        self.identifiers: Rows = {}
        self.ids: Rows = {}
        self.edges: Rows = {}
        self.mark: Mark | None = None

    def take(self, rows: IdentityRows) -> None:
        self.identifiers.update((row[:2], row) for row in rows.identifiers)
        self.ids.update((row[0], row) for row in rows.persons)
        self.edges.update((row[:5], row) for row in rows.edges)

    def drop(self, identifiers: Collection[Identifier], ids: Iterable[str], edges: Iterable[Any]) -> None:
        gone = set(map(tuple, identifiers))
        self.identifiers = {key: row for key, row in self.identifiers.items() if key not in gone}
        for one in ids:
            self.ids.pop(one, None)
        for left, right, kind in edges:
            self.edges.pop((*left, *right, kind), None)
        self.edges = {k: row for k, row in self.edges.items() if k[:2] not in gone and k[2:4] not in gone}

    def follow(self, store: IdentityStore, limit: int = 1_000) -> Tables:
        """Read on to the end; the pages are applied backwards as to rows and keys, which may not matter."""
        more = True
        while more:
            page = store.rows_since(self.mark, limit)
            self.take(page.rows)
            self.drop(*page.gone)
            assert max(map(len, (page.rows.identifiers, page.rows.persons, page.rows.edges))) <= limit
            self.mark, more = page.mark, page.more
        return self

    @property
    def content(self) -> tuple[Rows, Rows, Rows]:
        return self.identifiers, self.ids, self.edges


def bounded(links: Iterable[Link], rules: IdentityRules, begin: Iterable[Link] = ()) -> Tables:
    """What the link stage of a bounded run writes; ``begin``: with which sighting links begin after requests."""
    merged = [*merge_links(links, rules), *begin]
    placement = placed(merged, rules)
    parts: defaultdict[int, list[Link]] = defaultdict(list)
    for link in merged:
        for part, sent in route(link, placement):
            parts[part].append(sent)
    requests = [link for link in merged if link.erase_before is not None]
    stage, tables = ResolveLinks(rules, SHARDS, 1, None), Tables()
    for part, some in parts.items():
        key = part.to_bytes(4, "big")
        for made in stage.process((key, [LinkBatch(tuple(some))]), placement.crowd_alone().pack(), requests):
            if getattr(made, "tag", None) == ROWS:
                tables.take(made.value[1])
    return tables


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "_WANTED", 1)


@pytest.fixture
def prepared(place: Place) -> Place:
    """A place whose tables exist."""
    stored.opened(place.address, world.rules()).close()
    return place


def bulk(store: IdentityStore, links: Iterable[Link], rules: IdentityRules) -> None:
    loaded = Links(rules)
    loaded.add_all(links)
    store.load(loaded, resolve_collected(loaded, rules))


@calm
@given(
    events=world.worlds(max_size=18, erasing=False),
    rules=world.any_rules | st.builds(world.rules, size=st.just(4), crowd=st.just(4)),
    rnd=st.randoms(use_true_random=False),
)
def test_tables_that_follow_hold_the_rows_of_the_bounded_run_of_all_links(
    prepared: Place, events: list[Seen], rules: IdentityRules, rnd: random.Random
) -> None:
    here, links = emptied(prepared), links_of(events, rules)
    store, tables, given_so_far = stored.opened(here.address, rules), Tables(), list[Link]()
    order, shown = [*links, *rnd.sample(links, len(links) // 3)], set[str]()
    rnd.shuffle(order)
    try:
        while order:
            size = rnd.randint(1, 6)
            given_so_far += order[:size]
            if rnd.random() < 0.2:
                bulk(store, given_so_far, rules)
            else:
                store.link(order[:size])
            order = order[size:]
            shown.update(person for assignment in mailbox(store) for _, person in assignment.steps)
            if rnd.random() < 0.5:
                tables.follow(store, rnd.choice([1, 2, 1_000]))
                assert tables.content == bounded(given_so_far, rules).content
                assert shown <= tables.ids.keys(), "who was ever told to be somebody's has a row"
        assert tables.follow(store).content == bounded(links, rules).content
        assert Tables().follow(store, 3).content == tables.content
        store.link(links)
        page = store.rows_since(tables.mark)
        assert (page.rows, page.mark, page.more) == (IdentityRows(), tables.mark, False)
    finally:
        store.close()


@calm
@given(
    events=world.worlds(max_size=16),
    rules=world.any_rules,
    rnd=st.randoms(use_true_random=False),
)
def test_what_is_erased_goes_from_tables_that_follow(
    prepared: Place, events: list[Seen], rules: IdentityRules, rnd: random.Random
) -> None:
    here, links = emptied(prepared), links_of(events, rules)
    store, tables = stored.opened(here.address, rules), Tables()
    order = list(links)
    rnd.shuffle(order)
    try:
        for start in range(0, len(order), 3):
            some = order[start : start + 3]
            if rnd.random() < 0.3:
                bulk(store, some, rules)
            else:
                store.link(some)
            if rnd.random() < 0.2:
                store.erase(rnd.randint(0, 30), [rnd.choice(sorted(ends_of(links)))])
            if rnd.random() < 0.6:
                tables.follow(store, rnd.choice([2, 1_000]))
                now = Tables().follow(store)
                assert tables.content == now.content
                assert tables.ids.keys() == {canonical_id(Identifier(*key)) for key in tables.identifiers}
                edges = store.edges(ends_of(links))
                assert sorted(tables.edges.values(), key=repr) == sorted((e.columns() for e in edges), key=repr)
            if rnd.random() < 0.3:
                tables.follow(store)
                store.purge([StrandKey(a.primary, a.login) for a in mailbox(store)], 30)
        assert tables.follow(store).content == Tables().follow(store).content
    finally:
        store.close()


@calm
@given(events=world.worlds(max_size=14), rules=world.any_rules, in_bulk=st.booleans())
@example(
    events=[Seen(0, "cookie:a user:1", name="erase"), Seen(1, "cookie:a user:1"), Seen(1, "cookie:a user:1 email:p")],
    rules=world.rules(unique=False, size=2),
    in_bulk=False,
)
def test_erasures_that_come_with_all_links_leave_the_rows_of_the_bounded_run(
    prepared: Place, events: list[Seen], rules: IdentityRules, in_bulk: bool
) -> None:
    # with which sighting a link begins after a request, told besides: merged links cannot know it
    here, links, begin = emptied(prepared), links_of(events, rules), world.firsts_of(events, rules)
    store = stored.opened(here.address, rules)
    try:
        if in_bulk:
            bulk(store, [*links, *begin], rules)
        else:
            store.link([*links, *begin])
        assert Tables().follow(store).content == bounded(links, rules, begin).content
    finally:
        store.close()


def test_other_rules_reach_the_tables(place: Place) -> None:
    events = [
        Seen(1, "cookie:a user:1"),
        Seen(2, "cookie:a user:2"),
        Seen(3, "email:p user:1"),
        Seen(4, "app:x cookie:b"),
    ]
    before = world.rules()
    without_mail = world.TEXT.replace("email: {{kind: known,", "email: {{kind: known, links: false,")
    store = stored.opened(place.address, before)
    links = links_of(events, before)
    store.link(links)
    tables = Tables().follow(store)
    store.close()
    kept = world.TEXT
    try:
        world.TEXT = without_mail
        after = world.rules("first_known")
    finally:
        world.TEXT = kept
    changed = stored.opened(place.address, after)
    changed.reresolve()
    assert tables.follow(changed, 2).content == bounded(links, after).content
    assert {row[-1] for row in tables.edges.values()} == {after.version}
    changed.close()


def test_a_store_of_the_layout_before_goes_on_and_tells_everything_once(make_place: MakePlace) -> None:
    rules = world.rules()
    links = links_of([Seen(1, "cookie:a user:1"), Seen(2, "cookie:b user:1 email:p"), Seen(3, "app:x")], rules)
    here, old = make_place(), make_place()
    store = stored.opened(here.address, rules)
    store.link(links)
    expected = Tables().follow(store).content
    store.close()
    before = open_database(old.address, Schema(SCHEMA.name, SCHEMA.migrations[:1]))
    for table, columns in {
        "identity_meta": ("name", "word", "number"),
        "identity_shards": ("shard", "sequence"),
        "identity_identifiers": NODE_FIELDS[:-1],
        "identity_links": LINK_FIELDS[:-1],
        "identity_strands": STRAND_FIELDS,
    }.items():
        where = "WHERE name <> 'changes'" if table == "identity_meta" else ""
        rows = here.behind(f"SELECT {', '.join(columns)} FROM {table} {where}")
        before.write(lambda tx, table=table, columns=columns, rows=rows: tx.load(table, columns, rows))
    before.close()
    store = stored.opened(old.address, rules)
    tables = Tables().follow(store, 2)
    assert tables.content == expected
    more = links_of([Seen(4, "cookie:c user:1")], rules)
    store.link(more)
    page = store.rows_since(tables.mark)
    assert {row[1] for row in page.rows.identifiers} == {"1", "c"}
    assert tables.follow(store).content == bounded([*links, *more], rules).content
    store.close()


def test_an_id_whose_name_is_forgotten_is_still_told(place: Place) -> None:
    rules = world.rules()
    store = stored.opened(place.address, rules)
    store.link(links_of([Seen(1, "cookie:a user:1"), Seen(2, "cookie:a")], rules))
    mark = Tables().follow(store).mark
    store.erase(5, [ident("user:1")])
    told = store.rows_since(mark).gone
    assert set(told.identifiers) == {ident("cookie:a"), ident("user:1")}
    assert told.edges == ((ident("user:1"), ident("cookie:a"), "seen"),)
    store.purge([StrandKey(a.primary, a.login) for a in mailbox(store)], 5)
    late = store.rows_since(mark)
    assert late.gone.identifiers == late.gone.edges == ()
    assert set(late.gone.ids) == {canonical_id(ident("cookie:a")), canonical_id(ident("user:1"))}
    assert place.behind("SELECT count(*) FROM identity_gone") == [(0,)]
    store.close()


def test_links_that_compaction_took_stay_in_the_tables(place: Place) -> None:
    rules = world.rules(size=2, crowd=2)
    links = links_of([Seen(n, f"cookie:kiosk user:{n}") for n in range(6)], rules)
    store = stored.opened(place.address, rules)
    store.link(links)
    tables = Tables().follow(store)
    assert store.compact() == 3
    assert tables.follow(store).content == bounded(links, rules).content
    store.close()


def test_a_reader_of_rows_never_passes_over_a_change_that_is_still_open(place: Place) -> None:
    """One transaction has taken a number and is held open while another wants to commit; a reader keeps looking."""
    rules = world.rules()
    first, second, reader = (stored.opened(place.address, rules) for _ in range(3))
    first.link(links_of([Seen(0, "cookie:a user:0"), Seen(0, "cookie:b user:1")], rules))
    mark = Tables().follow(reader).mark
    held = open_database(place.address, SCHEMA, 30)
    taken, go = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        tx.execute("UPDATE identity_meta SET number = number + 1 WHERE name = ?", (CHANGES,))
        (number,) = tx.one("SELECT number FROM identity_meta WHERE name = ?", (CHANGES,)) or (0,)
        tx.execute("UPDATE identity_identifiers SET change = ?, last_seen = 50 WHERE namespace = 'user'", (number,))
        taken.set()
        go.wait(20)

    slow = threading.Thread(target=lambda: held.write(hold))
    slow.start()
    assert taken.wait(20)
    fast = threading.Thread(target=lambda: second.link(links_of([Seen(9, "cookie:z user:z")], rules)))
    fast.start()
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        page = reader.rows_since(mark)
        assert (page.rows, page.mark) == (IdentityRows(), mark)
    go.set()
    slow.join(30)
    fast.join(30)
    found = {row[1] for row in reader.rows_since(mark).rows.identifiers}
    assert found == {"0", "1", "z"}
    for one in (first, second, reader, held):
        one.close()
