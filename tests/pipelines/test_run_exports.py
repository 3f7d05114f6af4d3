"""From the raw exports of eight systems to journeys, in one run: who is who across them, and what each showed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from run_world import KEY, Runs, text_of

from pipelines.config import SHIPPED
from sources.importer.convert import import_files
from sources.importer.mapping_file import load_mapping
from transforms.dead_letter import DeadLetterBox
from transforms.keys import parse_key

EXPORTS = sorted(p for p in (Path(__file__).parents[1] / "sources" / "exports").iterdir() if ".events" not in p.name)
EVENTS = sum(
    '"event_id"' in line
    for path in EXPORTS
    for line in (path.parent / f"{path.stem}.events.jsonl").read_text(encoding="utf-8").splitlines()
)
"""What a person has read that the exports say; the others are left out or are dead letters of the import."""


@pytest.fixture(scope="module")
def exports(make_runs: Callable[[str], Runs], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """All exports imported, each by its mapping, and run together."""
    folders = []
    for path in EXPORTS:
        out = tmp_path_factory.mktemp(path.stem)
        mapping = load_mapping(path.stem, SHIPPED / "mappings")
        import_files([path], mapping, out, DeadLetterBox(parse_key(KEY, "test")), lambda _: None)
        folders.append(out / "events")
    runs = make_runs("exports")
    runs.run_files(*folders)
    return runs


def test_every_event_of_every_system_is_accepted(exports: Runs) -> None:
    total = exports.reports[0].total
    assert (total.received, total.accepted, total.missing) == (EVENTS, EVENTS, 0)
    assert exports.query("SELECT count(DISTINCT source) FROM events") == [(len(EXPORTS),)]
    assert exports.query("SELECT count(*) FROM dead_letters") == [(0,)]


def test_a_customer_is_one_person_in_shop_app_mail_store_and_call_centre(exports: Runs) -> None:
    ann = exports.person("user_id", "u-1")
    assert ann is not None
    for namespace, value in (
        ("anonymous_id", "an-1"),
        ("anonymous_id", "an-0"),
        ("device_id", "1709229600000-123"),
        ("email", "ann@shop-mail.net"),
        ("phone", "+49301234567"),
        ("crm_id", "9001"),
    ):
        assert exports.person(namespace, value) == ann, (namespace, value)
    sources = {s for (s,) in exports.query(f"SELECT DISTINCT source FROM events WHERE person_id = '{ann}'")}
    assert sources == {"segment", "sendgrid", "shopify", "call_center", "appsflyer"}


def test_a_lead_its_contact_and_its_opportunity_are_one_person(exports: Runs) -> None:
    dora = exports.person("crm_id", "003A")
    assert dora is not None
    for value in ("00QA1", "006A", "501"):
        assert exports.person("crm_id", value) == dora, value
    assert exports.person("email", "bob@shop-mail.net") not in (dora, exports.person("user_id", "u-1"))


def test_changes_of_a_record_stand_in_their_order(exports: Runs) -> None:
    dora = exports.person("crm_id", "003A")
    found = exports.query(
        f"SELECT name FROM events WHERE person_id = '{dora}' AND source = 'salesforce' ORDER BY event_time, event_id"
    )
    assert [name for (name,) in found if name.startswith("deal")] == ["deal_created", "deal_updated", "deal_won"]
    found = exports.query(
        f"SELECT name FROM events WHERE person_id = '{dora}' AND source = 'hubspot' "
        "AND event_time = TIMESTAMPTZ '2024-03-01T10:00:00Z' ORDER BY event_time, event_id"
    )
    assert [name for (name,) in found] == ["crm_contact_created", "crm_lead_created", "crm_lead_updated"]


def test_purchases_and_won_deals_are_conversions_and_make_customers(exports: Runs) -> None:
    found = exports.query(
        "SELECT e.name, count(*) FROM events e JOIN outcomes o ON o.outcome_id = e.event_id "
        "WHERE o.kind = 'converted' GROUP BY 1"
    )
    once = dict.fromkeys(["Order Completed", "purchase", "store_purchase", "order_completed"], 1)
    assert dict(found) == {**once, "deal_won": 2}
    for namespace, value in (("user_id", "u-1"), ("user_id", "u-2"), ("crm_id", "003A"), ("crm_id", "9002")):
        person = exports.person(namespace, value)
        assert exports.query(f"SELECT stage FROM journeys WHERE person_id = '{person}'") == [("customer",)]


def test_mail_receipts_are_outcomes(exports: Runs) -> None:
    kinds = exports.query("SELECT kind, count(*) FROM outcomes WHERE kind <> 'converted' GROUP BY 1")
    assert dict(kinds) == dict.fromkeys(["delivered", "opened", "clicked", "complained", "unsubscribed"], 1)


def test_nobody_s_address_stands_in_the_tables(exports: Runs) -> None:
    text = text_of(exports.out / "tables")
    assert "Product Viewed" in text
    assert "mail.net" not in text
    assert "+4930" not in text
