"""The rules that others promise: those of PostHog, Unomi and Jitsu, and what to configure where two contradict."""

from __future__ import annotations

import pytest
from identity_page import DAY, groups, of, owners, persons, refusals, resolved, rules_of
from identity_world import Seen, ident

# --- PostHog -------------------------------------------------------------------------------------------------------

POSTHOG = rules_of("posthog")


def test_posthog_identify_takes_past_and_future_events_of_the_anonymous_id() -> None:
    """Source: PostHog, "Identifying users", "How identify works"."""
    events = [
        Seen(1, "anonymous_id:a"),
        Seen(2, "anonymous_id:a distinct_id:1", name="$identify"),
        Seen(3, "anonymous_id:a"),
    ]
    assert set(owners(POSTHOG, *events).values()) == {"distinct_id:1"}


def test_posthog_identify_on_another_device_takes_that_device_too() -> None:
    """Source: PostHog, "Identifying users", "How identify works": across devices and platforms."""
    events = [Seen(n, f"anonymous_id:{n} distinct_id:1", name="$identify") for n in (1, 2)]
    assert set(owners(POSTHOG, Seen(0, "anonymous_id:2"), *events).values()) == {"distinct_id:1"}


def test_posthog_two_identified_users_are_not_merged_by_identify() -> None:
    """Source: PostHog, "Identifying users", "When are merges blocked?": the second identify of one session."""
    events = [Seen(n, f"anonymous_id:a distinct_id:{n}", name="$identify") for n in (1, 2)]
    assert persons(POSTHOG, *events) == groups("distinct_id:1 anonymous_id:a", "distinct_id:2")
    assert owners(POSTHOG, *events, Seen(3, "anonymous_id:a")) == {
        1: "distinct_id:1",
        2: "distinct_id:2",
        3: "distinct_id:1",
    }


def test_posthog_a_refused_merge_leaves_the_event_and_says_so() -> None:
    """Source: PostHog, "Identifying users", "What happens when a merge is blocked?": ingested, with a warning."""
    events = [Seen(1, "distinct_id:1"), Seen(2, "distinct_id:1 distinct_id:2", name="$create_alias")]
    assert owners(POSTHOG, *events)[2] == "distinct_id:1"
    assert refusals(POSTHOG, *events) == {"distinct_id:1 distinct_id:2": ("limit:distinct_id", "distinct_id:2")}


def test_posthog_an_alias_that_was_never_identified_is_another_id_of_the_user() -> None:
    """Source: PostHog, "Identifying users", "Alias: Assigning multiple distinct IDs to the same user"."""
    events = [
        Seen(1, "backend_id:b"),
        Seen(2, "distinct_id:1 backend_id:b", name="$create_alias"),
        Seen(3, "backend_id:b"),
    ]
    assert set(owners(POSTHOG, *events).values()) == {"distinct_id:1"}


def test_posthog_an_alias_is_of_one_user_only() -> None:
    """Source: PostHog, "Identifying users", "Alias", the first of its two requirements."""
    events = [Seen(n, f"distinct_id:{n} backend_id:b", name="$create_alias") for n in (1, 2)]
    assert persons(POSTHOG, *events) == groups("distinct_id:1 backend_id:b", "distinct_id:2")


def test_posthog_merge_dangerously_merges_two_identified_users() -> None:
    """Source: PostHog, "Identifying users", "How to merge users": no restrictions."""
    events = [
        Seen(1, "anonymous_id:a distinct_id:1", name="$identify"),
        Seen(2, "anonymous_id:b distinct_id:2", name="$identify"),
        Seen(3, "distinct_id:1 distinct_id:2", name="$merge_dangerously"),
    ]
    assert persons(POSTHOG, *events) == groups("distinct_id:1 distinct_id:2 anonymous_id:a anonymous_id:b")


def test_posthog_a_merged_user_can_be_split() -> None:
    """Source: PostHog, "Identifying users", "How to split a merged user back". Ours splits past events as well."""
    events = [
        Seen(1, "distinct_id:1"),
        Seen(2, "distinct_id:2"),
        Seen(3, "distinct_id:1 distinct_id:2", name="$merge_dangerously"),
        Seen(4, "distinct_id:1 distinct_id:2", name="split"),
    ]
    assert owners(POSTHOG, *events[:3]) == dict.fromkeys((1, 2, 3), "distinct_id:1")
    assert owners(POSTHOG, *events)[2] == "distinct_id:2"


def test_posthog_after_a_reset_the_device_is_nobodys_until_the_next_user_identifies() -> None:
    """Source: PostHog, "Identifying users", "Reset": with a new anonymous id, or with the same one carried forward."""
    new_id = [Seen(1, "anonymous_id:a distinct_id:1"), Seen(3, "anonymous_id:b")]
    next_one = Seen(4, "anonymous_id:b distinct_id:2", name="$identify")
    assert owners(POSTHOG, *new_id)[3] == "anonymous_id:b"
    assert owners(POSTHOG, *new_id, next_one)[3] == "distinct_id:2"
    kept = [
        Seen(1, "anonymous_id:a distinct_id:1"),
        Seen(2, "anonymous_id:a distinct_id:1", name="reset"),
        Seen(3, "anonymous_id:a"),
    ]
    carried = rules_of("posthog", ("owner: first_known", "owner: carry_forward"))
    one, two = "distinct_id:1", "distinct_id:2"
    then = [Seen(4, f"anonymous_id:a {two}"), Seen(5, "anonymous_id:a", name="reset"), Seen(6, "anonymous_id:a")]
    assert owners(carried, *kept, *then) == {1: one, 2: one, 3: two, 4: two, 5: two, 6: "anonymous_id:a"}


def test_posthog_differs_in_that_a_device_of_one_user_that_keeps_its_id_stays_that_users_over_a_reset_here() -> None:
    """Source: as for the reset, after which PostHog's library gives out a new anonymous id."""
    events = [Seen(1, "anonymous_id:a distinct_id:1"), Seen(2, "anonymous_id:a", name="reset")]
    carried = rules_of("posthog", ("owner: first_known", "owner: carry_forward"))
    assert owners(carried, *events, Seen(3, "anonymous_id:a"))[3] == "distinct_id:1"


@pytest.mark.parametrize(
    "value",
    ["", " ", "anonymous", "Guest", "distinctid", "distinct_id", "id", "not_authenticated", "email", "undefined",
     "true", "false", "[object Object]", "NaN", "None", "none", "null", "0"],
)  # fmt: skip
def test_posthog_ids_that_are_no_ids_identify_nobody(value: str) -> None:
    """Source: PostHog, "Identifying users", the strings that may not be identified."""
    assert POSTHOG.normalise(ident(f"distinct_id:{value}")) is None


# --- Unomi ---------------------------------------------------------------------------------------------------------

UNOMI = rules_of("unomi")


def test_unomi_profiles_with_one_merge_property_are_one() -> None:
    """Source: Apache Unomi manual, "Automatic profile merging"; sample "Login": the same address, another cookie."""
    events = [Seen(1, "profile_id:laptop email:Alice@home.de"), Seen(2, "profile_id:phone email:alice@home.de")]
    assert persons(UNOMI, *events) == groups("email:alice@home.de profile_id:laptop profile_id:phone")


def test_unomi_a_login_takes_the_browsing_of_the_profile_before_it() -> None:
    """Source: Apache Unomi, mergeProfilesOnPropertyAction: events and sessions of merged profiles are re-assigned."""
    events = [Seen(1, "profile_id:c"), Seen(2, "profile_id:c email:alice@home.de", name="login")]
    assert set(owners(UNOMI, *events).values()) == {"email:alice@home.de"}


def test_unomi_another_login_on_the_same_cookie_is_another_profile_from_then_on() -> None:
    """Source: Apache Unomi, mergeProfilesOnPropertyAction: the visitor switches, what was before stays."""
    events = [
        Seen(1, "profile_id:c email:alice@home.de", name="login"),
        Seen(2, "profile_id:c"),
        Seen(3, "profile_id:c email:bob@home.de", name="login"),
        Seen(4, "profile_id:c"),
    ]
    alice, bob = "email:alice@home.de", "email:bob@home.de"
    assert owners(UNOMI, *events) == {1: alice, 2: alice, 3: bob, 4: bob}


def test_unomi_the_ids_of_merged_profiles_stay_aliases() -> None:
    """Source: Apache Unomi manual, "What's new", "Introducing profiles aliases"."""
    found = resolved(UNOMI, Seen(1, "profile_id:a email:x@home.de"), Seen(2, "profile_id:b email:x@home.de"))
    aliases = {row.person_id: row.merged_into for row in found.persons()}
    assert aliases[of("profile_id:a")] == aliases[of("profile_id:b")] == of("email:x@home.de")


# --- Jitsu ---------------------------------------------------------------------------------------------------------

JITSU = rules_of("jitsu")


def test_jitsu_events_before_the_identification_get_the_user_afterwards() -> None:
    """Source: Jitsu, "Retroactive User Recognition", "Example": two anonymous events, then two identified ones."""
    events = [
        Seen(n, f"anonymous_id:1{user}") for n, user in ((1, ""), (2, ""), (3, " email:a@b.de"), (4, " email:a@b.de"))
    ]
    assert set(owners(JITSU, *events).values()) == {"email:a@b.de"}


def test_jitsu_either_of_several_identification_nodes_identifies() -> None:
    """Source: Jitsu, "Retroactive User Recognition", identification_nodes: the user's id or address."""
    events = [
        Seen(1, "anonymous_id:1"),
        Seen(2, "anonymous_id:1 user_id:u"),
        Seen(3, "anonymous_id:2"),
        Seen(4, "anonymous_id:2 email:a@b.de"),
        Seen(5, "user_id:u email:a@b.de"),
    ]
    assert set(owners(JITSU, *events).values()) == {"user_id:u"}


def test_jitsu_differs_in_that_the_whole_past_is_recognised_here() -> None:
    """Source: Jitsu, "Identity Stitching": events of the last thirty days."""
    events = [Seen(0, "anonymous_id:1"), Seen(40 * DAY, "anonymous_id:1 user_id:u")]
    assert owners(JITSU, *events)[0] == "user_id:u"


def test_jitsu_what_lies_between_two_logins_is_of_the_next_one() -> None:
    """Source: Jitsu, "Identity Stitching": an identified event takes the anonymous ones before it."""
    events = [Seen(1, "anonymous_id:1 user_id:u"), Seen(2, "anonymous_id:1"), Seen(3, "anonymous_id:1 user_id:v")]
    assert owners(JITSU, *events) == {1: "user_id:u", 2: "user_id:v", 3: "user_id:v"}


def test_jitsu_differs_in_that_what_follows_the_last_login_is_of_that_login_here() -> None:
    """Source: Jitsu, "Identity Stitching": only an identified event after them takes anonymous ones."""
    events = [Seen(1, "anonymous_id:1 user_id:u"), Seen(2, "anonymous_id:1 user_id:v"), Seen(3, "anonymous_id:1")]
    assert owners(JITSU, *events)[3] == "user_id:v"


# --- where two of them contradict ----------------------------------------------------------------------------------

SHARED = [Seen(1, "anonymous_id:a"), Seen(2, "anonymous_id:a user_id:1"), Seen(3, "anonymous_id:a"),
          Seen(4, "anonymous_id:a user_id:2"), Seen(5, "anonymous_id:a")]  # fmt: skip


def test_users_of_one_cookie_are_one_person_or_not() -> None:
    """RudderStack ("ID Graph Cardinality Rules": shared ids join unless limited) against Segment (one user_id)."""
    assert persons(rules_of("rudderstack"), *SHARED) == groups("user_id:1 user_id:2 anonymous_id:a")
    for apart in ("segment", "jitsu"):
        assert len(persons(rules_of(apart), *SHARED)) == 2


@pytest.mark.parametrize(
    ("owner", "anonymous"),
    [
        ("last_known", {1: "user_id:2", 3: "user_id:2", 5: "user_id:2"}),  # Snowplow, "Session stitching"
        ("first_known", {1: "user_id:1", 3: "user_id:1", 5: "user_id:1"}),  # PostHog, "When are merges blocked?"
        ("carry_forward", {1: "user_id:1", 3: "user_id:1", 5: "user_id:2"}),  # Unomi, mergeProfilesOnPropertyAction
        ("carry_back", {1: "user_id:1", 3: "user_id:2", 5: "user_id:2"}),  # Jitsu, "Identity Stitching"
        ("keep_apart", dict.fromkeys((1, 3, 5), "anonymous_id:a")),  # nobody promises this one
    ],
)
def test_the_anonymous_events_of_a_shared_cookie_go_where_the_owner_policy_says(
    owner: str, anonymous: dict[int, str]
) -> None:
    rules = rules_of("jitsu", ("owner: carry_back", f"owner: {owner}"))
    assert owners(rules, *SHARED) == {**anonymous, 2: "user_id:1", 4: "user_id:2"}


def test_a_logout_ends_the_ownership_of_a_device_or_not() -> None:
    """PostHog ("Reset") against Snowplow ("Session stitching", which knows no logout)."""
    events = [
        Seen(1, "anonymous_id:a user_id:2"),
        Seen(2, "anonymous_id:a user_id:1"),
        Seen(3, "anonymous_id:a user_id:1", name="logout"),
        Seen(4, "anonymous_id:a"),
    ]
    ends = rules_of("jitsu", ("name: jitsu", "name: jitsu\nevents: {logout: [logout]}"))
    assert owners(ends, *events)[4] == "anonymous_id:a"
    assert owners(rules_of("jitsu"), *events)[4] == "user_id:1"


def test_one_address_joins_two_user_ids_or_not() -> None:
    """Unomi ("Automatic profile merging" on email) against Segment ("Priority": another user_id, another profile)."""
    events = [Seen(1, "user_id:1 email:a@b.de"), Seen(2, "user_id:2 email:a@b.de")]
    unique = rules_of("jitsu")
    free = rules_of(
        "jitsu", ("user_id: {kind: known, priority: 30, unique: true}", "user_id: {kind: known, priority: 30}")
    )
    assert persons(unique, *events) == groups("user_id:1 email:a@b.de", "user_id:2")
    assert persons(free, *events) == groups("user_id:1 user_id:2 email:a@b.de")


def test_an_alias_joins_two_known_users_or_not() -> None:
    """PostHog ("Alias") against Segment ("Spec: Alias": no call of it merges profiles in Unify)."""
    events = [Seen(1, "user_id:1"), Seen(2, "user_id:2"), Seen(3, "user_id:1 user_id:2", name="alias")]
    says = ("name: jitsu", "name: jitsu\nevents: {alias: [alias]}")
    strong = rules_of("jitsu", says, ("name: jitsu", "name: jitsu\nalias_overrides: true"))
    assert len(persons(strong, *events)) == 1
    for weak in (rules_of("jitsu", says), rules_of("segment")):
        assert len(persons(weak, *events)) == 2


def test_an_explicit_word_beats_the_limits_or_there_is_none() -> None:
    """PostHog ("$merge_dangerously"), RudderStack ("Inclusion/Exclusion Rules") against Segment, where limits hold."""
    events = [Seen(1, "user_id:1"), Seen(2, "user_id:2"), Seen(3, "user_id:1 user_id:2", name="merge")]
    word = rules_of("segment", ("name: segment", "name: segment\nevents: {merge: [merge]}"))
    assert persons(word, *events) == groups("user_id:1 user_id:2")
    assert persons(rules_of("segment"), *events) == groups("user_id:1", "user_id:2")
