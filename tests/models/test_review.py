"""The audit: a sample that is fair to every stratum and repeatable, and what labels say, with honest intervals."""

from __future__ import annotations

import random
from pathlib import Path

import model_world as world
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import InputError
from contracts.event import DAY, HOUR, MINUTE
from contracts.tables import EVENTS, feature_tables
from features.journey_features import feature_columns
from models.dataset import read_moments
from models.review import UNSURE, Journey, Label, Sample, audit, band, draw, estimate, settled
from models.review_store import LABELS, ReviewStore, training_labels


def journey(number: int, stage: str = "decision", confidence: float = 0.9, by: str = "rules") -> Journey:
    return Journey(f"p_{number:04d}", 1_000 + number, 1, stage, confidence, by, "default@1", None)


def label(sample: Sample, stage: str, who: str = "anna", at: int = 1) -> Label:
    return Label(sample.sample_id, stage, who, at)


MANY = [journey(n, ("discovery", "decision")[n % 10 == 0], 0.5 + (n % 5) / 10) for n in range(1_000)]


# --- the draw --------------------------------------------------------------------------------------------------------


def test_the_same_journeys_and_seed_give_the_same_sample_in_any_order() -> None:
    shuffled = list(MANY)
    random.Random(3).shuffle(shuffled)
    assert draw(MANY, 50, 7) == draw(shuffled, 50, 7)
    assert {s.journey.person_id for s in draw(MANY, 50, 7)} != {s.journey.person_id for s in draw(MANY, 50, 8)}


@settings(deadline=None, max_examples=50)
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=9), wanted=st.integers(1, 120), seed=st.integers(0, 9))
def test_every_stratum_is_drawn_from_and_none_beyond_its_size_or_share(
    sizes: list[int], wanted: int, seed: int
) -> None:
    """One each, then as near to proportional as whole journeys allow."""
    journeys = [journey(place * 100 + n, f"stage_{place}") for place, size in enumerate(sizes) for n in range(size)]
    samples = draw(journeys, wanted, seed)
    assert len(samples) == max(len(sizes), min(wanted, sum(sizes)))
    assert len({sample.journey.person_id for sample in samples}) == len(samples)
    for place, size in enumerate(sizes):
        drawn = [sample for sample in samples if sample.journey.stage == f"stage_{place}"]
        assert 1 <= len(drawn) <= size
        assert all(sample.stratum_size == size for sample in drawn)
        due = size * min(wanted, sum(sizes)) / sum(sizes)
        assert len(drawn) <= max(1, due + 1)


def test_a_draw_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs journeys"):
        draw([], 5, 1)


def test_bands_of_confidence_meet_without_a_gap() -> None:
    assert [band(value) for value in (0.0, 0.59, 0.6, 0.79, 0.8, 1.0)] == ["low"] * 2 + ["middle"] * 2 + ["high"] * 2


# --- what labels say -------------------------------------------------------------------------------------------------


def test_the_interval_is_wilsons_when_all_weights_are_equal() -> None:
    """Wilson (1927) for 8 of 10 at 95 %: 0.490 to 0.943, as in Agresti and Coull (1998)."""
    found = estimate([(True, 3.0)] * 8 + [(False, 3.0)] * 2)
    assert (found.share, found.labels) == (0.8, 10)
    assert (round(found.low, 3), round(found.high, 3)) == (0.490, 0.943)
    assert estimate([(True, 1.0)] * 10).low == pytest.approx(0.722, abs=5e-4)


def test_unequal_weights_widen_the_interval() -> None:
    even = estimate([(True, 1.0), (False, 1.0)] * 10)
    uneven = estimate([(True, 1.0), (False, 1.0)] * 9 + [(True, 50.0), (False, 50.0)])
    assert even.share == uneven.share == 0.5
    assert uneven.high - uneven.low > 1.5 * (even.high - even.low)


def test_accuracy_is_weighted_so_that_a_rare_stratum_does_not_speak_for_all() -> None:
    """900 in discovery, all right; 100 in decision, all wrong; ten labels of each."""
    samples = [Sample(f"s{n}", "d", "a", 900, journey(n, "discovery")) for n in range(10)]
    samples += [Sample(f"t{n}", "d", "b", 100, journey(50 + n, "decision")) for n in range(10)]
    labels = [label(sample, "discovery") for sample in samples]
    found = audit(samples, labels)
    assert found.overall is not None
    assert found.overall.share == pytest.approx(0.9)
    assert found.by_stage["decision"].share == 0.0
    assert found.confusion == {("discovery", "discovery"): 10, ("decision", "discovery"): 10}
    assert (found.drawn, found.labelled, len(found.wrong), len(found.right)) == (20, 20, 10, 10)


def test_a_stratum_half_labelled_still_stands_for_all_of_it() -> None:
    samples = [Sample(f"s{n}", "d", "a", 900, journey(n, "discovery")) for n in range(10)]
    samples += [Sample(f"t{n}", "d", "b", 100, journey(50 + n, "decision")) for n in range(10)]
    labels = [label(sample, "discovery") for sample in samples if sample.sample_id not in ("s0", "s1", "s2", "s3")]
    found = audit(samples, labels)
    assert found.overall is not None
    assert found.overall.share == pytest.approx(0.9)


def test_who_is_unsure_counts_in_no_accuracy() -> None:
    samples = draw(MANY, 4, 1)
    found = audit(samples, [label(samples[0], UNSURE), label(samples[1], samples[1].journey.stage)])
    assert (found.unsure, found.labelled) == (1, 1)
    assert found.overall is not None
    assert found.overall.share == 1.0
    assert audit(samples, []).overall is None


def test_a_reviewers_latest_label_counts_and_the_most_of_several_reviewers_wins() -> None:
    sample = draw(MANY, 1, 1)[0]
    first, better = label(sample, "decision", "anna", 1), label(sample, "customer", "anna", 2)
    assert settled([better, first]) == ("customer", False)
    others = [label(sample, "decision", "bob", 3), label(sample, "decision", "eve", 4)]
    assert settled([first, better, *others]) == ("decision", True)
    assert settled([better, others[0]]) == ("decision", True), "of a tie the one said last"
    assert settled([label(sample, UNSURE), label(sample, "decision", "bob", 2)]) == ("decision", False)
    assert settled([]) == (None, False)


# --- the files -------------------------------------------------------------------------------------------------------


def test_lines_are_only_ever_added_and_nothing_twice(tmp_path: Path) -> None:
    store, samples = ReviewStore(tmp_path), draw(MANY, 5, 1)
    assert (store.add_samples(samples), store.add_samples(samples)) == (len(samples), 0)
    one = label(samples[0], "decision")
    assert (store.add_labels([one]), store.add_labels([one])) == (1, 0)
    before = (store.folder / LABELS).read_bytes()
    store.add_labels([label(samples[0], "customer", at=9)])
    assert (store.folder / LABELS).read_bytes().startswith(before)
    assert store.samples() == samples
    assert [each.stage for each in store.labels()] == ["decision", "customer"]


def test_a_line_cut_off_by_a_crash_is_no_line_and_does_not_spoil_the_next(tmp_path: Path) -> None:
    store, samples = ReviewStore(tmp_path), draw(MANY, 2, 1)
    store.add_labels([label(samples[0], "decision")])
    with (store.folder / LABELS).open("ab") as file:
        file.write(b'{"sample_id": "cut o')
    assert len(store.labels()) == 1
    store.add_labels([label(samples[1], "customer")])
    assert [each.stage for each in store.labels()] == ["decision", "customer"]


def test_a_damaged_line_is_named_with_its_number(tmp_path: Path) -> None:
    store = ReviewStore(tmp_path)
    store.add_labels([label(draw(MANY, 1, 1)[0], "decision")])
    with (store.folder / LABELS).open("ab") as file:
        file.write(b'{"sample_id": 5}\n')
    with pytest.raises(InputError, match=rf"{LABELS}:2 is no label"):
        store.labels()


# --- training --------------------------------------------------------------------------------------------------------


def test_what_people_settled_on_is_the_target_whatever_the_events_or_their_absence_say(tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text('{"format": 1}')
    features, _ = feature_tables(feature_columns(), world.STAGES)
    start = world.START
    points = [{"person_id": "a", "at": start + day * DAY, "created": start} for day in (0, 4, 8)]
    world.write(tmp_path, features, [*points, {"person_id": "b", "at": start, "created": start + HOUR}])
    bought = {"event_id": "e", "person_id": "a", "event_time": start + MINUTE, "behaviours": '["conversion"]'}
    world.write(tmp_path, EVENTS, [bought])
    world.write(tmp_path, world.JOURNEYS, [{"person_id": "a", "horizon": start + 10 * DAY}])

    def moments() -> list[tuple[str, int, int]]:
        found = read_moments(tmp_path, world.DEFINITIONS, 2 * DAY, 100)
        return [
            (str(person), int(at - start), int(target))
            for person, at, target in zip(found.persons, found.times, found.target, strict=True)
        ]

    assert moments() == [("a", 0, 3)]
    asked = [("a", start), ("a", start + 4 * DAY), ("b", start), ("gone", start), ("a", start + 8 * DAY)]
    samples = [
        Sample(f"s{n}", "d", "x", 1, Journey(person, at, 1, "decision", 0.9, "rules", "o@1", None))
        for n, (person, at) in enumerate(asked)
    ]
    store = ReviewStore(tmp_path)
    store.add_samples(samples)
    said = ["decision", "consideration", "decision", "decision", UNSURE]
    store.add_labels([label(sample, stage) for sample, stage in zip(samples, said, strict=True)])
    # overruled, silent, known only an hour later; who is gone or unsure trains nothing
    assert moments() == [("a", 0, 2), ("a", 4 * DAY, 1), ("b", HOUR, 2)]


def test_a_label_of_a_stage_that_is_no_more_trains_nothing(tmp_path: Path) -> None:
    store, samples = ReviewStore(tmp_path), draw(MANY, 2, 1)
    store.add_samples(samples)
    store.add_labels([label(samples[0], "decision"), label(samples[1], "awareness")])
    assert [stage for _, stage in training_labels(tmp_path, world.STAGES)] == ["decision"]
