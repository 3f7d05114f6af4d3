"""The ontology file: what it must say, and that every fault names its line."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from contracts.errors import ConfigurationError
from transforms.journey.behaviours import BEHAVIOURS
from transforms.journey.ontology import Ontology
from transforms.journey.ontology_file import parse_ontology

SIMULATED = re.findall(
    r"\w+",
    """home_view blog_view category_view product_view search review_view comparison_view pricing_view faq_view
    add_to_cart remove_from_cart cart_view checkout_start payment_start purchase signup login logout form_submit
    demo_request quote_request support_ticket support_call sales_call store_visit store_purchase email_delivered
    email_opened email_clicked email_bounced email_unsubscribed email_complained ad_impression ad_click app_open
    account_view feature_used review_written renewal refund crm_lead_created lead_accepted lead_rejected consent_changed
    erasure_requested action_logged""",
)

ECOM = re.findall(
    r"\w+",
    """product_view catalog search home filter_results add_to_cart cart shipping_details wishlist_add promo_page
    payment_details account_page purchase review_page support_chat error_page compare payment_error checkout_bug""",
)


def fault(text: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        parse_ontology(text, "journey.yaml")
    return caught.value


def line_of(text: str, part: str) -> int:
    return text[: text.index(part)].count("\n") + 1


def test_default_has_four_stages_in_order(ontology: Ontology) -> None:
    assert ontology.stage_names == ("discovery", "consideration", "decision", "customer")


@pytest.mark.parametrize("name", [*SIMULATED, *ECOM, "page_view", "page_ping"])
def test_default_knows_the_names_of_every_shipped_source(ontology: Ontology, name: str) -> None:
    assert ontology.is_known(name, None)


def test_default_maps_every_behaviour_that_features_use(ontology: Ontology) -> None:
    shown = {behaviour for found in ontology.table.names.values() for behaviour in found}
    assert set(BEHAVIOURS) <= shown


def test_purchase_is_a_conversion_and_reports_one(ontology: Ontology) -> None:
    meaning = ontology.meaning("purchase", None)
    assert meaning.conversion
    assert meaning.receipt == "converted"


@pytest.mark.parametrize("name", ["Product Viewed", "product_viewed", "product-viewed", " PRODUCT.VIEWED "])
def test_names_match_whatever_their_case_and_parting(ontology: Ontology, name: str) -> None:
    assert ontology.behaviours_of(name) == ("product_view",)


def test_a_page_is_told_by_its_path(ontology: Ontology) -> None:
    assert ontology.behaviours_of("page_view", "/de/Pricing") == ("pricing_view",)
    assert ontology.behaviours_of("page_view", "/about") == ("content_view",)
    assert ontology.behaviours_of("page_view", None) == ("content_view",)
    assert ontology.behaviours_of("purchase", "/de/pricing") == ("conversion",)


def test_an_unknown_name_is_an_activity_that_shows_nothing(ontology: Ontology) -> None:
    meaning = ontology.meaning("never_heard_of", "/pricing")
    assert (meaning.known, meaning.activity, meaning.behaviours) == (False, True, ())


def test_a_receipt_is_no_activity(ontology: Ontology) -> None:
    meaning = ontology.meaning("email_opened", None)
    assert (meaning.activity, meaning.receipt, meaning.behaviours) == (False, "opened", ("email_open",))


def test_version_depends_on_content_not_on_comments(ontology_text: str) -> None:
    plain = parse_ontology(ontology_text, "a.yaml")
    assert parse_ontology("# a remark\n" + ontology_text, "b.yaml").version == plain.version
    changed = parse_ontology(ontology_text.replace("{intent: 2.1}", "{intent: 3.5}"), "a.yaml")
    assert changed.version != plain.version
    assert re.fullmatch(r"default@[0-9a-f]{12}", plain.version)


def test_session_rule_can_be_overridden_and_changes_the_version(ontology_text: str) -> None:
    plain = parse_ontology(ontology_text, "a.yaml")
    tracked = parse_ontology(ontology_text, "a.yaml", "tracker")
    assert tracked.sessions.by == "tracker"
    assert tracked.version != plain.version


def test_an_ontology_travels_to_a_worker(ontology: Ontology) -> None:
    arrived = pickle.loads(pickle.dumps(ontology))  # noqa: S301  # what Beam does with a DoFn
    assert arrived == ontology
    assert arrived.behaviours_of("catalog") == ("category_view",)


def test_more_than_seven_stages_are_refused_at_the_eighth(ontology_text: str) -> None:
    head, rest = ontology_text.split("  - name: customer", 1)
    customer, tail = rest.split("\nevents:", 1)
    stage = "  - name: customer" + customer
    extra = ""
    for number in range(5):
        copied = stage.replace("name: customer", f"name: extra{number}")
        extra += re.sub(r"name: (buying|using|renewing|getting_help)", rf"name: \g<1>{number}", copied)
    text = head + stage + extra + "\nevents:" + tail
    error = fault(text)
    assert "at most 7" in error.message
    assert error.line == line_of(text, "name: extra3")


CASES = [
    (
        "behaviours: [comparison, review_read]",
        "behaviours: [comparison, reviews_read]",
        "unknown behaviour",
        "review_read",
    ),
    ("weight: 1.8, half_life: 6d, cap: 4.5}", "weight: 0, half_life: 6d, cap: 4.5}", "above 0", ""),
    ("weight: 1.8, half_life: 6d, cap: 4.5}", "weight: 1.8, half_life: 7 weeks, cap: 4.5}", "no duration", ""),
    ("weight: 1.8, half_life: 6d, cap: 4.5}", "weight: 1.8, half_life: 6d, cap: 1.0}", "below its weight", ""),
    ("name: comparing", "name: browsing", "defined twice", ""),
    ("{intent: 2.0}", "{intent: 99}", "never reached", ""),
    ("{intent: 2.0}", "{intend: 2.0}", "unknown key", "intent"),
    ("{when: conversions >= 1 || renewals >= 1}", "{when: conversion >= 1}", "unknown name", "conversions"),
    ("{when: conversions >= 1 || renewals >= 1}", "{when: conversions}", "not true or false", ""),
    ("{when: conversions >= 1 || renewals >= 1}", "{intent: 1.0}", "needs a condition", ""),
    (
        "{when: conversions >= 1 || renewals >= 1}",
        "{when: days_since_last < 30}",
        "changes by time alone",
        "exit.after",
    ),
    (
        ", since: [conversion, usage, renewal, support, account], by: [checkout, sales_contact], rest: 2h}",
        "}",
        "belong together",
        "",
    ),
    (", by: [checkout, sales_contact], rest: 2h}", ", rest: 2h}", "there is none", "what ends the stage"),
    ("search: 0.8, product_view: 0.85", "search: 0.8, cart: 0.85", "feeds signal 'filling_cart'", "one of the two"),
    ("search: 0.8, product_view: 0.85", "search: 0.8, product_view: 1.2", "must be between 0 and 1", "reset_by"),
    ("search: 0.8, product_view: 0.85", "search: 0.8, produkt_view: 0.85", "unknown behaviour", "product_view"),
    ("- name: discovery", "- name: Discovery stage", "a stage's name", "lower-case"),
    ("  by: gap", "  by: device", "none of gap, tracker", ""),
    ("delivered: [email_delivered]", "deliverd: [email_delivered]", "unknown key", "delivered"),
]


@pytest.mark.parametrize(("old", "new", "message", "hint"), CASES)
def test_a_fault_is_named_with_its_line_and_a_hint(
    ontology_text: str, old: str, new: str, message: str, hint: str
) -> None:
    assert ontology_text.count(old) == 1
    text = ontology_text.replace(old, new)
    error = fault(text)
    assert message in error.message
    assert hint in error.hint
    assert error.line == line_of(ontology_text, old)


def test_two_signals_are_too_few_for_a_stage(ontology_text: str) -> None:
    text = re.sub(r"      - \{name: (searching|opening_mail).*\n", "", ontology_text)
    assert "has 2 signals; a stage has 3 to 5" in fault(text).message


def test_the_first_stage_has_no_entry(ontology_text: str) -> None:
    text = ontology_text.replace("    benchmark: 0.35\n", "    benchmark: 0.35\n    entry: {intent: 1}\n")
    assert "is where everybody starts" in fault(text).message


def test_what_identity_asks_for_is_a_record_whatever_the_file_lists(ontology: Ontology) -> None:
    told = ontology.with_administrative({"Join Persons", "forget_me"})
    for meaning in (told.meaning("join_persons", None), told.meaning("Join Persons", None)):
        assert meaning.known
        assert not meaning.activity
    assert ontology.meaning("join_persons", None).activity
    assert told.version == ontology.version
    arrived = copy.copy(told)  # by the same way as a worker's
    assert arrived == told
    assert not arrived.meaning("forget me", None).activity
