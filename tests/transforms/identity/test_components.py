"""Parting the links of a run: each part resolved by itself says what resolving all links at once says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import identity_world as world
import pytest
from hypothesis import given, settings
from identity_world import Seen, ident, links_of

from contracts.event import Identifier
from contracts.exchange import ERASED, Link
from transforms.identity import components
from transforms.identity.components import hash_of, pack_pairs, pairs_of, place, reach, unpack, unpack_reach
from transforms.identity.evidence import FirstAfter, merge_links
from transforms.identity.graph import Links
from transforms.identity.resolve import Resolution, resolve, resolve_collected
from transforms.identity.rules import IdentityRules
from transforms.link import ResolveLinks, alone, route

SHARDS = 5


def parted(links: list[Link], rules: IdentityRules, events: Iterable[Seen] = ()) -> list[Resolution]:
    """What the link stage does, without its runner."""
    merged = merge_links(links, rules)
    paired = [(hash_of(link.left), hash_of(link.right)) for link in merged if link.right is not None]
    pairs = pairs_of([pack_pairs([a for a, _ in paired], [b for _, b in paired])])
    asked = [(hash_of(link.left), link.erase_before) for link in merged if link.erase_before is not None]
    reached = unpack_reach(reach(pairs, rules.crowd, asked).pack())
    book = FirstAfter(rules, lambda identifier: reached.times_of(hash_of(identifier)))
    for e in events:
        if book.concerns(left_of(e, rules), e.time):
            book.observe(e.identifiers, e.name, e.id, e.time, e.time + 1)
    merged += book.drain()
    placements = place(pairs, rules.crowd, 64, SHARDS)
    assert all(unpack(p.pack()).parts == placements[0].parts for p in placements)
    parts: defaultdict[int, list[Link]] = defaultdict(list)
    for link in merged:
        for part, sent in route(link, unpack(placements[hash_of(link.left) % SHARDS].pack())):
            parts[part].append(sent)
    requests = [link for link in merged if link.erase_before is not None]
    made = []
    for part, some in sorted(parts.items()):
        collected = Links(rules)
        collected.add_all(some)
        crowded = ResolveLinks._crowded(collected, placements[0].crowd_alone().pack(), part)
        collected.add_all(alone(r, r.left) for r in requests if crowded.get(r.left) is False)
        made.append(resolve_collected(collected, rules, crowded=crowded))
    return made


def left_of(event: Seen, rules: IdentityRules) -> Identifier:
    key = rules.strand_key(event.identifiers)
    assert key is not None
    return key.login or key.primary


def together(resolutions: list[Resolution]) -> dict[str, list[tuple[object, ...]]]:
    found: defaultdict[str, list[tuple[object, ...]]] = defaultdict(list)
    for resolution in resolutions:
        for name, rows in world.everything(resolution).items():
            found[name].extend(rows)
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(components, "_WANTED", 1)


@settings(max_examples=300, deadline=None)
@given(world.worlds(max_size=20) | world.dense(), world.any_rules)
def test_parts_say_together_what_all_links_say_at_once(events: list[Seen], rules: IdentityRules) -> None:
    links = links_of(events, rules)
    expected = {n: sorted(r, key=repr) for n, r in world.everything(resolve(links, rules)).items()}
    assert together(parted(links, rules, events)) == expected


def test_a_crowded_identifier_holds_no_parts_together_and_has_its_rows_once() -> None:
    rules = world.rules(size=4, crowd=4)
    events = [Seen(n, f"user:{n} cookie:kiosk") for n in range(40)] + [
        Seen(50 + n, f"user:{n} email:{n}") for n in range(40)
    ]
    events += [Seen(200 + n, f"email:typo cookie:{n}") for n in range(40)]
    links = links_of(events, rules)
    resolutions = parted(links, rules)
    assert len(resolutions) > 10
    expected = {n: sorted(r, key=repr) for n, r in world.everything(resolve(links, rules)).items()}
    assert together(resolutions) == expected


def test_an_erasure_of_a_crowded_identifier_reaches_its_strands_in_every_part() -> None:
    rules = world.rules(size=4, crowd=4)
    events = [Seen(200 + n, f"email:typo cookie:{n}") for n in range(40)]
    links = [*links_of(events, rules), Link(ident("email:typo"), None, 210, "", 210, "", 210, 210, ERASED)]
    found = [a for r in parted(links, rules) for a in r.assignments()]
    assert {(a.primary, a.login): a.erased_before for a in found} == {
        (a.primary, a.login): a.erased_before for a in resolve(links, rules).assignments()
    }
    assert {a.erased_before for a in found if a.login} == {210}


def test_what_is_linked_is_in_one_part_and_parts_are_many() -> None:
    pairs = [(hash_of(Identifier("u", str(n))), hash_of(Identifier("d", str(n // 2)))) for n in range(4000)]
    placements = place(pairs_of([pack_pairs(*zip(*pairs, strict=True))]), 1000, 64, SHARDS)
    part = {h: placements[left % SHARDS].part_of(left) for left, h in pairs}
    for left, right in pairs:
        assert placements[left % SHARDS].part_of(left) == part[right]
    sizes = [list(part.values()).count(n) for n in range(64)]
    assert min(sizes) > 0
    assert max(sizes) < 4 * 2000 / 64


def test_an_unlink_keeps_its_ends_in_one_part_and_makes_no_crowd() -> None:
    seen = [(1, 10 + n) for n in range(4)]
    unlinked = [(1, 20 + n) for n in range(3)]
    packed = pack_pairs(*zip(*seen, strict=True), tuple(zip(*unlinked, strict=True)))
    (placement,) = place(pairs_of([packed, pack_pairs([], [])]), 4, 64, 1)
    assert not placement.is_crowded(1)
    assert {placement.part_of(other) for _, other in seen + unlinked} == {placement.part_of(1)}
    (placement,) = place(
        pairs_of([pack_pairs([a for a, _ in seen + unlinked], [b for _, b in seen + unlinked])]), 4, 64, 1
    )
    assert placement.is_crowded(1)
