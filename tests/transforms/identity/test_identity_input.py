"""From what senders write to persons: protect, links and resolution together, on input that means nobody any good."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterable

import identity_world as world
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.event import Event, Identifier
from transforms.identity.evidence import LinkBook
from transforms.identity.ids import canonical_id
from transforms.identity.resolve import Resolution, resolve
from transforms.identity.values import MAX_LENGTH, sha256
from transforms.protect import Protector, Pseudonymiser

RULES = world.default_rules()
PSEUDONYMS = Pseudonymiser(b"k" * 32)

Names = tuple[tuple[str, str], ...]


def resolved(*events: Names, protector: Protector | None = None) -> Resolution:
    """The resolution of events that name these identifiers as senders write them, one a microsecond."""
    protector = protector or Protector(RULES, PSEUDONYMS)
    book = LinkBook(RULES)
    for n, names in enumerate(events):
        event = Event(f"e{n}", "page_view", n, n, "web", "web", tuple(Identifier(*name) for name in names))
        protected = protector.protect(event, "web")
        if protected is not None:
            book.observe(protected.place.identifiers, event.name, event.event_id, n, n)
    return resolve(book.drain(), RULES)


def person(resolution: Resolution, namespace: str, value: str) -> str:
    """The person of an identifier that needs no normalising."""
    return resolution.person_of(PSEUDONYMS.pseudonym(Identifier(namespace, value)))


def own(namespace: str, value: str) -> str:
    return canonical_id(PSEUDONYMS.pseudonym(Identifier(namespace, value)))


NOBODY = ["null", "NULL", " null ", "undefined", "Undefined", "none", "None", "anonymous", "ANONYMOUS", "guest", "0",
          "000", "00000000-0000-0000-0000-000000000000", "0-0", "1111", "99999999", "222-222-222", "test@test.com",
          "test@anything.com", "TEST@shop.com", "noreply@shop.com", "x@example.com", "x@test.de", "", "  ", "---", "-1",
          "n/a", "[object Object]"]  # fmt: skip


@pytest.mark.parametrize("value", NOBODY)
@pytest.mark.parametrize("namespace", ["user_id", "email", "crm_id", "anonymous_id", "device_id"])
def test_a_value_that_names_nobody_joins_nobody(namespace: str, value: str) -> None:
    others = ["crm_id" if namespace != "crm_id" else "user_id"] * 3
    found = resolved(*(((namespace, value), (other, f"c{n}")) for n, other in enumerate(others)))
    assert {person(found, other, f"c{n}") for n, other in enumerate(others)} == {
        own(other, f"c{n}") for n, other in enumerate(others)
    }
    assert sum(1 for _ in found.identifiers()) == 3


@pytest.mark.parametrize("value", NOBODY)
def test_an_event_with_nothing_but_such_a_value_has_no_place(value: str) -> None:
    assert Protector(RULES, PSEUDONYMS).place((Identifier("user_id", value),)) is None


@pytest.mark.parametrize("value", ["", "null", "undefined", "none", "anonymous", "guest", "test@test.com"])
def test_nor_does_the_hash_of_one_where_values_arrive_hashed(value: str) -> None:
    found = resolved(*((("email_sha256", sha256(value)), ("crm_id", f"c{n}")) for n in range(3)))
    assert sum(1 for _ in found.identifiers()) == 3
    assert len({row.person_id for row in found.identifiers()}) == 3


def test_a_megabyte_for_an_identifier_is_dropped_the_event_lives_on_and_nothing_is_kept_of_it() -> None:
    protector = Protector(RULES, PSEUDONYMS)
    huge = "x" * 1_000_000
    wide = "\u00e9" * 1_000_000
    began = time.process_time()
    events: list[Names] = [
        (("anonymous_id", huge + str(n % 2)), ("email", wide), ("crm_id", f"c{n}")) for n in range(50)
    ]
    found = resolved(*events, protector=protector)
    assert time.process_time() - began < 10
    assert {row.namespace for row in found.identifiers()} == {"crm_id"}
    assert len({row.person_id for row in found.identifiers()}) == 50
    assert protector.remembered == 0
    assert protector.place((Identifier("user_id", huge),)) is None


def test_the_longest_identifier_there_may_be_counts_however_it_is_encoded() -> None:
    composed = "\u00e9" * MAX_LENGTH
    found = resolved(
        (("user_id", composed), ("crm_id", "a")), (("user_id", unicodedata.normalize("NFD", composed)), ("crm_id", "b"))
    )
    assert person(found, "crm_id", "a") == person(found, "crm_id", "b") == own("user_id", composed)
    assert RULES.normalise(Identifier("user_id", composed + "x")) is None
    assert RULES.normalise(Identifier("user_id", "\u0958" * MAX_LENGTH)) is None, "its composed form is longer"


def forms(text: str) -> Iterable[str]:
    return (unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))


@pytest.mark.parametrize(
    "text", ["Jos\u00e9", "\u1f82", "\ud55c\uad6d\uc5b4", "H\u0331ana", "\u0130stanbul", "T\u0308om"]
)
def test_one_name_in_two_encodings_is_one_person_and_in_two_cases_where_the_rules_say_so(text: str) -> None:
    for namespace, writings in (
        ("user_id", list(forms(text))),
        ("email", [f"{form}@shop.com" for case in (text, text.lower()) for form in forms(case)]),
    ):
        found = resolved(*(((namespace, writing), ("crm_id", f"c{n}")) for n, writing in enumerate(writings)))
        assert len({row.person_id for row in found.identifiers()}) == 1, writings


@pytest.mark.parametrize(
    "value", ["Jos\u00c3\u00a9", "u\ud800", "a\x00b", "\ufeffana", "\u202eana", "an\u200ba", "ana\U0001f9d1"]
)
def test_what_is_no_clean_text_is_an_identifier_of_its_own_and_stops_nothing(value: str) -> None:
    """Text that was decoded wrongly is not mended by guessing: two persons rather than the wrong one."""
    found = resolved(
        (("user_id", value), ("crm_id", "a")), (("user_id", "Jos\u00e9"), ("crm_id", "b")), (("user_id", "ana"),)
    )
    assert person(found, "crm_id", "a") == own("user_id", value)
    assert person(found, "crm_id", "a") not in (person(found, "crm_id", "b"), person(found, "user_id", "ana"))


_text = st.text(max_size=12) | st.text("0-_. \u0301\u0331eEhHsS\u00df\u0130\u03a3", max_size=8)


@settings(max_examples=300, deadline=None)
@example("email", "H\u0331")
@example("user_id", "\u0958" * MAX_LENGTH)
@given(st.sampled_from(sorted(RULES.namespaces)), _text)
def test_however_a_value_is_encoded_it_is_one_identifier_and_settled(namespace: str, value: str) -> None:
    made = {RULES.normalise(Identifier(namespace, form)) for form in (value, *forms(value))}
    assert len(made) == 1
    for once in made - {None}:
        assert once is not None
        assert RULES.normalise(once) == once
