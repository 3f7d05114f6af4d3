"""Rows of what a streaming stage gives: they say when they came, however long their bundle lasts."""

from __future__ import annotations

from contracts import wire
from contracts.tables import DEAD_LETTERS
from transforms.tables.bundle_rows import _TOGETHER, _StateRows


def test_rows_that_come_together_are_stated_together_and_at_the_time_they_came() -> None:
    now = [0]
    fn = _StateRows(DEAD_LETTERS, lambda number: (number,), lambda: now[0], False)
    fn.start_bundle()
    found = []
    for number, at in enumerate((1_000, 2_000, 2_000 + _TOGETHER, 3_000 + 2 * _TOGETHER)):
        now[0] = at
        found += fn.process(number)
    now[0] += 1_000_000
    found += [windowed.value for windowed in fn.finish_bundle()]
    assert {name for name, _ in found} == {b"dead_letters"}
    told = [
        (rows.revision, [row[-1] for row in wire.unpack(list[tuple[int, bool, int]], rows.rows)]) for _, rows in found
    ]
    assert told == [(2_000 + _TOGETHER, [0, 1, 2]), (3_000 + 2 * _TOGETHER, [3])]
    assert list(fn.finish_bundle()) == []
