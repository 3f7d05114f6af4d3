"""Dated activations: which version is in force when, and the pointer file that says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.errors import LockedError, ModelError
from models.activations import Activation, Activations, exclusive, read_activations, write_activations


def activations(*records: tuple[str | None, int]) -> Activations:
    return Activations(tuple(Activation(version, start, "test", 0) for version, start in records))


def test_before_the_first_activation_rules_alone_are_in_force() -> None:
    found = activations(("a", 10))
    assert (found.in_force(9), found.in_force(10)) == (None, "a")


def test_a_later_activation_leaves_earlier_points_to_the_earlier_version() -> None:
    found = activations(("a", 10), ("b", 20))
    assert [found.in_force(t) for t in (15, 20)] == ["a", "b"]


def test_a_later_record_supersedes_one_that_was_planned_for_a_later_date() -> None:
    found = activations(("a", 10), ("b", 50), ("c", 30))
    assert [found.in_force(t) for t in (29, 30, 60)] == ["a", "c", "c"]
    assert found.versions == ("a", "c")


def test_a_rollback_is_one_more_record_and_rules_alone_can_be_returned_to() -> None:
    once = activations(("a", 10))
    assert (once.champion, once.previous) == ("a", None)
    back = once.activated(once.previous, 20, "bad", 1)
    assert [back.in_force(t) for t in (15, 25)] == ["a", None]
    assert (back.champion, back.previous) == (None, "a")


def test_previous_is_the_latest_other_version() -> None:
    found = activations(("a", 1), ("b", 2), ("b", 3))
    assert found.previous == "a"
    assert found.activated("a", 4, "", 0).previous == "b"


def test_a_promoted_challenger_is_no_challenger_any_more() -> None:
    found = Activations().challenged("a").challenged("b")
    assert found.activated("a", 1, "", 0).challenger == "b"
    assert found.activated("b", 1, "", 0).challenger is None


@given(
    st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 20)), max_size=6),
    st.lists(st.integers(-2, 25), max_size=20),
)
def test_the_vectorised_answer_is_the_single_one(records: list[tuple[str | None, int]], times: list[int]) -> None:
    found = activations(*records)
    rows = found.records_in_force(np.array(times, dtype=np.int64))
    assert [found.records[row].version if row >= 0 else None for row in rows] == [found.in_force(t) for t in times]
    assert {found.in_force(t) for t in times} - {None} <= set(found.versions)


def test_the_pointer_file_keeps_every_record(tmp_path: Path) -> None:
    path = tmp_path / "champion.json"
    assert read_activations(path) == Activations()
    found = activations(("a", 10), (None, 20)).challenged("c")
    write_activations(path, found)
    assert read_activations(path) == found
    assert [p.name for p in tmp_path.iterdir()] == ["champion.json"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 1}', b"\xff\xfe", b'{"format":1,"champion":3}'])
def test_a_damaged_pointer_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "champion.json"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"champion\.json is damaged"):
        read_activations(path)


def test_only_one_process_changes_the_registry_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path), pytest.raises(LockedError), exclusive(tmp_path):
        pass
    with exclusive(tmp_path):
        pass
