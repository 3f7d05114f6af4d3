"""What would be: the neighbourhood of a change, resolved, says the same as all links resolved; and whose events go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

import identity_world as world
import strand_world
from hypothesis import given, settings
from hypothesis import strategies as st
from identity_world import Seen, ident, links_of

from contracts.event import Identifier
from contracts.exchange import Link, StrandEvent
from transforms.identity.ids import canonical_id
from transforms.identity.resolve import resolve
from transforms.identity.rules import IdentityRules, StrandKey
from transforms.identity.whatif import Evidence, compare, division, moves


class Everything:
    """All events of a world, as ``Evidence`` and ``moves`` ask for them."""

    def __init__(self, events: Sequence[Seen], rules: IdentityRules) -> None:
        self.rules = rules
        self.links = resolve_once(links_of(events, rules), rules)
        self.events: dict[StrandKey, list[StrandEvent]] = {}
        for event in {e.id: e for e in events}.values():
            key = rules.strand_of(event.identifiers, event.name)
            assert key is not None
            logout = rules.kinds.get(event.name) == "logout"
            self.events.setdefault(key, []).append(
                StrandEvent(event.id, event.time, event.time, "web", *key, b"", logout=logout)
            )

    def fetch(self, identifiers: Collection[Identifier]) -> Iterable[Link]:
        return [link for link in self.links if link.left in identifiers or link.right in identifiers]

    def counts(self, strands: Collection[StrandKey]) -> Mapping[StrandKey, int]:
        return {key: len(self.events.get(key, ())) for key in strands}

    def on_device(self, device: Identifier, logins: Collection[Identifier]) -> Sequence[StrandEvent]:
        found = [event for login in (None, *logins) for event in self.events.get(StrandKey(device, login), ())]
        return sorted(found, key=lambda event: (event.event_time, event.event_id))


def resolve_once(links: Iterable[Link], rules: IdentityRules) -> list[Link]:
    from transforms.identity.evidence import merge_links

    return merge_links(links, rules)


def of(name: str) -> str:
    return canonical_id(ident(name))


def pair(text: str) -> frozenset[Identifier]:
    return frozenset(map(ident, text.split()))


def test_removing_the_only_evidence_of_a_login_lets_it_and_its_events_leave() -> None:
    rules = world.rules()
    events = [Seen(1, "user:1 crm:k"), Seen(2, "crm:k email:e"), Seen(3, "cookie:a email:e"), Seen(4, "cookie:a")]
    all_of = Everything(events, rules)
    evidence = Evidence(all_of.fetch, rules)
    without = evidence.changed(without=[pair("crm:k email:e")])
    compared = compare([ident("crm:k"), ident("email:e")], evidence, without, rules)
    assert dict(division(compared).split) == {of("user:1"): {of("user:1"), of("email:e")}}
    # the event of the pair stays where its login is: the crm record's
    assert dict(moves(compared, all_of, rules).events) == {
        (of("user:1"), of("user:1")): 2,
        (of("user:1"), of("email:e")): 2,
    }


def test_removing_one_of_two_ways_round_changes_nothing() -> None:
    rules = world.rules()
    all_of = Everything([Seen(1, "user:1 crm:k"), Seen(2, "crm:k email:e"), Seen(3, "user:1 email:e")], rules)
    evidence = Evidence(all_of.fetch, rules)
    compared = compare([ident("crm:k")], evidence, evidence.changed(without=[pair("user:1 crm:k")]), rules)
    assert division(compared) == ({}, {})


def test_a_demoted_identifier_links_again_without_the_login_that_was_one_too_many() -> None:
    rules = world.rules(demote_after="1")
    all_of = Everything([Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2")], rules)
    evidence = Evidence(all_of.fetch, rules)
    ends = [ident("cookie:a"), ident("user:2")]
    compared = compare(ends, evidence, evidence.changed(without=[frozenset(ends)]), rules)
    assert dict(division(compared).merged) == {of("user:1"): {of("user:1"), of("cookie:a")}}


def test_events_between_two_logins_go_where_the_hands_go() -> None:
    rules = world.rules("carry_forward")
    events = [Seen(1, "cookie:a user:1"), Seen(2, "cookie:a"), Seen(3, "cookie:a user:2"), Seen(4, "cookie:a")]
    all_of = Everything([*events, Seen(5, "cookie:a")], rules)
    evidence = Evidence(all_of.fetch, rules)
    ends = [ident("cookie:a"), ident("user:2")]
    compared = compare(ends, evidence, evidence.changed(without=[frozenset(ends)]), rules)
    found = moves(compared, all_of, rules).events
    assert found[of("user:2"), of("user:1")] == 2
    assert found[of("user:1"), of("user:1")] == 2


@settings(max_examples=150, deadline=None)
@given(world.worlds(erasing=False), world.any_rules, st.data())
def test_a_change_resolved_near_by_is_the_change_resolved_everywhere(
    events: list[Seen], rules: IdentityRules, data: st.DataObject
) -> None:
    all_of = Everything(events, rules)
    gone = data.draw(st.sampled_from(all_of.links))
    ends = frozenset((gone.left, gone.right or gone.left))
    kept = [link for link in all_of.links if {link.left, link.right or link.left} != ends]
    new = [link for link in links_of([data.draw(world.seen(erasing=False))], rules) if link.right is not None]
    touched = ends | {end for link in new for end in (link.left, link.right) if end is not None}
    evidence = Evidence(all_of.fetch, rules)
    compared = compare(touched, evidence, evidence.changed(without=[ends], plus=new), rules)
    before = resolve(all_of.links, rules)
    # what is left out may be the whole trace of an identifier: it is a person of its own then
    after = resolve([*kept, *new], rules)
    for identifier in compared.concerned:
        assert compared.before.person_of(identifier) == before.person_of(identifier)
        assert compared.after.person_of(identifier) == after.person_of(identifier)
    moved = {i for link in [*all_of.links, *new] for i in (link.left, link.right) if i is not None}
    for identifier in moved - compared.concerned:
        if before.person_of(identifier) != after.person_of(identifier):
            # the person's id follows its anchor; the company that it keeps must not have changed
            assert company(before, identifier, moved) == company(after, identifier, moved)


def company(resolution: object, identifier: Identifier, among: set[Identifier]) -> set[Identifier]:
    person_of = resolution.person_of  # type: ignore[attr-defined]
    return {other for other in among if person_of(other) == person_of(identifier)}


@settings(max_examples=100, deadline=None)
@given(world.worlds(erasing=False), world.any_rules)
def test_events_counted_by_strand_are_the_events_folded_one_by_one(events: list[Seen], rules: IdentityRules) -> None:
    events = [e for e in {e.id: e for e in events}.values() if not rules.is_request(e.name)]
    if not events:
        return
    demoted = {identifier for identifier, _ in strand_world.resolution_of(events, rules).demoted()}
    # the strands between two demoted ends are not counted: there are very many, and no change moves them
    keys = {e.id: rules.strand_key(e.identifiers) for e in events}
    between = {event_id for event_id, key in keys.items() if key is not None and set(key) <= demoted}
    all_of = Everything(events, rules)
    evidence = Evidence(all_of.fetch, rules)
    touched = {identifier for event in events for identifier in event.identifiers}
    compared = compare([i for i in touched if rules.links_at_all(i.namespace)], evidence, evidence, rules)
    found = Counter[str]()
    for (one, other), number in moves(compared, all_of, rules).events.items():
        assert one == other
        found[one] += number
    folded = strand_world.persons_by_event(events, rules)
    assert found == Counter(person for event_id, person in folded.items() if event_id not in between)
