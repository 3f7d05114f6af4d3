"""An ontology that is activated at a date decides from there on, and never before; the stage goes on under its name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from journey_world import ONTOLOGY

from contracts.event import DAY, HOUR, MINUTE, Event
from contracts.exchange import MIN_TIME, Transition
from transforms.journey.dated import DatedFold, DatedOntologies, machinery, one_meaning
from transforms.journey.fold import Fold
from transforms.journey.functions import FUNCTIONS
from transforms.journey.ontology import Ontology
from transforms.journey.ontology_file import parse_ontology
from transforms.journey.path import StagePath

Make = Callable[..., Event]
TEXT = ONTOLOGY.source
START = 1_704_067_200_000_000
WHEN = START + 10 * DAY


def changed(*pairs: tuple[str, str]) -> Ontology:
    text = TEXT
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return parse_ontology(text, "changed.yaml")


DEFAULT = changed()
EASY = changed(("entry: {intent: 2.0}", "entry: {intent: 0.6}"))
"""One look at a product is enough for consideration."""
DECIDING = "{content_view: 0.8, category_view: 0.8, search: 0.8, product_view: 0.85, comparison: 0.8, review_read: 0.8}"
STERN = changed((DECIDING, "{search: 0.1}"))
"""One search and hardly anything is left of a decision."""
ANEW = changed(("by: [checkout, sales_contact], rest: 2h", "by: [checkout, sales_contact], rest: 30h"))
"""Thirty hours after a purchase still belong to it."""
BEGIN, END = TEXT.index("  - name: consideration"), TEXT.index("  - name: decision")
THREE = parse_ontology(TEXT[:BEGIN] + TEXT[END:], "three.yaml")


def path(spans: list[tuple[int, Ontology]], events: list[Event], horizon: int) -> StagePath:
    fold, paths = machinery(DatedOntologies(tuple(spans)), FUNCTIONS)
    return paths.stage_path(fold.trace("p1", [(event, "strand") for event in events], horizon))


def seen(found: StagePath) -> list[tuple[str | None, str, int, str]]:
    return [(move.from_stage, move.to_stage, move.at, move.ontology_version) for move in found.transitions]


def before(moves: tuple[Transition, ...], at: int) -> list[Transition]:
    return [move for move in moves if move.at < at]


def test_a_stage_moves_by_the_new_rule_only_after_the_date(event: Make) -> None:
    events = [event("product_view", START), event("product_view", WHEN + DAY)]
    found = path([(MIN_TIME, DEFAULT), (WHEN, EASY)], events, WHEN + 2 * DAY)
    assert seen(found)[:2] == [
        (None, "discovery", START, DEFAULT.version),
        ("discovery", "consideration", WHEN + DAY, EASY.version),
    ]
    as_if_always = path([(MIN_TIME, EASY)], events, WHEN + 2 * DAY)
    assert as_if_always.transitions[0].to_stage == "consideration"


def test_whoever_is_elsewhere_by_the_new_version_moves_at_its_date_by_time(event: Make) -> None:
    events = [event("product_view", WHEN - HOUR)]
    found = path([(MIN_TIME, DEFAULT), (WHEN, EASY)], events, WHEN + HOUR)
    assert seen(found) == [
        (None, "discovery", WHEN - HOUR, DEFAULT.version),
        ("discovery", "consideration", WHEN, EASY.version),
    ]
    move = found.transitions[-1]
    assert move.event_id is None
    assert move.reason.endswith(f"ontology {EASY.version} is in force from here on")
    assert [signal.signal for signal in move.signals] == ["viewing_products"]


def test_nothing_before_the_date_differs_also_when_late_events_are_folded_again(event: Make) -> None:
    late = event("comparison_view", START + DAY)
    events = [event("product_view", START), event("product_view", START + 2 * DAY)]
    for given in (events, [*events, late, event("comparison_view", START + DAY + HOUR)]):
        alone = path([(MIN_TIME, DEFAULT)], given, WHEN - 1)
        dated = path([(MIN_TIME, DEFAULT), (WHEN, EASY)], given, WHEN + DAY)
        assert before(dated.transitions, WHEN) == list(alone.transitions)


def test_the_new_version_knows_the_history_from_the_first_event(event: Make) -> None:
    events = [event("product_view", START), event("product_view", WHEN - HOUR), event("login", WHEN + 1)]
    dated = path([(MIN_TIME, DEFAULT), (WHEN, EASY)], events, WHEN + DAY)
    always = path([(MIN_TIME, EASY)], events, WHEN + DAY)
    assert (dated.signals, dated.intents) == (always.signals, always.intents)


def test_a_stage_that_both_have_goes_on_under_its_name_and_since_when_it_was_entered(event: Make) -> None:
    events = [event("purchase", START)]
    found = path([(MIN_TIME, DEFAULT), (WHEN, THREE)], events, WHEN + DAY)
    assert [move.to_stage for move in found.transitions] == ["customer"]
    assert THREE.stage_names[found.standing.stage] == "customer"
    assert found.standing.since == START
    assert found.stages == tuple("customer" for _ in found.stages)


def test_a_stage_that_vanishes_ends_at_the_date_and_no_wait_holds(event: Make) -> None:
    begun = WHEN - 60_000_000  # less than the ten minutes that hold back a fall
    found = path([(MIN_TIME, EASY), (WHEN, THREE)], [event("product_view", begun)], WHEN + DAY)
    assert seen(found) == [
        (None, "consideration", begun, EASY.version),
        ("consideration", "discovery", WHEN, THREE.version),
    ]
    assert f"ontology {THREE.version} has no stage consideration" in found.transitions[-1].reason


def test_going_back_to_an_older_version_is_one_more_span(event: Make) -> None:
    events = [event("product_view", WHEN - HOUR)]
    found = path([(MIN_TIME, DEFAULT), (WHEN, EASY), (WHEN + HOUR, DEFAULT)], events, WHEN + 2 * HOUR)
    assert [to for _, to, _, _ in seen(found)] == ["discovery", "consideration", "discovery"]
    assert found.transitions[-1].ontology_version == DEFAULT.version
    assert found.transitions[-1].at == WHEN + HOUR


def test_what_speaks_against_a_stage_does_so_by_the_version_of_its_time(event: Make) -> None:
    """A search before the date takes a fifth away, one after it nearly all, and each version has its own sums."""
    ready = [event("add_to_cart", WHEN - HOUR), event("checkout_start", WHEN - HOUR + MINUTE)]
    early, late = event("search", WHEN - HOUR + 2 * MINUTE), event("search", WHEN + HOUR)
    stern = [(MIN_TIME, DEFAULT), (WHEN, STERN)]
    for_ever = path([(MIN_TIME, DEFAULT)], [*ready, late], WHEN + HOUR)
    assert [move.to_stage for move in for_ever.transitions] == ["discovery", "decision"]
    found = path(stern, [*ready, late], WHEN + HOUR)
    assert seen(found)[2:] == [("decision", "discovery", WHEN + HOUR, STERN.version)]
    assert found.intents == path([(MIN_TIME, STERN)], [*ready, late], WHEN + HOUR).intents
    # the new version knows the early search as if it had always been there: who had stayed leaves at its date
    found = path(stern, [*ready, early], WHEN + HOUR)
    assert seen(found)[2:] == [("decision", "discovery", WHEN, STERN.version)]


def test_the_rest_of_an_exit_is_that_of_the_version_of_its_time(event: Make) -> None:
    """A talk to sales a day after the purchase ends customer by the one version and not by the other, in any order."""
    bought, again = event("purchase", WHEN - DAY), event("demo_request", WHEN + HOUR)
    assert path([(MIN_TIME, DEFAULT)], [bought, again], WHEN + DAY).transitions[-1].to_stage == "decision"
    assert len(path([(MIN_TIME, DEFAULT), (WHEN, ANEW)], [bought, again], WHEN + DAY).transitions) == 1
    found = path([(MIN_TIME, ANEW), (WHEN, DEFAULT)], [bought, again], WHEN + DAY)
    assert seen(found)[1:2] == [("customer", "decision", WHEN + HOUR, DEFAULT.version)]
    # ended by the old version before the date, and never by the new one, which takes its customer back
    early = event("demo_request", WHEN - HOUR)
    found = path([(MIN_TIME, DEFAULT), (WHEN, ANEW)], [bought, early], WHEN + DAY)
    assert [(to, at) for _, to, at, _ in seen(found)] == [
        ("customer", WHEN - DAY),
        ("decision", WHEN - HOUR),
        ("customer", WHEN),
    ]


def test_with_one_version_in_force_the_plain_classes_fold() -> None:
    fold, paths = machinery(DatedOntologies.of(DEFAULT), FUNCTIONS)
    assert type(fold.start("p1")) is Fold
    assert type(paths).__name__ == "StagePaths"
    dated, _ = machinery(DatedOntologies(((MIN_TIME, DEFAULT), (WHEN, EASY))), FUNCTIONS)
    assert type(dated.start("p1")) is DatedFold


def test_spans_begin_at_the_beginning_and_ascend() -> None:
    for spans in ((), ((WHEN, DEFAULT),), ((MIN_TIME, DEFAULT), (WHEN, EASY), (WHEN, DEFAULT))):
        with pytest.raises(ValueError, match="spans begin at"):
            DatedOntologies(spans)


def test_versions_may_differ_in_stages_but_not_in_what_events_mean() -> None:
    assert one_meaning(DEFAULT, THREE) == one_meaning(DEFAULT, EASY) == []
    other = changed(("  gap: 30m", "  gap: 10m"), ("  crm_record: [crm_id]", "  crm_record: [other_id]"))
    assert one_meaning(DEFAULT, other) == ["sessions", "people"]
