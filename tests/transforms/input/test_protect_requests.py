"""Requests name pseudonyms in a reserved form, and belong to a login on no device. Nothing else may write so."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.event import Event, Identifier
from transforms.identity.rules_file import load_rules
from transforms.protect import Protector, Pseudonymiser

RULES = load_rules(Path(__file__).parents[3] / "ontology" / "identity.yaml")
KEY = Pseudonymiser(b"k" * 32)
ANN = KEY.pseudonym(Identifier("user_id", "ann"))
COOKIE = KEY.pseudonym(Identifier("anonymous_id", "a"))


def reserved(pseudonym: Identifier) -> Identifier:
    return Identifier(f"wayline.pseudonym.{pseudonym.namespace}", pseudonym.value)


def event(name: str, *identifiers: Identifier) -> Event:
    return Event("e1", name, 1_700_000_000_000_000, 1_700_000_000_000_000, "web", "web", identifiers)


@pytest.mark.parametrize("name", ["identity_merge", "identity_unlink"])
def test_a_request_means_the_same_by_pseudonyms_and_by_raw_identifiers(name: str) -> None:
    protector = Protector(RULES, KEY)
    raw = protector.place_of(event(name, Identifier("user_id", " ann"), Identifier("anonymous_id", "a")))
    assert raw is not None
    assert raw.identifiers == (COOKIE, ANN)
    for shown in ((reserved(ANN), reserved(COOKIE)), (Identifier("user_id", "ann"), reserved(COOKIE))):
        assert protector.place_of(event(name, *shown)) == raw


@pytest.mark.parametrize("name", ["home_view", "login", "alias", "logout", "erasure_requested", "identity_merges"])
def test_to_any_other_event_the_reserved_form_is_an_unknown_namespace(name: str) -> None:
    protector = Protector(RULES, KEY)
    # asked first as a request, so that nothing remembered of it helps
    assert protector.place_of(event("identity_merge", reserved(ANN))) is not None
    assert protector.place_of(event(name, reserved(ANN))) is None
    beside = protector.place_of(event(name, reserved(ANN), Identifier("anonymous_id", "a")))
    assert beside is not None
    assert (beside.identifiers, beside.login) == ((COOKIE,), None)


def test_a_request_belongs_to_the_login_and_was_made_on_no_device() -> None:
    protector = Protector(RULES, KEY)
    names = (Identifier("user_id", "ann"), Identifier("anonymous_id", "a"))
    place = protector.place_of(event("identity_unlink", *names))
    assert place is not None
    assert (place.primary, place.login) == (ANN, None)
    seen = protector.place_of(event("login", *names))
    assert seen is not None
    assert (seen.primary, seen.login) == (COOKIE, ANN)


@pytest.mark.parametrize(
    ("namespace", "value"),
    [
        ("wayline.pseudonym.user_id", "ann"),
        ("wayline.pseudonym.user_id", ANN.value.upper()),
        ("wayline.pseudonym.user_id", ANN.value + "0"),
        ("wayline.pseudonym.email", ANN.value),
        ("wayline.pseudonym.tracker_network_id", ANN.value),
        ("wayline.pseudonym.x.user_id", ANN.value),
        ("wayline.pseudonym", ANN.value),
        ("pseudonym.user_id", ANN.value),
    ],
)
def test_what_is_not_quite_the_form_is_nothing(namespace: str, value: str) -> None:
    assert Protector(RULES, KEY).place_of(event("identity_merge", Identifier(namespace, value))) is None


def test_administrative_names_are_those_that_ask_for_something() -> None:
    assert RULES.administrative == {"erasure_requested", "identity_merge", "identity_unlink"}
