"""Merge, unlink, alias, logout, demotion and windows: each rule of identity that people ask for or configure."""

from __future__ import annotations

import identity_world as world
import pytest
from identity_world import Seen, ident, links_of

from transforms.identity.ids import canonical_id
from transforms.identity.resolve import Resolution, resolve
from transforms.identity.rules import CARRYING, OWNER_POLICIES, Bound, IdentityRules


def resolved(*events: Seen, rules: IdentityRules | None = None) -> Resolution:
    by = rules or world.rules()
    return resolve(links_of(events, by), by)


def person(resolution: Resolution, name: str) -> str:
    return resolution.person_of(ident(name))


def of(name: str) -> str:
    return canonical_id(ident(name))


def statuses(resolution: Resolution) -> dict[str, tuple[str, str]]:
    """Status and rule of each edge, by its ends and kind."""
    return {
        f"{':'.join(edge.left)} {':'.join(edge.right)} {edge.kind}": (edge.status, edge.rule)
        for edge in resolution.edges()
    }


# --- merge and unlink ----------------------------------------------------------------------------------------------


def test_unlink_bars_the_pair_whatever_evidence_comes_later() -> None:
    events = [Seen(1, "user:1 email:e"), Seen(5, "user:1 email:e", name="unlink"), Seen(9, "user:1 email:e", "x")]
    resolution = resolved(*events)
    assert person(resolution, "email:e") == of("email:e")
    assert statuses(resolution) == {
        "user:1 email:e seen": ("removed", "unlink"),
        "user:1 email:e unlink": ("barred", "unlink"),
    }


def test_unlinked_ends_are_in_no_person_together_by_any_way_round() -> None:
    events = [
        Seen(1, "user:1 email:e"),
        Seen(2, "user:1 crm:k"),
        Seen(3, "crm:k email:e"),
        Seen(9, "user:1 email:e", name="unlink"),
    ]
    resolution = resolved(*events)
    assert person(resolution, "email:e") != person(resolution, "user:1") == person(resolution, "crm:k")
    edge = next(e for e in resolution.edges() if e.left == ident("crm:k"))
    assert (edge.status, edge.rule) == ("barred", "barred")
    assert edge.conflict in (ident("user:1"), ident("email:e"))


def test_an_explicit_merge_lifts_the_bar_and_a_later_unlink_sets_it_again() -> None:
    unlink, merge = Seen(5, "user:1 email:e", name="unlink"), Seen(6, "user:1 email:e", name="merge")
    again = Seen(7, "user:1 email:e", "again", name="unlink")
    assert person(resolved(unlink, merge), "email:e") == of("user:1")
    assert person(resolved(merge, again, unlink), "email:e") == of("email:e")
    assert statuses(resolved(unlink, merge)) == {
        "user:1 email:e unlink": ("removed", "merge"),
        "user:1 email:e merge": ("accepted", "merge"),
    }


def test_an_explicit_merge_holds_where_a_limit_would_refuse() -> None:
    seen = resolved(Seen(1, "user:1 user:2"))
    assert person(seen, "user:1") != person(seen, "user:2")
    merged = resolved(Seen(1, "user:1 user:2"), Seen(9, "user:1 user:2", name="merge"))
    assert person(merged, "user:1") == person(merged, "user:2")


def test_a_merge_never_passes_the_size_of_a_person() -> None:
    events = [Seen(1, "user:1 email:a"), Seen(2, "user:2 email:b"), Seen(3, "user:1 user:2", name="merge")]
    resolution = resolved(*events, rules=world.rules(size=3))
    assert person(resolution, "user:1") == person(resolution, "user:2")
    assert statuses(resolution)["user:2 email:b seen"] == ("refused", "component_size")


def test_a_merge_refused_for_size_keeps_no_other_device_away() -> None:
    """``cookie:b`` is refused for want of room as well, not because ``cookie:a`` were the person's."""
    events = [
        Seen(1, "user:1 user:2"),
        Seen(2, "user:1 cookie:a", name="merge"),
        Seen(3, "user:1 cookie:b"),
        Seen(4, "cookie:a cookie:b", name="unlink"),
    ]
    resolution = resolved(*events, rules=world.rules(unique=False, size=2))
    assert statuses(resolution)["user:1 cookie:a merge"] == ("refused", "component_size")
    assert statuses(resolution)["user:1 cookie:b seen"] == ("refused", "component_size")


def test_unlink_of_what_was_never_linked_bars_it_for_the_future() -> None:
    resolution = resolved(Seen(1, "user:1 email:e", name="unlink"), Seen(2, "user:1 email:e", "later"))
    assert person(resolution, "email:e") == of("email:e")


def test_merge_of_a_person_with_itself_changes_nothing() -> None:
    events = [Seen(1, "user:1 email:e"), Seen(2, "user:1 crm:k"), Seen(3, "email:e crm:k", name="merge")]
    assert person(resolved(*events), "email:e") == person(resolved(*events[:2]), "email:e") == of("user:1")


def test_a_device_unlinked_from_a_login_belongs_to_another_or_to_nobody() -> None:
    events = [Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:2"), Seen(3, "cookie:a user:2", name="unlink")]
    assert person(resolved(*events), "cookie:a") == of("user:1")
    assert person(resolved(events[1], events[2]), "cookie:a") == of("cookie:a")
    strands = world.strands_of(resolved(*events))
    assert strands[ident("cookie:a"), ident("user:2")] == of("user:2"), "what names its login stays the login's"


def test_a_device_merged_with_a_login_is_its_whoever_was_last() -> None:
    events = [Seen(1, "cookie:a user:1"), Seen(2, "cookie:a user:1", name="merge"), Seen(9, "cookie:a user:2")]
    for owner in ("last_known", "first_known", "keep_apart", "carry_forward"):
        resolution = resolved(*events, rules=world.rules(owner))
        assert person(resolution, "cookie:a") == of("user:1")
        assert not any(a.carry for a in resolution.assignments())


APART = Seen(5, "cookie:a cookie:b", name="unlink")


@pytest.mark.parametrize("owner", OWNER_POLICIES)
def test_of_two_devices_unlinked_from_each_other_a_login_has_the_one_it_was_first_seen_on(owner: str) -> None:
    resolution = resolved(APART, Seen(8, "cookie:b user:1"), Seen(9, "cookie:a user:1"), rules=world.rules(owner))
    assert person(resolution, "cookie:b") == of("user:1")
    assert person(resolution, "cookie:a") == of("cookie:a")
    assert statuses(resolution)["user:1 cookie:a seen"] == ("barred", "barred")
    (edge,) = (e for e in resolution.edges() if e.rule == "barred")
    assert edge.conflict == ident("cookie:b")
    strands = world.strands_of(resolution)
    assert strands[ident("cookie:a"), ident("user:1")] == of("user:1"), "what names its login stays the login's"


def test_an_unlinked_device_goes_to_another_login_that_was_seen_on_it_alone() -> None:
    events = [APART, Seen(1, "cookie:a user:1"), Seen(3, "cookie:b user:2"), Seen(9, "cookie:b user:1")]
    resolution = resolved(*events)
    assert person(resolution, "cookie:a") == of("user:1")
    assert person(resolution, "cookie:b") == of("user:2")
    assert statuses(resolution)["user:2 cookie:b seen"] == ("accepted", "only_person")


def test_groups_of_unlinked_devices_are_kept_apart_whole() -> None:
    events = [APART, Seen(1, "cookie:a app:x"), Seen(2, "cookie:b app:y"), Seen(3, "app:x user:1")]
    resolution = resolved(*events, Seen(4, "app:y user:1"))
    assert person(resolution, "cookie:a") == person(resolution, "app:x") == of("user:1")
    assert person(resolution, "cookie:b") == person(resolution, "app:y") != of("user:1")


def test_a_merge_of_a_device_and_a_login_counts_before_where_it_was_first_seen() -> None:
    events = [APART, Seen(1, "cookie:a user:1"), Seen(2, "cookie:b user:1"), Seen(3, "cookie:b user:1", name="merge")]
    resolution = resolved(*events)
    assert person(resolution, "cookie:b") == of("user:1")
    assert person(resolution, "cookie:a") == of("cookie:a")
    newest = resolved(*events, Seen(4, "cookie:a user:1", name="merge"))
    assert person(newest, "cookie:a") == of("user:1")
    assert person(newest, "cookie:b") == of("cookie:b")
    assert statuses(newest)["user:1 cookie:b merge"] == ("barred", "barred")


def test_a_device_merged_with_another_login_keeps_no_other_device_away() -> None:
    events = [APART, Seen(1, "cookie:a user:1"), Seen(2, "cookie:b user:1"), Seen(3, "cookie:a user:2", name="merge")]
    resolution = resolved(*events)
    assert person(resolution, "cookie:a") == of("user:2")
    assert person(resolution, "cookie:b") == of("user:1")


def test_a_request_for_erasure_does_not_cover_the_device_that_an_unlink_keeps_from_the_person() -> None:
    events = [APART, Seen(1, "cookie:a user:1"), Seen(2, "cookie:b user:1"), Seen(9, "user:1", name="erase")]
    assert dict(resolved(*events).erasures()) == {ident("user:1"): 9, ident("cookie:a"): 9}


# --- alias ---------------------------------------------------------------------------------------------------------


def test_alias_is_evidence_like_any_other_unless_it_may_override() -> None:
    events = [Seen(1, "user:1 user:2", name="alias"), Seen(2, "cookie:a user:2")]
    assert person(resolved(*events), "user:2") == of("user:2")
    overriding = resolved(*events, rules=world.rules(overrides=True))
    assert person(overriding, "user:2") == person(overriding, "cookie:a") == of("user:1")


def test_a_cycle_of_aliases_is_one_person() -> None:
    events = [Seen(n, f"user:{n} user:{(n + 1) % 5}", name="alias") for n in range(5)]
    resolution = resolved(*events, rules=world.rules(overrides=True))
    assert len({person(resolution, f"user:{n}") for n in range(5)}) == 1


# --- limits within a time, demotion --------------------------------------------------------------------------------


def test_a_limit_within_a_time_counts_first_sightings_that_lie_close() -> None:
    rules = world.rules(limit="{values: 1, within: 10us}")
    near = resolved(Seen(1, "user:1 email:e"), Seen(9, "user:2 email:e"), rules=rules)
    assert person(near, "user:2") != person(near, "user:1")
    far = resolved(Seen(1, "user:1 email:e"), Seen(50, "user:2 email:e"), rules=rules)
    assert person(far, "user:2") == person(far, "user:1")
    known_before = resolved(Seen(1, "user:1 email:e"), Seen(50, "user:2 email:e"), Seen(5, "user:2"), rules=rules)
    assert person(known_before, "user:2") != person(known_before, "user:1")


@pytest.mark.parametrize(("times", "passed"), [((1, 2), False), ((1, 2, 3), True), ((1, 2, 30), False), ((), False)])
def test_a_bound_within_a_time_is_passed_by_too_many_in_any_stretch(times: tuple[int, ...], passed: bool) -> None:
    assert Bound(2, 10).is_passed(times) is passed


def test_a_phone_of_a_call_centre_is_demoted_and_its_callers_keep_their_persons() -> None:
    events = [Seen(n, f"email:shared user:{n}") for n in range(4)]
    resolution = resolved(*events, Seen(9, "email:shared"), rules=world.rules(demote_after="3"))
    assert person(resolution, "email:shared") == of("email:shared")
    assert {person(resolution, f"user:{n}") for n in range(4)} == {of(f"user:{n}") for n in range(4)}
    assert dict(resolution.demoted()) == {ident("email:shared"): "demoted"}
    assert {(e.rule, e.conflict) for e in resolution.edges()} == {("demoted", ident("email:shared"))}


def test_logins_far_apart_do_not_demote_within_a_time() -> None:
    rules = world.rules(demote_after="{logins: 1, within: 10us}")
    assert not list(resolved(Seen(1, "cookie:a user:1"), Seen(50, "cookie:a user:2"), rules=rules).demoted())
    assert list(resolved(Seen(1, "cookie:a user:1"), Seen(5, "cookie:a user:2"), rules=rules).demoted())


def test_an_identifier_seen_with_a_crowd_of_others_links_nothing() -> None:
    events = [Seen(n, f"cookie:{n} email:typo") for n in range(12)]
    resolution = resolved(*events, rules=world.rules(size=10, crowd=10))
    assert dict(resolution.demoted()) == {ident("email:typo"): "crowded"}
    assert len({person(resolution, f"cookie:{n}") for n in range(12)}) == 12


# --- carry forward, as far as resolution goes -----------------------------------------------------------------------


def test_a_shared_device_is_carried_and_shows_who_had_it_last() -> None:
    rules = world.rules("carry_forward")
    resolution = resolved(Seen(1, "cookie:a user:1"), Seen(5, "cookie:a user:2"), rules=rules)
    (assignment,) = (a for a in resolution.assignments() if a.login is None and a.primary == ident("cookie:a"))
    assert assignment.carry
    assert assignment.steps[0][1] == of("cookie:a")
    assert person(resolution, "cookie:a") == of("user:2")
    alias = next(row for row in resolution.persons() if row.person_id == of("cookie:a"))
    assert (alias.is_current, alias.merged_into) == (False, of("user:2"))


def test_a_device_of_one_person_is_its_whoever_logs_out() -> None:
    for policy in CARRYING:
        events = [Seen(1, "cookie:a user:1"), Seen(5, "cookie:a user:1", name="logout")]
        resolution = resolved(*events, rules=world.rules(policy))
        assert not any(a.carry for a in resolution.assignments())
        assert person(resolution, "cookie:a") == of("user:1")
