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
    begin, pause = 1_000, _TOGETHER // 2
    for number in range(5):
        now[0] = begin + number * pause
        found += fn.process(number)
    now[0] += 1_000_000
    found += [windowed.value for windowed in fn.finish_bundle()]
    assert {name for name, _ in found} == {b"dead_letters"}
    told = [
        (rows.revision, [row[-1] for row in wire.unpack(list[tuple[int, bool, int]], rows.rows)]) for _, rows in found
    ]
    assert told == [(begin + 2 * pause, [0, 1, 2]), (begin + 4 * pause, [3, 4])]
    assert list(fn.finish_bundle()) == []
