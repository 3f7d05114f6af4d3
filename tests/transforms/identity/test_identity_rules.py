"""Rules: the file says exactly what counts, and says where it is wrong."""

from __future__ import annotations

import hashlib
import itertools
import pickle

import identity_world as world
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts import documents
from contracts.errors import ConfigurationError
from contracts.event import Identifier
from transforms.identity.rules import IdentityRules, StrandKey
from transforms.identity.rules_file import parse_rules

RULES = world.default_rules()


def test_default_file_loads_and_has_a_version_of_its_content() -> None:
    assert RULES.version.startswith("default@")
    assert RULES.version == world.default_rules().version
    assert world.rules().version != world.rules(owner="keep_apart").version


def test_rules_survive_the_way_to_a_worker() -> None:
    assert pickle.loads(pickle.dumps(RULES)) == RULES  # noqa: S301  # our own bytes


@pytest.mark.parametrize(
    "value",
    ["", " ", "null", "NULL", "undefined", "None", "anonymous", "Guest", "0", "0000", "---",
     "00000000-0000-0000-0000-000000000000", "1111", "999999999", "22-22-22", "test@test.com", "test@shop.example",
     "someone@example.com", "[object Object]", "x" * 513],
)  # fmt: skip
def test_values_that_name_nobody_are_blocked(value: str) -> None:
    assert RULES.normalise(Identifier("user_id", value)) is None
    assert RULES.normalise(Identifier("email", value)) is None


@pytest.mark.parametrize(
    "value", ["7", "11", "111", "42", "user_0000", "u0", "10000", "ana@shop.com", "nullify", "a" * 512]
)
def test_honest_values_are_not_blocked(value: str) -> None:
    assert RULES.normalise(Identifier("user_id", value)) == Identifier("user_id", value)


def test_hash_of_a_blocked_address_is_blocked_too() -> None:
    for text in ("", "null", "test@test.com"):
        hashed = hashlib.sha256(text.encode()).hexdigest()
        assert RULES.normalise(Identifier("email_sha256", hashed)) is None


def test_address_becomes_the_same_identifier_as_its_hash() -> None:
    hashed = hashlib.sha256(b"ana@shop.com").hexdigest()
    assert RULES.normalise(Identifier("email", " Ana@Shop.com ")) == Identifier("email_sha256", hashed)
    assert RULES.normalise(Identifier("email_sha256", hashed.upper())) == Identifier("email_sha256", hashed)


def test_phone_is_reduced_to_its_digits() -> None:
    for text in ("+44 (20) 7946-0958", "0044 20 7946 0958"):
        assert RULES.normalise(Identifier("phone", text)) == Identifier("phone", "+442079460958")


def test_unknown_namespace_does_not_count() -> None:
    assert RULES.normalise(Identifier("shoe_size", "42")) is None
    assert RULES.strand_key([Identifier("shoe_size", "42")]) is None


def test_composed_and_decomposed_text_is_one_identifier() -> None:
    assert RULES.normalise(Identifier("user_id", "Jose\u0301")) == RULES.normalise(Identifier("user_id", "Jos\u00e9"))


@settings(deadline=None)
@given(st.sampled_from(sorted(RULES.namespaces)), st.text(max_size=40))
def test_normalising_is_total_and_settles(namespace: str, value: str) -> None:
    once = RULES.normalise(Identifier(namespace, value))
    if once is not None:
        assert RULES.normalise(once) == once


# --- strand keys and links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "primary", "login"),
    [
        ("cookie:a", "cookie:a", None),
        ("cookie:a user:1", "cookie:a", "user:1"),
        ("cookie:a app:x email:e user:1", "cookie:a", "user:1"),
        ("app:x network:n", "app:x", None),
        ("email:e crm:k", "crm:k", None),
        ("user:1 email:e", "user:1", None),
        ("cookie:b cookie:a", "cookie:a", None),
    ],
)
def test_strand_is_the_most_device_like_identifier_under_the_best_known_one(
    names: str, primary: str, login: str | None
) -> None:
    rules = world.rules()
    expected = StrandKey(world.ident(primary), world.ident(login) if login else None)
    for order in itertools.permutations(names.split()):
        assert rules.strand_key([world.ident(name) for name in order]) == expected


def test_carried_namespace_alone_is_no_usable_identifier() -> None:
    assert world.rules().strand_key([world.ident("network:n")]) is None
    assert world.rules().pairs([world.ident("network:n")], "view") == ()


def test_links_go_from_the_login_to_each_other_identifier_and_never_to_a_carried_one() -> None:
    event = world.Seen(5, "cookie:a app:x network:n email:e user:1")
    links = world.links_of([event], world.rules())
    assert [(link.left, link.right) for link in links] == [
        (world.ident("user:1"), world.ident(right)) for right in ("app:x", "cookie:a", "email:e")
    ]
    assert all((link.first_time, link.last_time, link.erase_before) == (5, 5, None) for link in links)


def test_an_identifier_seen_alone_is_a_link_of_one_end() -> None:
    (link,) = world.links_of([world.Seen(1, "cookie:a network:n")], world.rules())
    assert (link.left, link.right) == (world.ident("cookie:a"), None)


def test_erasure_event_marks_its_links() -> None:
    links = world.links_of([world.Seen(7, "cookie:a user:1", name="erase")], world.rules())
    assert [link.erase_before for link in links] == [7]


# --- the file ------------------------------------------------------------------------------------------------------

GOOD = """name: n
namespaces:
  cookie:
    kind: device
    priority: 1
  user:
    kind: known
    priority: 2
"""


def parsed(text: str) -> IdentityRules:
    return parse_rules(documents.parse(text, "identity.yaml"))


def test_short_file_has_documented_defaults() -> None:
    rules = parsed(GOOD)
    assert rules.component_size == 1000
    assert rules.namespaces["cookie"].owner == "last_known"
    assert rules.crowd == 10_000
    assert rules.namespaces["cookie"].demote_after is None
    assert rules.kinds == {}
    assert rules.erase_events == frozenset()


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("name: n\n", "", 1, "needs 'name'"),
        ("kind: device", "kind: devise", 4, "did you mean 'device'"),
        ("    priority: 1\n", "", 3, "needs 'priority'"),
        ("priority: 2", "priority: 1", 6, "same priority 1"),
        ("kind: device\n    priority: 1", "kind: device\n    priority: 9", 6, "ranks below device"),
        ("priority: 2", "prioritaet: 2", 8, "did you mean 'priority'"),
        ("priority: 2", "priority: 2\n    unique: true\n    limit: 3", 10, "both 'unique' and 'limit'"),
        ("priority: 1", "priority: 1\n    unique: true", 6, "any number of devices"),
        ("priority: 2", "priority: 2\n    owner: last_known", 9, "only devices have an owner"),
        ("priority: 2", "priority: 2\n    normalise: [sha256, trim]", 9, "last step"),
        ("priority: 2", "priority: 2\n    normalise: [trimm]", 9, "did you mean 'trim'"),
        ("priority: 2", "priority: 2\n    as: nothing", 6, "does not exist"),
        ("priority: 2", "priority: 2\n    as: cookie", 6, "becomes a device one"),
        ("priority: 2", "priority: 2\n    block: {patterns: ['(']}", 9, "no regular expression"),
        ("  cookie:", "  Cookie-1:", 3, "is no namespace"),
        ("name: n", "name: n\npublic_after: 8", 2, "no key any more"),
        ("name: n", "name: n\ndemote_after: {logins: 8, in: 3d}", 2, "unknown key 'in'"),
        ("name: n", "name: n\ndemote_after: 0", 2, "at least 1"),
        ("name: n", "name: n\ncrowd: 10", 2, "below component_size"),
        ("priority: 2", "priority: 2\n    limit: {values: 2, within: soon}", 9, "is no duration"),
        ("name: n", "name: n\nowner: last", 2, "none of last_known"),
        ("name: n", "name: n\ncomponent_size: 1", 2, "at least 2"),
        ("name: n", "name: n\nevents: {merge: [x], split: [y]}", 2, "unknown key 'split'"),
        ("name: n", "name: n\nevents: {merge: [x], unlink: [x]}", 2, "stands under merge already"),
        ("name: n", "name: n\nowners: x", 2, "did you mean 'owner'"),
    ],
)  # fmt: skip
def test_broken_rules_are_refused_with_file_line_and_remedy(old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigurationError) as caught:
        parsed(GOOD.replace(old, new, 1))
    said = f"{caught.value.message} {caught.value.hint}"
    assert said.startswith(f"identity.yaml:{line}:")
    assert words in said


def test_own_blocked_values_and_patterns_are_added_or_replace_the_built_in_ones() -> None:
    added = parsed(GOOD + "block: {values: [demo, 7], patterns: ['bot-[0-9]+']}\n")
    for value in ("Demo", "7", "BOT-12", "null"):
        assert added.normalise(Identifier("user", value)) is None
    alone = parsed(GOOD + "block: {values: [demo], defaults: false}\n")
    assert alone.normalise(Identifier("user", "demo")) is None
    assert alone.normalise(Identifier("user", "")) is None
    assert alone.normalise(Identifier("user", "null")) == Identifier("user", "null")
