"""Stages against the truth: what is counted, that intervals are over people, and that lateness is what was known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.cut_history import measure
from benchmarks.page_part import END, begin, renewed
from benchmarks.stages.answers import WAYS, Answers, Folding, answers_of, answers_when_late, read_stage_truth, without
from benchmarks.stages.figures import figures_of
from benchmarks.stages.report import COMMAND, block, calibration_picture
from contracts.errors import InputError
from contracts.event import DAY
from pipelines.definitions import load_definitions
from pipelines.plan import validation_rules
from reports.history import History, history_of_files
from sources.simulator.config import WorldConfig
from sources.simulator.world import simulate
from transforms.identity.rules_file import load_rules
from transforms.validate import Validator

STAGES = ("discovery", "consideration", "decision", "customer")


def answers(person: list[int], truth: list[int], together: list[int], confidence: list[float] | None = None) -> Answers:
    said = {way: np.array(together) for way in WAYS}
    said["model"] = np.full(len(truth), -1)
    sure = np.array(confidence if confidence is not None else [0.9] * len(truth))
    return Answers(np.array(person), np.array(truth), said, sure, np.full(len(truth), 2))


def test_shares_recall_precision_and_confusion_are_of_the_events() -> None:
    found = figures_of(answers([1, 1, 2, 3], [0, 1, 1, 3], [0, 0, 1, 3]), STAGES)
    assert (found.events, found.persons) == (4, 3)
    assert found.ways["together"].value == 0.75
    assert [share.value for share in found.recall["together"]][:2] == [1.0, 0.5]
    assert [share.value for share in found.precision["together"]][:2] == [0.5, 1.0]
    assert found.recall["together"][2].of == 0
    assert found.confusion.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]


def test_a_way_that_gave_no_answer_is_not_counted() -> None:
    assert "model" not in figures_of(answers([1], [0], [0]), STAGES).ways


def test_intervals_are_over_people_so_a_hundred_events_of_one_person_tell_little() -> None:
    one = figures_of(answers([1] * 100 + [2] * 100, [0] * 200, [0] * 100 + [1] * 100), STAGES).ways["together"]
    assert (one.value, one.low, one.high) == (0.5, 0.0, 1.0)
    many = figures_of(answers(list(range(200)), [0] * 200, [0] * 100 + [1] * 100), STAGES).ways["together"]
    assert 0.40 < many.low < 0.47
    assert 0.53 < many.high < 0.60


def test_calibration_compares_confidence_with_being_right() -> None:
    found = figures_of(answers([1, 2, 3, 4], [0, 0, 0, 0], [0, 0, 1, 0], [0.55, 0.55, 0.55, 1.0]), STAGES)
    assert [(one.right.of, one.right.value) for one in found.bins] == [(3, pytest.approx(2 / 3)), (1, 1.0)]
    assert found.error == pytest.approx((2 / 3 - 0.55) * 3 / 4)


def test_the_page_keeps_what_is_written_by_hand_and_the_picture_says_all_in_words() -> None:
    found = figures_of(answers([1, 2], [0, 1], [0, 0], [0.55, 0.95]), STAGES)
    page = f"before\n{begin(COMMAND)}\nold\n{END}\nafter"
    page = renewed(page, block({"all": found}, STAGES, "command", ["a note"]))
    assert page.startswith("before\n")
    assert page.endswith("\nafter")
    assert "old" not in page
    assert "| all | 2 | 0.500" in page
    picture = calibration_picture(found.bins, "Title")
    assert "confidence 0.55: right 1.00 of 1" in picture
    with pytest.raises(ValueError, match="needs the lines"):
        renewed(page.replace(END, ""), block({"all": found}, STAGES, "command", []))


# --- on a small world ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    simulate(WorldConfig(customers=40, days=25, seed=5), folder, overwrite=True)
    return folder


@pytest.fixture(scope="module")
def history(world: Path) -> History:
    definitions = load_definitions(None)
    validator = Validator(validation_rules(definitions, 4_102_444_800_000_000))
    return history_of_files((str(world / "events"),), load_rules(definitions.config.identity), validator)


def test_every_event_that_counts_is_answered_once(world: Path, history: History) -> None:
    truth = read_stage_truth(world, STAGES)
    found = answers_of(Folding(load_definitions(None).ontology, None), history, truth)
    known = sum(event.event_id in truth.events for person in history.persons for event, _ in history.of(person))
    assert len(found) == known > 1_000
    assert (found.said["together"] == found.said["rules"]).all(), "without a model rules speak"
    assert (found.said["model"] == -1).all()


def test_with_nothing_late_what_was_known_at_the_time_gives_the_same_answers(world: Path, history: History) -> None:
    truth = read_stage_truth(world, STAGES)
    folding = Folding(load_definitions(None).ontology, None)
    few = replace(history, persons=dict(list(history.persons.items())[:12]))
    whole, asked = answers_of(folding, few, truth), answers_when_late(folding, few, truth, 0.0, 1.0)
    assert len(whole) == len(asked) > 100
    for one, other in ((whole.person, asked.person), (whole.truth, asked.truth)):
        assert sorted(one.tolist()) == sorted(other.tolist())
    assert whole.said["rules"].sum() == asked.said["rules"].sum()
    late = answers_when_late(folding, few, truth, 0.5, 1.0)
    assert 0.3 * len(whole) < len(late) < 0.7 * len(whole), "late events are not asked about"


def test_what_is_lost_is_the_same_share_in_every_run(history: History) -> None:
    one, other = without(history, 0.1), without(history, 0.1)
    assert one.persons == other.persons
    assert 0.07 < 1 - one.events / history.events < 0.13


def test_who_is_elsewhere_when_history_begins_later_is_counted_among_those_who_came_since(history: History) -> None:
    few, whole = measure(history, load_definitions(None).ontology, [1_000, 3])
    assert (few.days, whole.days) == (3, 1_000)
    assert whole.persons == whole.same == len(history.persons)
    since = history.horizon - 3 * DAY
    assert few.persons == sum(any(e.event_time > since for e, _ in history.of(one)) for one in history.persons)
    assert 0 < few.same < few.persons < whole.persons
    assert 0 <= few.unknown_conversion <= few.persons - few.same


def test_a_folder_without_truth_or_with_other_stages_is_named(tmp_path: Path, world: Path) -> None:
    with pytest.raises(InputError, match=r"events\.parquet cannot be read"):
        read_stage_truth(tmp_path, STAGES)
    with pytest.raises(InputError, match="knows the stage 'customer'"):
        read_stage_truth(world, STAGES[:3])
