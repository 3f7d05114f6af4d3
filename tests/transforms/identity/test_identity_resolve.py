"""Resolution: a pure function of the set of links, with limits that hold and owners that are right."""

from __future__ import annotations

import random
import sqlite3
from collections import defaultdict

import identity_world as world
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Seen, ident, links_of

from contracts.event import Identifier
from transforms.identity.evidence import LinkBook, merge_links
from transforms.identity.ids import canonical_id
from transforms.identity.resolve import Resolution, resolve
from transforms.identity.rules import CARRYING, IdentityRules


def resolved(*events: Seen, rules: IdentityRules | None = None) -> Resolution:
    by = rules or world.rules()
    return resolve(links_of(events, by), by)


def person(resolution: Resolution, name: str) -> str:
    return resolution.person_of(ident(name))


def of(name: str) -> str:
    return canonical_id(ident(name))


# --- order does not matter -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(world.worlds(), world.any_rules, st.randoms(use_true_random=False))
def test_any_order_duplication_and_batching_gives_the_same_resolution(
    events: list[Seen], rules: IdentityRules, rnd: random.Random
) -> None:
    expected = world.everything(resolve(links_of(events, rules), rules))
    shuffled = [*events, *rnd.choices(events, k=rnd.randrange(4))]
    rnd.shuffle(shuffled)
    assert world.everything(resolve(links_of(shuffled, rules), rules)) == expected
    books = [LinkBook(rules) for _ in range(3)]
    for event in shuffled:
        rnd.choice(books).observe(event.identifiers, event.name, event.id, event.time, event.time + 1)
    merged = [link for book in books for link in book.drain()] + world.firsts_of(shuffled, rules)
    rnd.shuffle(merged)
    assert world.everything(resolve(merged, rules)) == expected
    again = [*merge_links(merged, rules), *world.firsts_of(events, rules)]
    assert world.everything(resolve(again, rules)) == expected


@settings(max_examples=60, deadline=None)
@given(world.worlds(), world.any_rules)
def test_every_strand_of_every_event_has_exactly_one_assignment(events: list[Seen], rules: IdentityRules) -> None:
    assignments = list(resolve(links_of(events, rules), rules).assignments())
    names = [(a.primary, a.login) for a in assignments]
    assert len(names) == len(set(names))
    keys = (rules.strand_key(event.identifiers) for event in events)
    assert {tuple(key) for key in keys if key is not None} <= set(names)


@settings(max_examples=60, deadline=None)
@given(world.worlds(erasing=False), world.any_rules)
def test_every_id_ever_shown_has_a_row_that_leads_to_one_that_stands_for_itself(
    events: list[Seen], rules: IdentityRules
) -> None:
    resolution = resolve(links_of(events, rules), rules)
    rows = {row.person_id: row for row in resolution.persons()}
    identifiers = list(resolution.identifiers())
    assert set(rows) == {canonical_id(Identifier(row.namespace, row.value)) for row in identifiers}
    for row in rows.values():
        assert not row.is_current, "that is for the journeys to say"
        assert row.first_seen <= row.last_seen
    shown = {a.steps[0][1] for a in resolution.assignments()} | {row.person_id for row in identifiers}
    assert all(rows[rows[person_id].merged_into or person_id].merged_into is None for person_id in {*shown, *rows})


@settings(max_examples=60, deadline=None)
@given(world.worlds(erasing=False), world.any_rules)
def test_no_person_breaks_a_limit(events: list[Seen], rules: IdentityRules) -> None:
    members: dict[str, list[str]] = defaultdict(list)
    for row in resolve(links_of(events, rules), rules).identifiers():
        members[row.person_id].append(row.namespace)
    limit = rules.namespaces["user"].limit
    if rules.namespaces["cookie"].owner in CARRYING or any(e.name in ("merge", "alias") for e in events):
        return  # what people ask for holds whatever limits say; what is carried is a member of nobody
    for namespaces in members.values():
        assert len(namespaces) <= rules.component_size
        assert limit is None or limit.within or namespaces.count("user") <= limit.values


@settings(max_examples=60, deadline=None)
@given(world.worlds(erasing=False))
def test_a_second_oracle_in_sql_agrees_where_nothing_is_refused(events: list[Seen]) -> None:
    rules = world.rules(unique=False)
    links = links_of([Seen(event.time, event.names) for event in events], rules)
    resolution = resolve(links, rules)
    db = sqlite3.connect(":memory:")
    db.execute("create table link (l text, r text, t int, e text)")
    for link in links:
        right = ":".join(link.right) if link.right else None
        db.execute(
            "insert into link values (?, ?, ?, ?)", (":".join(link.left), right, link.last_time, link.last_event_id)
        )
    nodes = {":".join(end) for link in links for end in (link.left, link.right) if end}
    known = {node for node in nodes if node.split(":")[0] in ("user", "crm", "email")}
    db.execute("create table node (n text, k int)")
    db.executemany("insert into node values (?, ?)", [(node, node in known) for node in nodes])
    reach = """
        with recursive
          edge(a, b) as (
            select l, r from link join node x on x.n = l join node y on y.n = r where x.k = y.k
            union select r, l from link join node x on x.n = l join node y on y.n = r where x.k = y.k),
          reach(a, b) as (select n, n from node union select reach.a, edge.b from reach join edge on edge.a = reach.b)
        select a, min(b) from reach group by a"""
    component: dict[str, str] = dict(db.execute(reach).fetchall())
    db.execute("create table component (n text, c text)")
    db.executemany("insert into component values (?, ?)", component.items())
    owner: dict[str, str] = {}
    sightings = """
        select d.c, k.c, max(t), e from link
          join node on node.n = l and node.k = 1 join component k on k.n = l
          join node m on m.n = r and m.k = 0 join component d on d.n = r
        group by d.c, k.c, t, e, l order by t, e, l"""
    for group, holder, _, _ in db.execute(sightings).fetchall():
        owner[group] = holder
    expected = defaultdict(set)
    for node in nodes:
        expected[owner.get(component[node], component[node])].add(node)
    found = defaultdict(set)
    for row in resolution.identifiers():
        found[row.person_id].add(f"{row.namespace}:{row.value}")
    assert sorted(map(sorted, found.values())) == sorted(map(sorted, expected.values()))


# --- rules one by one ----------------------------------------------------------------------------------------------


def test_login_takes_the_earlier_anonymous_events_of_its_device() -> None:
    resolution = resolved(Seen(1, "cookie:a"), Seen(5, "cookie:a user:1"))
    assert person(resolution, "cookie:a") == of("user:1")
    assert world.strands_of(resolution)[ident("cookie:a"), None] == of("user:1")


def test_shared_device_keeps_its_logins_apart() -> None:
    for owner in ("last_known", "first_known", "keep_apart"):
        strands = world.strands_of(
            resolved(Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2"), rules=world.rules(owner))
        )
        assert strands[ident("cookie:a"), ident("user:1")] == of("user:1")
        assert strands[ident("cookie:a"), ident("user:2")] == of("user:2")


@pytest.mark.parametrize(
    ("owner", "holder"), [("last_known", "user:2"), ("first_known", "user:1"), ("keep_apart", "cookie:a")]
)
def test_owner_of_a_shared_device_follows_the_policy(owner: str, holder: str) -> None:
    events = [Seen(2, "cookie:a user:1"), Seen(9, "cookie:a user:2"), Seen(5, "cookie:a user:1"), Seen(1, "cookie:a")]
    resolution = resolved(*events, rules=world.rules(owner))
    assert world.strands_of(resolution)[ident("cookie:a"), None] == of(holder)
    refused = {edge.left: edge.rule for edge in resolution.edges() if not edge.accepted}
    assert set(refused.values()) == {owner}
    assert ident(holder) not in refused


def test_last_sighting_decides_and_not_the_last_new_link() -> None:
    resolution = resolved(Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2"), Seen(3, "cookie:a user:1"))
    assert person(resolution, "cookie:a") == of("user:1")


def test_two_logins_of_one_person_do_not_make_a_device_shared() -> None:
    rules = world.rules("keep_apart", unique=False)
    resolution = resolved(Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2"), Seen(3, "user:1 user:2"), rules=rules)
    assert (
        person(resolution, "cookie:a") == person(resolution, "user:1") == person(resolution, "user:2") == of("user:1")
    )


def test_device_seen_with_more_logins_than_it_may_be_belongs_to_none() -> None:
    events = [Seen(n, f"cookie:a user:{n}") for n in range(1, 5)]
    assert person(resolved(*events, rules=world.rules(demote_after="4")), "cookie:a") == of("user:4")
    public = resolved(*events, rules=world.rules(demote_after="3"))
    assert person(public, "cookie:a") == of("cookie:a")
    assert {edge.rule for edge in public.edges()} == {"demoted"}


def test_demotion_counts_the_values_of_one_namespace_and_not_all_identifiers() -> None:
    of_two = [
        Seen(1, "user:1 email:e"),
        Seen(2, "cookie:a user:1"),
        Seen(3, "cookie:a email:e"),
        Seen(4, "cookie:a user:2"),
    ]
    assert person(resolved(*of_two, rules=world.rules(demote_after="2")), "cookie:a") == of("user:2")


def test_devices_seen_together_without_a_login_share_their_owner() -> None:
    resolution = resolved(Seen(1, "cookie:a app:x"), Seen(2, "app:x user:1"))
    assert person(resolution, "cookie:a") == of("user:1")


def test_unique_refuses_the_later_link_and_both_ends_keep_their_persons() -> None:
    events = [Seen(1, "user:1 email:e"), Seen(2, "user:2 email:e"), Seen(3, "user:2 crm:k")]
    resolution = resolved(*events)
    assert person(resolution, "email:e") == of("user:1")
    assert person(resolution, "crm:k") == of("user:2")
    refused = [edge for edge in resolution.edges() if not edge.accepted]
    assert [(edge.left, edge.right, edge.rule) for edge in refused] == [
        (ident("user:2"), ident("email:e"), "limit:user")
    ]


def test_first_evidence_decides_which_of_two_conflicting_links_holds() -> None:
    late_first = [Seen(9, "user:1 email:e"), Seen(2, "user:2 email:e")]
    assert person(resolved(*late_first), "email:e") == of("user:2")
    assert person(resolved(*late_first, Seen(1, "user:1 email:e")), "email:e") == of("user:1")


def test_component_size_refuses_the_link_that_would_pass_it() -> None:
    events = [Seen(n, f"user:1 email:{n}") for n in range(1, 6)]
    resolution = resolved(*events, rules=world.rules(size=4))
    persons = [person(resolution, f"email:{n}") for n in range(1, 6)]
    assert persons == [of("user:1")] * 3 + [of("email:4"), of("email:5")]
    assert [edge.rule for edge in resolution.edges() if not edge.accepted] == ["component_size"] * 2


def test_component_size_counts_devices_in_order_of_first_evidence() -> None:
    events = [Seen(n, f"cookie:{n} user:1") for n in range(1, 6)]
    resolution = resolved(*events, rules=world.rules(size=4))
    holders = [person(resolution, f"cookie:{n}") for n in range(1, 6)]
    assert holders == [of("user:1")] * 3 + [of("cookie:4"), of("cookie:5")]
    # what was done under the login stays the login's all the same
    assert world.strands_of(resolution)[ident("cookie:5"), ident("user:1")] == of("user:1")


def test_anchor_is_the_best_known_then_earliest_identifier() -> None:
    events = [Seen(1, "cookie:a email:e"), Seen(2, "email:f crm:k"), Seen(3, "crm:k email:e")]
    assert person(resolved(*events), "cookie:a") == of("crm:k")
    assert person(resolved(*events, Seen(9, "user:1 email:e")), "cookie:a") == of("user:1")
    only_mail = [Seen(5, "cookie:a email:e"), Seen(7, "email:f email:e"), Seen(6, "email:f")]
    assert person(resolved(*only_mail), "cookie:a") == of("email:e")
    assert person(resolved(*only_mail, Seen(2, "email:f")), "cookie:a") == of("email:f")


def test_alias_follows_its_identifier_with_its_own_times() -> None:
    resolution = resolved(Seen(1, "cookie:a"), Seen(5, "cookie:a user:1"), Seen(8, "user:1"))
    rows = {row.person_id: row for row in resolution.persons()}
    assert tuple(rows[of("cookie:a")]) == (of("cookie:a"), 1, 5, False, of("user:1"))
    assert tuple(rows[of("user:1")]) == (of("user:1"), 5, 8, False, None)


def test_the_id_of_an_anchor_whose_strands_went_to_several_stands_for_nobody_and_is_still_told() -> None:
    # the cookies are one group, whose anchor is the earlier one; then an unlink parts them
    together = [Seen(1, "app:x"), Seen(2, "cookie:a app:x"), Seen(3, "cookie:b app:x")]
    before = world.strands_of(resolved(*together))
    assert {before[ident(name), None] for name in ("cookie:a", "cookie:b")} == {of("app:x")}
    for events in (together, [*together, Seen(4, "cookie:a app:x", name="unlink")]):
        resolution = resolved(*events)
        rows = {row.person_id: row.merged_into for row in resolution.persons()}
        assert rows.keys() == {of("app:x"), of("cookie:a"), of("cookie:b")}
        assert rows[of("app:x")] is None
        assert rows[of("cookie:b")] == of("app:x")
        assert rows[of("cookie:a")] == (of("app:x") if events is together else None)


def test_links_of_a_namespace_that_may_no_longer_link_are_left_out() -> None:
    links = links_of([Seen(1, "cookie:a user:1")], world.rules())
    strict = world.rules()
    moved = [
        link if link.right is None else type(link)(link.left, ident("network:a"), 1, "e", 1, "e", 1) for link in links
    ]
    assert list(resolve(moved, strict).identifiers()) == []


def test_identifier_never_seen_is_a_person_of_its_own() -> None:
    assert person(resolved(Seen(1, "cookie:a")), "user:77") == of("user:77")


def test_poison_identifier_shared_by_many_is_contained() -> None:
    events = [Seen(n, f"cookie:p user:{n}") for n in range(3000)] + [
        Seen(n, f"user:{n} email:poison") for n in range(3000)
    ]
    resolution = resolved(*events, rules=world.rules(demote_after="8"))
    assert len({person(resolution, f"user:{n}") for n in range(3000)}) == 3000
    assert person(resolution, "cookie:p") == of("cookie:p")
    assert person(resolution, "email:poison") == of("email:poison")


# --- erasure -------------------------------------------------------------------------------------------------------


def erased(resolution: Resolution) -> dict[str, int]:
    return {":".join(identifier): until for identifier, until in resolution.erasures()}


def test_erasure_covers_the_person_and_its_own_devices_up_to_the_request() -> None:
    resolution = resolved(
        Seen(1, "cookie:a"),
        Seen(2, "cookie:a user:1"),
        Seen(3, "user:1 email:e"),
        Seen(5, "user:1", name="erase"),
        Seen(9, "cookie:b user:1"),
    )
    assert erased(resolution) == {"user:1": 5, "email:e": 5, "cookie:a": 5}
    until = {(a.primary, a.login): a.erased_before for a in resolution.assignments()}
    assert until[ident("cookie:a"), ident("user:1")] == 5
    assert until[ident("cookie:a"), None] == 5
    assert until[ident("cookie:b"), None] is None


def test_what_was_linked_before_the_request_starts_anew_after_it() -> None:
    events = [Seen(1, "user:1 email:e"), Seen(5, "user:1", name="erase"), Seen(8, "user:1"), Seen(9, "email:e")]
    resolution = resolved(*events)
    assert person(resolution, "email:e") == of("email:e")
    assert {row.value: row.first_seen for row in resolution.identifiers()} == {"1": 8, "e": 9}
    assert list(resolution.edges()) == []


def test_erasure_never_covers_other_logins_strands() -> None:
    resolution = resolved(
        Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2"), Seen(5, "cookie:a user:1", name="erase")
    )
    until = {(a.primary, a.login): a.erased_before for a in resolution.assignments()}
    assert until[ident("cookie:a"), ident("user:2")] is None
    assert until[ident("cookie:a"), ident("user:1")] == 5


def test_request_of_a_shared_device_without_login_covers_no_person() -> None:
    events = [Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2"), Seen(5, "cookie:a", name="erase")]
    assert erased(resolved(*events)) == {"cookie:a": 5}
    assert erased(resolved(events[0], events[2])) == {"cookie:a": 5, "user:1": 5}


def test_kept_apart_and_demoted_devices_are_not_covered_by_one_persons_request() -> None:
    events = [Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2"), Seen(5, "user:1", name="erase")]
    assert erased(resolved(*events, rules=world.rules("keep_apart"))) == {"user:1": 5}
    assert erased(resolved(*events, rules=world.rules(demote_after="1"))) == {"user:1": 5}
    assert erased(resolved(*events, rules=world.rules("first_known"))) == {"user:1": 5, "cookie:a": 5}


def test_tombstones_erase_again_and_reach_what_arrives_late_but_is_older_than_the_request() -> None:
    rules = world.rules()
    older = [Seen(1, "cookie:a user:1"), Seen(2, "user:1 email:e"), Seen(3, "cookie:a user:2")]
    events = [*older, Seen(8, "user:1 crm:q"), Seen(9, "user:1")]
    resolution = resolve(links_of(events, rules), rules, {ident(name): [5] for name in ("cookie:a", "user:1", "crm:z")})
    assert erased(resolution) == {"cookie:a": 5, "user:1": 5, "crm:z": 5, "email:e": 5}
    assert {row.value for row in resolution.identifiers()} == {"1", "2", "a", "q"}


def test_the_tombstone_of_a_device_does_not_reach_who_was_seen_with_it() -> None:
    rules = world.rules()
    resolution = resolve(links_of([Seen(3, "cookie:a user:2")], rules), rules, {ident("cookie:a"): [5]})
    assert erased(resolution) == {"cookie:a": 5}


@settings(max_examples=60, deadline=None)
@given(world.worlds(), world.worlds(erasing=False), world.any_rules)
def test_what_a_request_covered_is_covered_whatever_happens_later(
    events: list[Seen], later: list[Seen], rules: IdentityRules
) -> None:
    before = dict(resolve(links_of(events, rules), rules).erasures())
    moved = [Seen(event.time + 100, event.names, name=event.name) for event in later]
    assert dict(resolve(links_of([*events, *moved], rules), rules).erasures()) == before


@settings(max_examples=60, deadline=None)
@given(world.worlds(), world.worlds(), world.any_rules)
def test_a_later_request_takes_nothing_back_of_an_earlier_one(
    events: list[Seen], later: list[Seen], rules: IdentityRules
) -> None:
    before = dict(resolve(links_of(events, rules), rules).erasures())
    moved = [Seen(event.time + 100, event.names, name=event.name) for event in later]
    after = dict(resolve(links_of([*events, *moved], rules), rules).erasures())
    assert {i: until for i, until in before.items() if after.get(i, until - 1) < until} == {}


def test_a_device_that_is_shared_by_the_time_of_a_second_request_stays_erased_up_to_the_first() -> None:
    events = [Seen(1, "cookie:a user:1"), Seen(3, "user:1", name="erase")]
    shared = [Seen(4, "cookie:a user:2"), Seen(5, "user:1", name="erase")]
    assert erased(resolved(*events, *shared, rules=world.rules("keep_apart"))) == {"user:1": 5, "cookie:a": 3}


@pytest.mark.parametrize(("first", "then", "covered"), [("merge", "unlink", False), ("unlink", "merge", True)])
def test_merges_and_unlinks_after_a_request_change_nothing_about_it(first: str, then: str, covered: bool) -> None:
    events = [Seen(1, "user:1 email:e", name=first), Seen(2, "user:1 email:e", name=then)]
    asked = [*events, Seen(5, "user:1", name="erase")]
    for more in ([], [Seen(9, "user:1 email:e", name=first)], [Seen(9, "user:1 email:e", name=then)]):
        assert ("email:e" in erased(resolved(*asked, *more))) is covered


def test_a_device_unlinked_from_a_person_is_not_covered_by_its_request() -> None:
    events = [Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:1", name="unlink"), Seen(5, "user:1", name="erase")]
    assert erased(resolved(*events)) == {"user:1": 5}
    assert erased(resolved(events[0], events[2])) == {"user:1": 5, "cookie:a": 5}


@settings(max_examples=60, deadline=None)
@given(world.worlds(), world.any_rules)
def test_no_erased_evidence_is_left_in_any_row(events: list[Seen], rules: IdentityRules) -> None:
    resolution = resolve(links_of(events, rules), rules)
    until = {(a.primary, a.login): a.erased_before for a in resolution.assignments()}
    kept = []
    for event in events:
        key = rules.strand_key(event.identifiers)
        assert key is not None
        erased_before = until[key.primary, key.login]
        if erased_before is None or event.time > erased_before:
            kept.append(event)
    left = {identifier for event in kept for identifier in event.identifiers if identifier.namespace != "network"}
    rows = {Identifier(row.namespace, row.value) for row in resolution.identifiers()}
    assert rows == left
