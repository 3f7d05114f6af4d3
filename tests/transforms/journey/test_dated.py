"""An ontology that is activated at a date decides from there on, and never before; the stage goes on under its name."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from journey_world import ONTOLOGY

from contracts.event import DAY, HOUR, Event
from contracts.exchange import MIN_TIME, Transition
from features.journey_features import FEATURE_NAMES, vector
from features.state import FeatureState
from features.turning import next_turn
from transforms.journey.dated import DatedFold, DatedOntologies, machinery, one_meaning
from transforms.journey.fold import FeatureFunctions, Fold
from transforms.journey.ontology import Ontology
from transforms.journey.ontology_file import parse_ontology
from transforms.journey.path import StagePath

Make = Callable[..., Event]
FEATURES = FeatureFunctions(FEATURE_NAMES, FeatureState, vector, next_turn)
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
BEGIN, END = TEXT.index("  - name: consideration"), TEXT.index("  - name: decision")
THREE = parse_ontology(TEXT[:BEGIN] + TEXT[END:], "three.yaml")


def path(spans: list[tuple[int, Ontology]], events: list[Event], horizon: int) -> StagePath:
    fold, paths = machinery(DatedOntologies(tuple(spans)), FEATURES)
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


def test_with_one_version_in_force_the_plain_classes_fold() -> None:
    fold, paths = machinery(DatedOntologies.of(DEFAULT), FEATURES)
    assert type(fold.start("p1")) is Fold
    assert type(paths).__name__ == "StagePaths"
    dated, _ = machinery(DatedOntologies(((MIN_TIME, DEFAULT), (WHEN, EASY))), FEATURES)
    assert type(dated.start("p1")) is DatedFold


def test_spans_begin_at_the_beginning_and_ascend() -> None:
    for spans in ((), ((WHEN, DEFAULT),), ((MIN_TIME, DEFAULT), (WHEN, EASY), (WHEN, DEFAULT))):
        with pytest.raises(ValueError, match="spans begin at"):
            DatedOntologies(spans)


def test_versions_may_differ_in_stages_but_not_in_what_events_mean() -> None:
    assert one_meaning(DEFAULT, THREE) == one_meaning(DEFAULT, EASY) == []
    other = changed(("  gap: 30m", "  gap: 10m"), ("  crm_record: [crm_id]", "  crm_record: [other_id]"))
    assert one_meaning(DEFAULT, other) == ["sessions", "people"]
