"""The rules that others promise: those of Segment, RudderStack and Snowplow, each with the page where it stands.

The rules files are those that docs/identity.md gives to people who come from there.
"""

from __future__ import annotations

from identity_page import DAY, groups, of, owners, persons, refusals, resolved, rules_of
from identity_world import Seen, ident

# --- Segment -------------------------------------------------------------------------------------------------------

SEGMENT = rules_of("segment")
SHARED = ("known, priority: 10, limit: {values: 5, within: 7d}", "device, priority: 10")
"""The page's change for those who want the anonymous id to be a device that may be shared."""


def test_segment_an_event_that_matches_nobody_makes_a_new_profile() -> None:
    """Source: Segment, Identity Resolution Onboarding, "Flat matching logic", 1."""
    assert persons(SEGMENT, Seen(1, "user_id:1"), Seen(2, "email:b@b.de")) == groups("user_id:1", "email:b@b.de")


def test_segment_an_event_that_matches_one_profile_adds_its_identifiers_to_it() -> None:
    """Source: Segment, Identity Resolution Onboarding, "Flat matching logic", 2."""
    found = persons(SEGMENT, Seen(1, "anonymous_id:a"), Seen(2, "anonymous_id:a email:b@b.de"))
    assert found == groups("anonymous_id:a email:b@b.de")


def test_segment_an_event_that_matches_several_profiles_merges_them() -> None:
    """Source: Segment, Identity Resolution Onboarding, "Flat matching logic", 3."""
    apart = [Seen(1, "anonymous_id:a"), Seen(2, "email:b@b.de"), Seen(3, "user_id:1")]
    assert len(persons(SEGMENT, *apart)) == 3
    together = Seen(4, "anonymous_id:a email:b@b.de user_id:1")
    assert persons(SEGMENT, *apart, together) == groups("anonymous_id:a email:b@b.de user_id:1")


def test_segment_a_second_user_id_with_a_known_address_is_a_profile_of_its_own() -> None:
    """Source: Segment, Identity Resolution Onboarding, "Priority": a second user_id with Jane's address."""
    events = [Seen(1, "user_id:jane email:jane@home.de"), Seen(2, "user_id:new email:jane@home.de")]
    assert persons(SEGMENT, *events) == groups("user_id:jane email:jane@home.de", "user_id:new")
    assert refusals(SEGMENT, *events) == {"user_id:new email:jane@home.de": ("limit:user_id", "user_id:jane")}


def test_segment_the_event_stays_with_its_identifier_of_the_highest_priority() -> None:
    """Source: Segment, Identity Resolution Onboarding, "Priority": the lower identifier of the event is given up."""
    events = [Seen(1, "user_id:jane email:jane@home.de"), Seen(2, "user_id:new email:jane@home.de")]
    assert owners(SEGMENT, *events) == {1: "user_id:jane", 2: "user_id:new"}


def test_segment_a_profile_is_named_after_its_identifier_of_the_highest_priority() -> None:
    """Source: Segment, Identity Resolution Overview, "Maintains persistent ID". Ours follows priority, then time."""
    found = resolved(SEGMENT, Seen(1, "anonymous_id:a"), Seen(2, "anonymous_id:a email:b@b.de"))
    assert found.person_of(ident("anonymous_id:a")) == of("email:b@b.de")
    aliases = {row.person_id: row.merged_into for row in found.persons()}
    assert aliases == {of("email:b@b.de"): None, of("anonymous_id:a"): of("email:b@b.de")}


def test_segment_a_profile_has_no_more_values_than_its_limit() -> None:
    """Source: Segment, Identity Resolution Onboarding, "Limit": five of every identifier but user_id."""
    events = [Seen(n, f"user_id:1 email:{n}@b.de") for n in range(1, 8)]
    assert persons(SEGMENT, *events) == groups(
        "user_id:1 email:1@b.de email:2@b.de email:3@b.de email:4@b.de email:5@b.de", "email:6@b.de", "email:7@b.de"
    )


def test_segment_a_limit_within_a_time_lets_new_values_in_once_the_time_is_over() -> None:
    """Source: Segment, Identity Resolution Onboarding, "Limit": an anonymous_id "5 Weekly" as a sliding window."""
    week = [Seen(n * DAY, f"user_id:1 anonymous_id:{n}") for n in range(1, 7)]
    assert refusals(SEGMENT, *week) == {"user_id:1 anonymous_id:6": ("limit:anonymous_id", "anonymous_id:6")}
    assert refusals(SEGMENT, *week[:5], Seen(9 * DAY, "user_id:1 anonymous_id:6")) == {}


def test_segment_limits_may_be_turned_round_where_a_person_has_several_user_ids_and_one_address() -> None:
    """Source: Segment, Identity Resolution Onboarding, "Limit": two user_ids (a shop's and one's own), one email."""
    two_ids = ("unique: true", "limit: 2")
    one_address = ("limit: {values: 5, within: 365d}", "unique: true")
    rules = rules_of("segment", two_ids, one_address)
    events = [Seen(n, f"user_id:{n} email:a@b.de") for n in (1, 2, 3)]
    assert persons(rules, *events) == groups("user_id:1 user_id:2 email:a@b.de", "user_id:3")
    two = [Seen(1, "user_id:1 email:a@b.de"), Seen(2, "user_id:1 email:c@d.de")]
    assert persons(rules, *two) == groups("user_id:1 email:a@b.de", "email:c@d.de")


def test_segment_blocked_values_are_no_identifiers_and_the_event_lives_on_with_its_others() -> None:
    """Source: Segment, Identity Resolution Onboarding, "Blocked values": zeroes, dashes, -1, null, anonymous, own."""
    for value in ("0", "000-000", "---", "-1", "null", "anonymous", "void", "abc123", "ABC123"):
        events = [Seen(n, f"user_id:{value} email:{n}@b.de") for n in (1, 2)]
        assert persons(SEGMENT, *events) == groups("email:1@b.de", "email:2@b.de"), value
        assert owners(SEGMENT, *events) == {1: "email:1@b.de", 2: "email:2@b.de"}


def test_segment_a_shared_ipad_welds_nobody_together() -> None:
    """Source: Segment, Identity Resolution Onboarding, "Example: Shared iPad Use Case"."""
    events = [Seen(n, f"anonymous_id:ipad user_id:{n} email:{n}@b.de") for n in range(1, 6)]
    for rules in (SEGMENT, rules_of("segment", SHARED)):
        found = owners(rules, *events)
        assert found == {n: f"user_id:{n}" for n in range(1, 6)}
        assert len(persons(rules, *events)) == 5
    kiosk = rules_of("segment", ("name: segment", "name: segment\ndemote_after: 3"))
    assert frozenset(["anonymous_id:ipad"]) in persons(kiosk, *events)


def test_segment_merge_protection_an_anonymous_id_that_is_not_unique_stays_with_its_first_user() -> None:
    """Source: Segment, Identity Resolution Overview, "Merge Protection": non-unique anonymous ids, the library."""
    events = [
        Seen(1, "anonymous_id:library"),
        Seen(2, "anonymous_id:library user_id:1"),
        Seen(3, "anonymous_id:library user_id:2"),
        Seen(4, "anonymous_id:library"),
    ]
    expected = {1: "user_id:1", 2: "user_id:1", 3: "user_id:2", 4: "user_id:1"}
    assert owners(SEGMENT, *events) == expected
    assert (
        owners(rules_of("segment", SHARED, ("name: segment", "name: segment\nowner: first_known")), *events) == expected
    )


def test_segment_differs_in_that_each_pair_of_an_event_is_judged_by_itself_here() -> None:
    """Source: as for priority. Segment gives up the anonymous id first, then the address; ours keeps what fits."""
    events = [Seen(1, "user_id:jane email:jane@home.de"), Seen(2, "user_id:new email:jane@home.de anonymous_id:a")]
    assert persons(SEGMENT, *events) == groups("user_id:jane email:jane@home.de", "user_id:new anonymous_id:a")


# --- RudderStack ---------------------------------------------------------------------------------------------------

RUDDERSTACK = rules_of("rudderstack")
ONE_USER_ID = ("user_id: {kind: known, priority: 30}", "user_id: {kind: known, priority: 30, unique: true}")
"""The page's change for a cardinality rule."""


def test_rudderstack_all_identifiers_that_are_connected_in_any_way_are_one_person() -> None:
    """Source: RudderStack, Profiles, "ID Stitcher": all inputs' identifiers are stitched to one id."""
    events = [
        Seen(1, "anonymous_id:a email:x@y.de"),
        Seen(2, "user_id:1 anonymous_id:b"),
        Seen(3, "user_id:1 email:x@y.de"),
    ]
    assert persons(RUDDERSTACK, *events) == groups("user_id:1 email:x@y.de anonymous_id:a anonymous_id:b")


def test_rudderstack_what_an_unknown_visitor_did_belongs_to_the_known_user_it_became() -> None:
    """Source: RudderStack, "How Profiles Works", "Known and unknown users"."""
    events = [Seen(1, "anonymous_id:a"), Seen(90, "anonymous_id:a email:x@y.de"), Seen(120, "anonymous_id:mobile")]
    assert owners(RUDDERSTACK, *events) == {1: "email:x@y.de", 90: "email:x@y.de", 120: "anonymous_id:mobile"}
    later = Seen(121, "anonymous_id:mobile email:x@y.de")
    assert owners(RUDDERSTACK, *events, later)[120] == "email:x@y.de"


def test_rudderstack_excluded_values_are_no_identifiers() -> None:
    """Source: RudderStack, Profiles, "ID Types", filters of type exclude: unknown, NaN, the empty text."""
    for value in ("unknown", "NaN", ""):
        events = [Seen(n, f"anonymous_id:{value} user_id:{n}") for n in (1, 2)]
        assert persons(RUDDERSTACK, *events) == groups("user_id:1", "user_id:2")


def test_rudderstack_of_an_id_type_with_an_include_filter_only_matching_values_count() -> None:
    """Source: RudderStack, Profiles, "ID Types", filters of type include: what looks like an address."""
    events = [Seen(n, f"email:none-given user_id:{n}") for n in (1, 2)]
    assert persons(RUDDERSTACK, *events) == groups("user_id:1", "user_id:2")
    assert persons(RUDDERSTACK, Seen(1, "email:Ann.B+c@y.de user_id:1")) == groups("email:ann.b+c@y.de user_id:1")


def test_rudderstack_a_cardinality_rule_keeps_a_shared_address_from_joining_users() -> None:
    """Source: RudderStack, Profiles, "ID Graph Cardinality Rules": an email connects to at most one user_id."""
    rules = rules_of("rudderstack", ONE_USER_ID)
    events = [Seen(1, "user_id:1 email:family@y.de"), Seen(2, "user_id:2 email:family@y.de")]
    assert persons(rules, *events) == groups("user_id:1 email:family@y.de", "user_id:2")
    assert refusals(rules, *events) == {"user_id:2 email:family@y.de": ("limit:user_id", "user_id:1")}


def test_rudderstack_an_excluded_edge_is_none_whatever_the_data_say() -> None:
    """Source: RudderStack, Profiles, "ID Graph Inclusion/Exclusion Rules": they take precedence over all else."""
    events = [Seen(1, "user_id:1 email:x@y.de"), Seen(2, "user_id:1 email:x@y.de", name="id_graph_exclude")]
    assert persons(RUDDERSTACK, *events, Seen(9, "user_id:1 email:x@y.de", "again")) == groups(
        "user_id:1", "email:x@y.de"
    )


def test_rudderstack_an_included_edge_holds_although_a_cardinality_rule_forbids_it() -> None:
    """Source: RudderStack, Profiles, "ID Graph Cardinality Rules": manual inclusion comes after and may exceed it."""
    rules = rules_of("rudderstack", ONE_USER_ID)
    events = [
        Seen(1, "user_id:1 email:x@y.de"),
        Seen(2, "user_id:2"),
        Seen(3, "user_id:1 user_id:2", name="id_graph_include"),
    ]
    assert persons(rules, *events) == groups("user_id:1 user_id:2 email:x@y.de")


# --- Snowplow ------------------------------------------------------------------------------------------------------

SNOWPLOW = rules_of("snowplow")


def test_snowplow_the_last_known_user_of_a_cookie_takes_its_earlier_sessions() -> None:
    """Source: Snowplow, "Users and identity stitching", "Session stitching": the latest user_id per identifier."""
    events = [
        Seen(1, "domain_userid:c"),
        Seen(2, "domain_userid:c user_id:1"),
        Seen(3, "domain_userid:c"),
        Seen(4, "domain_userid:c user_id:2"),
    ]
    assert owners(SNOWPLOW, *events) == {1: "user_id:2", 2: "user_id:1", 3: "user_id:2", 4: "user_id:2"}


def test_snowplow_the_latest_user_is_the_one_last_seen_and_not_the_last_new_one() -> None:
    """Source: as above."""
    events = [Seen(n, f"domain_userid:c user_id:{user}") for n, user in ((1, 1), (2, 2), (3, 1))]
    assert owners(SNOWPLOW, *events, Seen(9, "domain_userid:c"))[9] == "user_id:1"


def test_snowplow_a_cookie_without_a_user_stands_for_itself() -> None:
    """Source: Snowplow, "Users and identity stitching": without a mapping it is the user identifier itself."""
    assert owners(SNOWPLOW, Seen(1, "domain_userid:c")) == {1: "domain_userid:c"}


def test_snowplow_a_user_who_logs_in_on_web_and_app_is_one_across_both() -> None:
    """Source: Snowplow, "Users and identity stitching", "Cross platform stitching"."""
    events = [
        Seen(1, "domain_userid:web"),
        Seen(2, "device_user_id:app"),
        Seen(3, "domain_userid:web user_id:1"),
        Seen(4, "device_user_id:app user_id:1"),
    ]
    assert set(owners(SNOWPLOW, *events).values()) == {"user_id:1"}


def test_snowplow_a_public_device_is_stitched_to_nobody() -> None:
    """Source: Snowplow, "Users and identity stitching": a school's or library's device allows no stitching."""
    events = [Seen(n, f"domain_userid:school user_id:{n}") for n in range(1, 10)]
    assert owners(SNOWPLOW, *events[:8], Seen(20, "domain_userid:school"))[20] == "user_id:8"
    assert owners(SNOWPLOW, *events, Seen(20, "domain_userid:school"))[20] == "domain_userid:school"


def test_snowplow_differs_in_that_a_login_keeps_its_own_sessions_here() -> None:
    """Source: as for session stitching. The mapping overwrites a session of another login; ours never does."""
    events = [Seen(1, "domain_userid:c user_id:1"), Seen(2, "domain_userid:c user_id:2")]
    assert owners(SNOWPLOW, *events) == {1: "user_id:1", 2: "user_id:2"}
