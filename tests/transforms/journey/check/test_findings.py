"""Each rule of the check finds what it is for, at its line, and is silent on what is right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from transforms.journey.check.emitted import Emitted, Seen, emitted
from transforms.journey.check.findings import check
from transforms.journey.check.rules import ERROR, NOTE, RULES, WARNING, Finding
from transforms.journey.ontology_file import parse_ontology

ROOT = Path(__file__).parents[4] / "ontology"
TEXT = (ROOT / "journey.yaml").read_text(encoding="utf-8")
CONSIDERATION, DECISION = "entry: {intent: 2.0}", "entry: {intent: 2.1}"
CUSTOMER = "entry: {when: conversions >= 1 || renewals >= 1}"
CUSTOMER_EXIT = (
    "    exit: {after: 180d, since: [conversion, usage, renewal, support, account], "
    "by: [checkout, sales_contact], rest: 2h}\n"
)
ALL_SEEN: Sequence[Seen] = tuple(
    (name, None, 1)
    for name in (
        "home_view", "category_view", "search", "ad_click", "product_view", "compare", "review_view", "pricing_view",
        "add_to_cart", "checkout_start", "signup", "demo_request", "purchase", "feature_used", "support_ticket",
        "login", "email_opened", "email_clicked", "renewal",
    )
)  # fmt: skip


def found(*changes: tuple[str, str], seen: Sequence[Seen] | None = None) -> list[Finding]:
    text = TEXT
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    ontology = parse_ontology(text, "journey.yaml")
    sources = None if seen is None else emitted(ontology, "input", seen)
    return check(ontology, sources)


def one(rule: str, *changes: tuple[str, str], seen: Sequence[Seen] | None = None) -> Finding:
    """The only finding of a rule, with a mending."""
    (finding,) = [finding for finding in found(*changes, seen=seen) if finding.rule == rule]
    assert rule in RULES
    assert finding.mending
    return finding


def line_of(part: str) -> int:
    return TEXT[: TEXT.index(part)].count("\n") + 1


@pytest.mark.parametrize("name", ["saas", "ecommerce", "leads"])
def test_templates_have_neither_errors_nor_warnings(name: str) -> None:
    path = ROOT / "templates" / name / "journey.yaml"
    ontology = parse_ontology(path.read_text(encoding="utf-8"), str(path))
    assert [finding for finding in check(ontology) if finding.severity != NOTE] == []
    assert any(stage.entry_when is not None for stage in ontology.stages)
    assert all(stage.benchmark is not None for stage in ontology.stages)


def test_the_shipped_ontology_has_no_finding_with_or_without_its_sources() -> None:
    assert found() == []
    assert found(seen=ALL_SEEN) == []


def test_contradiction_of_an_entry() -> None:
    finding = one("contradiction", (CUSTOMER, "entry: {when: conversions >= 1 && conversions < 1}"))
    assert (finding.severity, finding.line) == (ERROR, line_of(CUSTOMER))
    assert "nobody enters 'customer'" in finding.message


def test_contradiction_of_a_signal_makes_its_caps_unreachable() -> None:
    changed = ("        weight: 1.2\n", "        when: pricing_views < 0\n        weight: 1.2\n")
    finding = one("contradiction", changed)
    assert (finding.severity, finding.line) == (ERROR, line_of(changed[0]))
    assert one("unreachable-intent", changed, (DECISION, "entry: {intent: 15}")).severity == ERROR


def test_contradiction_of_an_exit_is_a_warning() -> None:
    finding = one("contradiction", (CUSTOMER_EXIT, "    exit: {when: refunds < 0}\n"))
    assert finding.severity == WARNING


def test_ends_at_once_where_the_entry_implies_the_exit() -> None:
    finding = one("ends-at-once", (CUSTOMER_EXIT, "    exit: {when: conversions + 0 >= 0 || events >= 1}\n"))
    assert (finding.severity, finding.line) == (ERROR, line_of(CUSTOMER_EXIT))


def test_overlap_of_entry_and_exit_is_noted_with_an_example() -> None:
    finding = one("overlap", (CUSTOMER_EXIT, "    exit: {when: refunds >= 1}\n"))
    assert finding.severity == NOTE
    assert "conversions = 1" in finding.message
    assert "refunds = 1" in finding.message


def test_unreachable_intent_with_what_sources_emit() -> None:
    seen = [item for item in ALL_SEEN if item[0] not in ("add_to_cart", "checkout_start", "demo_request")]
    assert not [f for f in found(seen=seen) if f.rule == "unreachable-intent"], "prices alone reach 3"
    finding = one("unreachable-intent", (DECISION, "entry: {intent: 3.5}"), seen=seen)
    assert (finding.severity, finding.line) == (ERROR, line_of(DECISION))
    assert "at most 3: filling_cart, checking_out, talking_to_sales can never be fed" in finding.message


def test_barely_reachable_where_every_cap_is_needed_at_once() -> None:
    finding = one("barely-reachable", (CONSIDERATION, "entry: {intent: 13.0}"))
    assert (finding.severity, finding.line) == (WARNING, line_of(CONSIDERATION))


def test_a_signal_that_sets_itself_back_is_never_worth_more_than_its_weight() -> None:
    asking = ("asking_price, behaviours: [pricing_view], weight: 1.0, half_life: 6d, cap: 2}",) * 2
    changed = (asking[0], asking[1].replace("cap: 2}", "cap: 2, reset_by: [pricing_view]}"))
    finding = one("resets-itself", changed)
    assert (finding.severity, finding.line) == (WARNING, line_of("- {name: asking_price"))
    assert "'asking_price' sets it back first, so it is never worth more than 1" in finding.message
    # 2.8 + 4.5 + 2 + 2, and 1 where the cap would be 2
    assert not [f for f in found(changed, (CONSIDERATION, "entry: {intent: 12.3}")) if f.rule == "unreachable-intent"]
    finding = one("unreachable-intent", changed, (CONSIDERATION, "entry: {intent: 12.4}"))
    assert (finding.severity, finding.line) == (ERROR, line_of(CONSIDERATION))
    assert "at most 12.3: asking_price sets itself back" in finding.message
    with_cause = (asking[0], asking[1].replace("cap: 2}", "cap: 2, reset_by: [conversion]}"))
    assert found(with_cause) == []


@pytest.mark.parametrize(
    ("entry", "when"),
    [
        ("pricing_views == 0", None),  # what feeds it is what the entry excludes
        ("conversions == 0", "conversions >= 1"),
        ("!is_known && sessions < 3", "is_known && sessions >= 2"),
    ],
)
def test_a_signal_that_counts_only_outside_of_the_entry_leads_nobody_in(entry: str, when: str | None) -> None:
    condition = (CONSIDERATION, f'entry: {{intent: 2.0, when: "{entry}"}}')
    signal = ("[pricing_view], weight: 1.0", f'[pricing_view], when: "{when}", weight: 1.0')
    changes = (condition,) if when is None else (condition, signal)
    finding = one("outside-entry", *changes)
    assert (finding.severity, finding.line) == (WARNING, line_of("- {name: asking_price"))
    assert f"{entry!r} never holds again" in finding.message
    # without its 2, 11.3 are left
    far = (CONSIDERATION, condition[1].replace("2.0", "11.4"))
    finding = one("unreachable-intent", *(far, *changes[1:]))
    assert finding.severity == ERROR
    assert "at most 11.3: asking_price is fed only where the entry never holds again" in finding.message


@pytest.mark.parametrize(
    ("entry", "when"),
    [
        ("sessions >= 2", "sessions == 1"),  # fed first, entered later
        ("session_pricing_views == 0", None),  # the next session has none
        ("conversions == 0", "conversions >= 0"),
        ("pricing_views <= 1", None),
    ],
)
def test_what_is_fed_before_the_entry_holds_counts(entry: str, when: str | None) -> None:
    condition = (CONSIDERATION, f'entry: {{intent: 2.0, when: "{entry}"}}')
    signal = ("[pricing_view], weight: 1.0", f'[pricing_view], when: "{when}", weight: 1.0')
    assert [f for f in found(condition, *([] if when is None else [signal])) if f.rule != "overlap"] == []


def test_an_intent_that_takes_many_events_even_at_once() -> None:
    weights = (
        ("[product_view], weight: 0.7", "[product_view], weight: 0.05"),
        ("[comparison, review_read], weight: 1.8", "[comparison, review_read], weight: 0.04"),
        ("[pricing_view], weight: 1.0", "[pricing_view], weight: 0.03"),
        ("[email_click], weight: 1.0", "[email_click], weight: 0.05"),
        ("[form, store_visit], weight: 1.0", "[form, store_visit], weight: 0.02"),
    )
    finding = one("many-events", *weights)
    assert (finding.severity, finding.line) == (WARNING, line_of(CONSIDERATION))
    assert "more than 25 events" in finding.message
    # 25 events of 0.05 are just enough
    assert not [f for f in found(*weights, (CONSIDERATION, "entry: {intent: 1.25}")) if f.rule == "many-events"]
    assert [f for f in found(*weights, (CONSIDERATION, "entry: {intent: 1.26}")) if f.rule == "many-events"]


def test_many_events_are_counted_with_those_that_feed_two_signals_and_up_to_each_cap() -> None:
    # a look at prices feeds both: 0.6 at first, and 0.1 once the first is at its cap
    weights = (
        ("behaviours: [pricing_view], weight: 1.0, half_life: 6d, cap: 2}",
         "behaviours: [pricing_view], weight: 0.5, half_life: 6d, cap: 0.5}"),
        ("behaviours: [form, store_visit], weight: 1.0, half_life: 6d, cap: 2}",
         "behaviours: [pricing_view], weight: 0.1, half_life: 6d, cap: 9}"),
        ("[product_view], weight: 0.7, half_life: 6d, cap: 2.8", "[product_view], weight: 0.01, half_life: 6d, cap: 9"),
        ("[comparison, review_read], weight: 1.8, half_life: 6d, cap: 4.5",
         "[comparison, review_read], weight: 0.01, half_life: 6d, cap: 9"),
        ("[email_click], weight: 1.0, half_life: 6d, cap: 2", "[email_click], weight: 0.01, half_life: 6d, cap: 9"),
    )  # fmt: skip
    assert not [f for f in found(*weights, (CONSIDERATION, "entry: {intent: 3.0}")) if f.rule == "many-events"]
    assert [f for f in found(*weights, (CONSIDERATION, "entry: {intent: 3.1}")) if f.rule == "many-events"]


def test_what_feeds_a_stage_and_ends_it_is_found() -> None:
    changed = (DECISION, DECISION + "\n    exit: {by: [checkout], since: [login]}")
    finding = one("ends-at-once", changed)
    assert (finding.severity, finding.line) == (WARNING, line_of(DECISION) + 1)
    assert "checkout feeds 'decision' and ends it as well" in finding.message


def test_an_event_that_speaks_for_a_stage_and_against_it() -> None:
    changed = ("pricing_view: [pricing_view, pricing,", "pricing_view: [pricing_view, search, pricing,")
    two = [f for f in found(changed) if f.rule == "two-meanings"]
    assert [(f.severity, f.line) for f in two] == [(WARNING, line_of("    search: [search,"))] * 2
    assert [f.message for f in two] == [
        f"event 'search' speaks for {stage!r} (pricing_view) and against it (search)"
        for stage in ("consideration", "decision")
    ]


def test_an_event_that_is_called_neutral_and_shows_something() -> None:
    finding = one("two-meanings", ("file_download, call_abandoned]", "file_download, call_abandoned, pricing]"))
    assert (finding.severity, finding.line) == (WARNING, line_of("  neutral: [page_ping"))
    assert "'pricing' shows pricing_view" in finding.message


def test_shadowed_stage_by_a_certain_one_is_an_error() -> None:
    wide = (CUSTOMER, "entry: {when: activities >= 1}")
    condition = (DECISION, "entry: {intent: 2.1, when: sessions >= 1 && activities > 2}")
    finding = one("shadowed-stage", wide, condition, (CUSTOMER_EXIT, ""))
    assert (finding.severity, finding.line) == (ERROR, line_of(DECISION))
    assert "'decision'" in finding.message
    assert "'customer'" in finding.message


def test_shadowed_stage_by_one_that_is_not_certain_leaves_it_to_a_model() -> None:
    wide = (DECISION, "entry: {when: sessions >= 0}")
    shadowed = [f for f in found(wide) if f.rule == "shadowed-stage"]
    assert [f.severity for f in shadowed] == [WARNING, WARNING]
    assert "'discovery'" in shadowed[0].message
    assert not [f for f in found(wide) if "'customer'" in f.message and f.rule == "shadowed-stage"]


def test_a_stage_that_ends_by_itself_shadows_nothing() -> None:
    wide = (CUSTOMER, "entry: {when: activities >= 0}")
    assert not [f for f in found(wide) if f.rule == "shadowed-stage"]


def test_unreachable_stage_where_sources_never_count_what_it_asks_for() -> None:
    seen = [item for item in ALL_SEEN if item[0] not in ("purchase", "renewal")]
    finding = one("unreachable-stage", seen=seen)
    assert (finding.severity, finding.line) == (ERROR, line_of(CUSTOMER))


def test_overlap_of_two_stages_says_who_wins() -> None:
    finding = one("overlap", (DECISION, "entry: {when: cart_adds >= 1}"))
    assert finding.severity == NOTE
    assert "'customer' wins over 'decision'" in finding.message
    assert not [f for f in found((DECISION, "entry: {when: conversions == 0 && renewals == 0}")) if f.rule == "overlap"]


def test_cannot_tell_is_said_where_a_condition_is_not_understood() -> None:
    finding = one("cannot-tell", (DECISION, "entry: {when: cart_adds > checkouts}"))
    assert finding.severity == NOTE
    assert "wayline ontology diff" in finding.mending


def test_unfed_signal_names_what_no_event_shows() -> None:
    finding = one("unfed-signal", seen=[item for item in ALL_SEEN if item[0] != "search"])
    assert (finding.severity, finding.line) == (WARNING, line_of("- {name: searching"))
    assert "no event shows search" in finding.message


def test_unfed_signal_where_its_condition_never_holds_with_what_sources_emit() -> None:
    changed = (
        "{name: getting_help, behaviours: [support],",
        "{name: getting_help, behaviours: [support], when: refunds > 0,",
    )
    finding = one("unfed-signal", changed, seen=ALL_SEEN)
    assert "'refunds > 0' never holds" in finding.message


def test_unseen_outcome_leaves_the_model_nothing_to_learn() -> None:
    seen = [item for item in ALL_SEEN if item[0] not in ("add_to_cart", "checkout_start", "demo_request")]
    finding = one("unseen-outcome", seen=seen)
    assert finding.severity == WARNING
    assert "'decision'" in finding.message


def test_unknown_events_are_noted_the_most_frequent_first() -> None:
    more = [(f"never_heard_{n:02}", None, n + 1) for n in range(12)]
    noted = [f for f in found(seen=[*ALL_SEEN, *more]) if f.rule == "unknown-event"]
    assert len(noted) == 11
    assert any("12 events named 'never_heard_11'" in f.message for f in noted)
    assert any("2 further names" in f.message for f in noted)


def test_double_count_of_one_event() -> None:
    finding = one("double-count", ("behaviours: [form, store_visit]", "behaviours: [form, pricing_view]"))
    assert finding.severity == NOTE
    assert "pricing_view feeds both 'asking_price' and 'asking'" in finding.message


def test_dwell_outlasts_evidence() -> None:
    stages = [f for f in found(("  back: 10m", "  back: 80h")) if f.rule == "dwell-outlasts-evidence"]
    assert [f.severity for f in stages] == [WARNING, WARNING]
    assert not [f for f in found(("  back: 10m", "  back: 36h")) if f.rule == "dwell-outlasts-evidence"]


def test_a_stage_that_lapses_before_anybody_may_leave_it() -> None:
    lapsing = (DECISION, DECISION + "\n    exit: {after: 1h, since: [login]}")
    finding = one("dwell-outlasts-evidence", lapsing, ("  back: 10m", "  back: 61m"))
    assert (finding.severity, finding.line) == (WARNING, line_of(DECISION) + 1)
    assert not [f for f in found(lapsing, ("  back: 10m", "  back: 60m")) if f.rule == "dwell-outlasts-evidence"]


def test_evidence_fades_waiting() -> None:
    finding = [f for f in found(("  forward: 0s", "  forward: 73h")) if f.rule == "evidence-fades-waiting"]
    assert [f.message.split("'")[1] for f in finding] == [
        "filling_cart",
        "checking_out",
        "talking_to_sales",
        "looking_at_prices",
    ]


def test_no_margin() -> None:
    lacking = [f for f in found(("  margin: 0.30", "  margin: 0.0")) if f.rule == "no-margin"]
    assert [f.severity for f in lacking] == [WARNING, WARNING]


def test_weakening_a_stage_that_no_intent_leads_into_has_no_effect() -> None:
    finding = one("without-effect", (CUSTOMER, CUSTOMER + "\n    weakened_by: {search: 0.5}"))
    assert (finding.severity, finding.line) == (WARNING, line_of(CUSTOMER) + 1)
    assert "no intent leads into 'customer'" in finding.message


def test_a_rest_that_outlasts_the_stage_has_no_effect() -> None:
    finding = one("without-effect", ("rest: 2h", "rest: 180d"))
    assert (finding.severity, finding.line) == (WARNING, line_of("rest: 2h"))
    assert not [f for f in found(("rest: 2h", "rest: 179d")) if f.rule == "without-effect"]


def test_unseen_opposite_of_a_stage_names_the_key() -> None:
    browsing = ("home_view", "category_view", "search")
    seen = [item for item in ALL_SEEN if item[0] not in browsing]
    unseen = [f for f in found(seen=seen) if f.rule == "unseen-opposite"]
    assert ["'consideration'" in f.message for f in unseen] == [True], "choosing still speaks against decision"
    assert "so weakened_by of 'consideration' never counts" in unseen[0].message
    seen = [item for item in ALL_SEEN if item[0] not in ("checkout_start", "demo_request")]
    assert "so exit.by of 'customer' never counts" in one("unseen-opposite", seen=seen).message


def test_pages_are_seen_by_their_path() -> None:
    ontology = parse_ontology(TEXT, "journey.yaml")
    seen = emitted(ontology, "input", [("page_view", "/pricing", 3), ("page_view", "/x", 2), ("odd", None, 1)])
    assert seen == Emitted("input", 6, {"pricing_view": 3, "content_view": 2}, {"odd": 1})
