"""What an audit counts: coverage, overlap, order in time, copies, what is missing; and what it never shows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from contracts.event import DAY, HOUR, MINUTE, SECOND, Context, Event, Identifier
from pipelines.config import SHIPPED
from reports.audit import count
from reports.audit.count import OTHERS, SourceCounter, Times
from reports.audit.page import audit_page
from reports.audit.parts import parts, share
from reports.audit.result import Audit, Gap
from reports.audit.sample import Number
from reports.audit.tell import audit_values, tell_audit
from transforms.identity.rules_file import load_rules
from transforms.journey.ontology import load_ontology

NOON = 1_740_000_000_000_000
RULES = load_rules(SHIPPED / "identity.yaml")
ONTOLOGY = load_ontology(SHIPPED / "journey.yaml")
LATENESS, SKEW = 48 * HOUR, 10 * MINUTE


def event(number: int, at: int = NOON, source: str = "web", name: str = "home_view", **more: object) -> Event:
    known: dict[str, object] = {
        "event_id": f"e{number}",
        "received_time": at + SECOND,
        "channel": "web",
        "identifiers": (Identifier("anonymous_id", f"visitor-{number}"),),
    }
    return Event(name=name, event_time=at, source=source, **{**known, **more})  # type: ignore[arg-type]


def audit(events: Iterable[Event]) -> Audit:
    counter = SourceCounter(RULES, ONTOLOGY, LATENESS, SKEW)
    for one in events:
        counter.add(one)
    return counter.result("here")


def told(found: Audit) -> str:
    """Everything that a reader may see of it, however it is asked for."""
    console = Console(file=StringIO(), width=200, record=True)
    for item in tell_audit(found):
        console.print(item)
    return "\n".join((console.export_text(), json.dumps(audit_values(found), ensure_ascii=False), audit_page(found)))


def test_sources_are_told_apart_with_their_rows_and_names() -> None:
    found = audit([event(1), event(2, source="crm", name="deal_won"), event(3, name="no_such_event"), event(4)])
    crm, web = found.sources
    assert (crm.source, crm.events, web.source, web.events, found.events) == ("crm", 1, "web", 3, 4)
    assert [(one.name, one.events, one.known) for one in web.names] == [
        ("home_view", 2, True),
        ("no_such_event", 1, False),
    ]


def test_names_that_the_ontology_does_not_know_come_first_where_a_few_are_shown() -> None:
    common = [event(n, name=name) for n, name in enumerate(["home_view", "product_view", "search"] * 5)]
    found = audit([*common, event(90, name="odd"), event(91, name="rare")])
    for most, told in (
        (2, [("odd", "unknown"), ("rare", "unknown"), ("(further names)", "")]),
        (1, [("odd", "unknown"), ("(further names)", "1 of them unknown")]),
    ):
        (names,) = (part for part in parts(found, most) if part.name == "names")
        assert [(row[1], row[-1]) for row in names.rows] == told


def test_the_terminal_says_of_each_finding_how_to_mend_it() -> None:
    found = audit([event(1)])
    console = Console(file=StringIO(), width=140)
    for item in tell_audit(found):
        console.print(item)
    words = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]  # it is the StringIO
    assert found.findings
    for one in found.findings:
        assert f"{one.rule}, line {one.line}: {one.message}" in words
        assert f"fix: {one.mending}" in words


def test_copies_say_the_same_whenever_they_were_received_and_conflicts_do_not() -> None:
    one = event(1)
    again = replace(one, received_time=one.received_time + HOUR)
    other = replace(one, name="product_view", source="app")
    app, web = audit([one, again, other, again, event(2)]).sources
    assert (web.copies, web.conflicts) == (Number(2), Number(0))
    assert (app.copies, app.conflicts) == (Number(0), Number(1))


def test_copies_beyond_the_limit_are_estimated_and_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(count, "EVENTS_KEPT", 512)
    events = [event(number) for number in range(4_000)]
    (web,) = audit([*events, *events[:1_000]]).sources
    assert not web.copies.exact
    assert 700 < web.copies.value < 1_300


def test_identifiers_are_compared_as_identity_takes_them() -> None:
    mail = hashlib.sha256(b"anna@mail.net").hexdigest()
    found = audit(
        [
            event(1, identifiers=(Identifier("email", " Anna@Mail.net"), Identifier("user_id", "7"))),
            event(2, source="esp", identifiers=(Identifier("email_sha256", mail),)),
            event(3, source="esp", identifiers=(Identifier("email_sha256", "0" * 64), Identifier("user_id", "null"))),
            event(4, source="pos", identifiers=(Identifier("loyalty_card", "9"),)),
        ]
    )
    esp, pos, web = found.sources
    ((overlap),) = found.overlaps
    assert (overlap.namespace, overlap.a, overlap.b, overlap.in_both) == ("email_sha256", "esp", "web", Number(1))
    assert [(one.namespace, one.events, one.different, one.blocked, one.counts) for one in pos.coverage] == [
        ("loyalty_card", 0, Number(0), 1, False)
    ]
    assert {one.namespace: one.blocked for one in esp.coverage}["user_id"] == 1
    assert (pos.unusable, web.unusable) == (1, 0)
    assert (web.linking, esp.linking) == (1, 0)


def test_each_delay_is_in_the_first_class_that_holds_it() -> None:
    delays = (0, MINUTE, MINUTE + 1, DAY, LATENESS, LATENESS + 1, -SKEW, -SKEW - 1)
    found = audit(event(n, received_time=NOON + delay) for n, delay in enumerate(delays))
    (web,) = found.sources
    assert found.edges == (MINUTE, HOUR, DAY, LATENESS)
    assert web.delays == (4, 1, 1, 1)
    assert (web.expired, web.ahead, web.slowest) == (1, 1, LATENESS + 1)
    assert sum(web.delays) + web.expired == web.events


def test_a_gap_is_long_and_longer_than_the_sources_own_rate_explains() -> None:
    lively = [event(n, NOON + n * HOUR) for n in range(48)]
    lively += [event(100 + n, NOON + 5 * DAY + n * HOUR) for n in range(48)]
    rare = [event(200 + n, NOON + n * 3 * DAY, "crm") for n in range(5)]
    crm, web = audit([*lively, *rare]).sources
    assert web.gaps == (Gap(NOON + 47 * HOUR, NOON + 5 * DAY),)
    assert crm.gaps == ()


def test_one_clock_that_is_wrong_by_years_neither_stretches_the_span_nor_makes_a_gap() -> None:
    events = [event(n, NOON + n * MINUTE) for n in range(100)]
    wrong = [event(200, NOON - 9_000 * DAY, received_time=NOON), event(201, NOON + 9_000 * DAY, received_time=NOON)]
    (web,) = audit([*events, *wrong]).sources
    assert (web.first, web.last, web.gaps) == (NOON, NOON + 99 * MINUTE, ())
    assert (web.expired, web.ahead) == (1, 1)


@given(st.lists(st.integers(0, 400), min_size=2, max_size=60, unique=True))
def test_gaps_survive_when_the_stretches_of_time_are_made_wider(days: list[int]) -> None:
    fine, coarse = Times(), Times(most=8)
    for day in days:
        for minute in range(30):
            fine.add(day * DAY + minute * MINUTE)
            coarse.add(day * DAY + minute * MINUTE)
    assert coarse.span == fine.span
    assert set(coarse.gaps()) <= {
        Gap(a * DAY + 29 * MINUTE, b * DAY) for a, b in zip(sorted(days), sorted(days)[1:], strict=False)
    }


def test_fields_that_nobody_fills_are_named() -> None:
    (web,) = audit([event(1, context=Context(path="/x"), locale="de", properties={"value": 3.0, "empty": ""})]).sources
    assert "context.path" not in web.never_filled
    assert "locale" not in web.never_filled
    assert {"context.url", "country", "tracker_session_id"} <= set(web.never_filled)
    assert web.properties == {"value": 1}


def test_signals_that_no_source_provides_are_missing_and_agree_with_the_check_of_the_ontology() -> None:
    found = audit([event(1), event(2, source="app", name="product_view")])
    fed = {one.signal: dict(one.sources) for one in found.signals}
    assert fed["browsing"] == {"web": 1}
    assert fed["viewing_products"] == {"app": 1}
    missing = {one.signal for one in found.missing}
    assert {"searching", "talking_to_sales"} <= missing
    unfed = {one.message.split("'")[1] for one in found.findings if one.rule == "unfed-signal"}
    assert missing <= unfed


def test_memory_is_bounded_whatever_sources_call_things(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, most in (("MOST_SOURCES", 3), ("MOST_NAMES", 4), ("MOST_NAMESPACES", 2), ("IDENTIFIERS_KEPT", 16)):
        monkeypatch.setattr(count, name, most)
    found = audit(
        event(n, source=f"s{n % 50}", name=f"n{n}", properties={f"p{n}": 1}, identifiers=tuple(
            Identifier(namespace, str(n)) for namespace in ("anonymous_id", "user_id", "device_id", f"odd{n}")
        ))
        for n in range(400)
    )  # fmt: skip
    assert [one.source for one in found.sources] == [OTHERS, "s0", "s1", "s2"]
    assert found.events == 400
    for one in found.sources:
        assert len(one.names) <= 4
        assert sum(name.events for name in one.names) + one.more_names == one.events
        assert len(one.properties) <= 4
        # taken, blocked and unknown ones have their bounds each
        assert len(one.coverage) <= 3 * 2
    assert not next(one for one in found.sources if one.source == OTHERS).coverage[0].different.exact


def test_no_value_of_an_identifier_or_a_property_is_ever_shown() -> None:
    values = {"user_id": "kunde-4711", "email": "anna.berg@mail.net", "phone": "+49301234567", "odd": "token-abc"}
    found = audit(
        event(
            n,
            source=source,
            name="mail to anna.berg@mail.net",
            identifiers=tuple(Identifier(*one) for one in values.items()),
            properties={"note": "hush-hush", "for anna.berg@mail.net": 1},
            context=Context(url="https://x.example/?q=hush-hush", path="/hush-hush"),
        )
        for n, source in enumerate(("web", "crm of anna.berg@mail.net", "web"))
    )
    text = told(found)
    for value in (*values.values(), "hush-hush", hashlib.sha256(b"anna.berg@mail.net").hexdigest(), "visitor-1"):
        assert value not in text


class _Page(HTMLParser):
    """Which tags a page has, and what they refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.references += [value or "" for name, value in attrs if name in ("href", "src", "action")]


def test_the_page_is_whole_in_itself_and_escapes_what_strangers_send() -> None:
    found = audit([event(1, name="<script>alert(1)</script>", source="<b>web</b>"), event(2)])
    page = _Page()
    text = audit_page(found)
    page.feed(text)
    assert not page.tags & {"script", "b", "iframe", "img"}
    assert all(one.startswith(("#", "data:,")) for one in page.references)
    assert "url(" not in text
    assert "@import" not in text
    assert all(f'id="{part.name}"' in text for part in parts(found, 5))


def test_what_strangers_send_does_not_command_the_terminal() -> None:
    assert "\x1b" not in told(audit([event(1, name="\x1b[2Jx", source="\x1b]0;y\x07")]))


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 0, "-"), (0, 9, "0 %"), (9, 9, "100 %"), (1, 100_000, "< 0.1 %"), (9_999, 10_000, "99.9 %")],
)
def test_a_share_is_0_or_100_only_where_it_is(part: int, whole: int, said: str) -> None:
    assert share(part, whole) == said
