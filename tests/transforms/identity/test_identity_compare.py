"""Two sets of rules over the same events: company counts, not ids."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from transforms.identity.compare import NOBODY, Difference, Flows


def difference(*flows: tuple[str, str, int]) -> Difference:
    made = Flows()
    for flow in flows:
        made.add(*flow)
    return made.difference()


def test_a_person_that_only_gets_another_id_has_not_changed() -> None:
    found = difference(("a", "z", 3), ("b", "b", 2))
    assert (found.before, found.after, found.same, found.renamed, found.moved) == (2, 2, 2, 1, 0)
    assert (found.joined, found.parted, found.changed) == ((), (), frozenset())


def test_of_two_that_merge_the_events_of_the_lesser_change_hands() -> None:
    found = difference(("a", "q", 3), ("b", "q", 10), ("c", "c", 1))
    assert [(j.person, dict(j.sources)) for j in found.joined] == [("q", {"b": 10, "a": 3})]
    assert (found.before, found.after, found.same, found.moved) == (3, 2, 1, 3)
    assert found.changed == {"a", "b"}


def test_of_one_that_splits_the_lesser_part_changes_hands() -> None:
    found = difference(("a", "a", 3), ("a", "b", 10))
    assert [(p.person, dict(p.parts)) for p in found.parted] == [("a", {"b": 10, "a": 3})]
    assert (found.before, found.after, found.moved) == (1, 2, 3)


def test_events_of_nobody_are_lost_or_gained_and_no_merge() -> None:
    found = difference(("a", NOBODY, 2), ("a", "a", 5), (NOBODY, "b", 4))
    assert (found.before, found.after, found.lost, found.gained, found.moved) == (1, 2, 2, 4, 0)
    assert (found.joined, found.parted, found.changed) == ((), (), {"a"})


flows = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), st.sampled_from(["", "a", "x", "y"])), max_size=30)


@given(flows)
def test_the_order_of_events_changes_nothing_and_every_event_is_accounted_for(events: list[tuple[str, str]]) -> None:
    one, other = Flows(), Flows()
    for event in events:
        one.add(*event)
    for event in reversed(events):
        other.add(*event)
    found = one.difference()
    assert found == other.difference()
    match = one.matched()
    assert len(set(match.values())) == len(match)
    kept = sum(n for (a, b), n in Counter(events).items() if a and match.get(a) == b)
    assert kept + found.moved + found.lost + found.gained == len([e for e in events if e != ("", "")])
    assert found.before == len({a for a, _ in events if a})
    assert found.after == len({b for _, b in events if b})
