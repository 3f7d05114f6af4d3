"""``wayline mapping init``: what it proposes is a valid mapping of the rows it was made from, and holds no value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.documents import parse
from pipelines.config import SHIPPED
from sources.importer.guess import fitting, guess_layout, mapping_name, sample
from sources.importer.mapping import Mapping
from sources.importer.mapping_file import parse_mapping
from sources.importer.propose import Proposal, ProposalError, propose
from sources.importer.rows import Row, RowError
from sources.importer.survey import survey

EXPORTS = Path(__file__).parent / "exports"
FILES = [path for path in sorted(EXPORTS.iterdir()) if ".events" not in path.name]
SHOP = """Bestellung;Kunden-Mail;user_id;event;Zeitpunkt;Betrag;Neukunde;first_name;page_url;newsletter
1;ann@shop-mail.net;u1;product_view;01.03.2024 10:00;19,99;yes;Ann;https://shop.example/p/1;true
2;bob@shop-mail.net;u2;purchase;13.03.2024 10:30;5;no;Bob;;false
"""


def proposed(path: Path, name: str | None = None) -> tuple[Proposal, Mapping, list[Row]]:
    layout = guess_layout(path)
    rows = sample(path, layout, 1_000)
    proposal = propose(survey(rows), name or mapping_name(path), layout.formats[0], layout.delimiter)
    return proposal, parse_mapping(parse(proposal.text, "proposed.yaml")), rows


def test_a_proposal_finds_time_name_identifiers_and_types(tmp_path: Path) -> None:
    path = tmp_path / "Shop Export.csv"
    path.write_text(SHOP, encoding="utf-8")
    proposal, mapping, rows = proposed(path)
    ((event, _),) = mapping.events(rows[0])
    assert (mapping.name, mapping.formats, mapping.delimiter) == ("shop_export", ("csv",), ";")
    assert (event.name, event.channel, event.event_time) == ("product_view", "web", 1_709_287_200_000_000)
    assert event.identifiers == (("user_id", "u1"), ("email", "ann@shop-mail.net"))
    assert event.properties == {"bestellung": 1, "betrag": "19,99", "neukunde": True}
    assert "left out, since it looks personal: first_name" in proposal.text
    assert "# a consent? then: consent: {email: {field: newsletter, type: boolean}}" in proposal.text
    assert any("is UTC the zone" in question for question in proposal.questions)


def test_a_proposal_holds_no_value_of_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text(SHOP, encoding="utf-8")
    text = proposed(path)[0].text
    for value in ("ann@", "19,99", "product_view", "u1", "Ann", "shop.example"):
        assert value not in text


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_for_an_export_it_proposes_what_maps_or_says_what_is_missing(path: Path) -> None:
    layout = guess_layout(path)
    rows = sample(path, layout, 100)
    names = [name for name, _ in fitting(path, rows, layout, SHIPPED / "mappings")]
    assert names == [path.stem]
    if path.stem in ("hubspot", "salesforce"):
        # a deal has no identifier of its own, a change feed has its times and records in a header
        return
    _, mapping, rows = proposed(path)
    mapped, reasons = 0, set()
    for row in rows:
        try:
            mapped += len(list(mapping.events(row)))
        except RowError as error:
            reasons.add(error.reason)
    assert mapped >= len(rows) * 0.6
    assert reasons <= {"no_identifier"}


def test_of_a_day_and_an_instant_the_instant_is_the_time() -> None:
    rows = [
        {"event_date": "20240301", "event_timestamp": str(1_709_283_600_000_000 + n), "user_id": n} for n in range(3)
    ]
    proposal = propose(survey(rows), "x", "jsonl")
    assert "event_time: {field: event_timestamp, format: epoch_us}" in proposal.text


def test_texts_for_nothing_are_no_values() -> None:
    rows = [
        {"at": "2024-03-01", "user_id": "u1", "seats": "NULL"},
        {"at": "2024-03-01", "user_id": "NULL", "seats": "7"},
    ]
    text = propose(survey(rows), "x", "jsonl").text
    assert 'nulls: ["NULL"]' in text
    assert "seats: {field: seats, type: long}  # filled in 50 %" in text


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"user_id": "u1", "note": "hello"}], "no field of these rows is a time"),
        (
            [{"user_id": "u1", "at": at} for at in ("2024-03-01", "2024-03-02", "soon")],
            "at: only 2 of 3 are times in one format",
        ),
        ([{"at": "2024-03-01", "note": "hello"}], "looks like an identifier"),
    ],
)
def test_what_cannot_be_proposed_is_said(rows: list[Row], message: str) -> None:
    with pytest.raises(ProposalError, match=message):
        propose(survey(rows), "x", "jsonl")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.csv", "a;b;c\n1;2;3\n", ("csv", ";")),
        ("a", "a\tb\n1\t2\n", ("tsv", ",")),
        ("a.log", '{"a": 1}\n{"a": 2}\n', ("jsonl", ",")),
        ("a.json", '[{"a": 1}]', ("json", ",")),
        ("a.csv", '"a,1";b\n1;2\n', ("csv", ";")),
    ],
)
def test_the_layout_of_a_file_is_guessed(tmp_path: Path, name: str, content: str, expected: tuple[str, str]) -> None:
    (tmp_path / name).write_text(content)
    layout = guess_layout(tmp_path / name)
    assert (layout.formats[0], layout.delimiter) == expected


KEYS = st.sampled_from(["user_id", "at", "event", "a.b", "x y", "on", "#", "é: {", "a[0]", "type", "\x00", '"', "- "])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just("2024-03-01")
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=2) | st.dictionaries(KEYS, v, max_size=2))
ROWS = st.lists(st.dictionaries(KEYS, VALUES), max_size=4)


@settings(max_examples=200)
@given(ROWS)
def test_whatever_the_rows_a_proposal_is_a_valid_mapping(rows: list[dict[str, Any]]) -> None:
    some = [{**row, "at": "2024-03-01", "user_id": f"u{n}"} for n, row in enumerate(rows)] or [
        {"at": "2024-03-01", "user": 1}
    ]
    proposal = propose(survey(some), "x", "jsonl")
    mapping = parse_mapping(parse(proposal.text, "proposed.yaml"))
    for row in some:
        try:
            assert len(list(mapping.events(row))) == 1
        except RowError as error:
            reason = error.reason
        else:
            continue
        # a text that UTF-8 cannot hold, or a name that is empty but for space
        assert reason in ("bad_value", "bad_number", "missing_field"), (reason, json.dumps(row, default=str))


def test_of_an_export_of_deals_it_takes_their_contact_and_asks_whether_their_stage_says_what_happened() -> None:
    rows = [
        {"Record ID": n, "Deal Stage": ["won", "lost"][n % 2], "Close Date": f"2024-03-0{n} 10:00",
         "Associated Contact IDs": 70 + n}
        for n in range(1, 6)
    ]  # fmt: skip
    proposal = propose(survey(rows), "deals", "csv")
    assert '{namespace: crm_id, field: "Associated Contact IDs"}' in proposal.text
    assert any("perhaps Deal Stage says it" in question for question in proposal.questions)


def test_without_an_identifier_it_names_the_fields_to_choose_from() -> None:
    with pytest.raises(ProposalError) as caught:
        propose(survey([{"at": "2024-03-01", "Deal Name": "a"}]), "deals", "csv")
    assert caught.value.hint.endswith("from Deal Name")
