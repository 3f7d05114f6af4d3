"""The ledger of a stream: exact whatever is retried, and stated as seldom as will do."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import wire
from contracts.event import SECOND
from contracts.exchange import LedgerCount, StatedRows
from transforms.actor.core import Entry, Step
from transforms.ledger import KINDS
from transforms.ledger_live import LedgerCore

COUNTS = st.lists(
    st.builds(LedgerCount, st.sampled_from(["web", "crm"]), st.sampled_from(KINDS), st.integers(1, 9)), max_size=12
)


def packed(counts: list[LedgerCount]) -> list[bytes]:
    return [wire.pack(count) for count in counts]


def rows_of(step: Step) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for _, element in step.outputs:
        assert isinstance(element, StatedRows)
        for sequence, is_deleted, run_id, source, *counts in msgspec.msgpack.decode(element.rows):
            assert (sequence, is_deleted, run_id) == (0, False, "stream-000001")
            found[source] = counts
    return found


def expected(counts: list[LedgerCount]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for count in counts:
        found.setdefault(count.source, [0] * len(KINDS))[KINDS.index(count.kind)] += count.n
    return found


@given(batches=st.lists(COUNTS, max_size=6), broken=st.sets(st.integers(0, 5)), crashes=st.sets(st.integers(0, 5)))
def test_counts_are_exact_after_crashes_and_retried_batches(
    batches: list[list[LedgerCount]], broken: set[int], crashes: set[int]
) -> None:
    core, log = LedgerCore("stream-000001"), dict[bytes, Entry]()
    for number, batch in enumerate(batches):
        if number in broken:
            core.handle(packed(batch), number)  # its commit never comes: the engine repeats the batch
        step = core.handle(packed(batch), number)
        log.update((entry.key, entry) for entry in step.entries)
        core.commit(step)
        if number in crashes:
            core = LedgerCore("stream-000001")
            core.restore(log.values())
    stated: dict[str, list[int]] = {}
    last = core.drain(100)
    stated.update(rows_of(last))
    assert stated == expected([count for batch in batches for count in batch])


def test_rows_are_stated_a_second_after_the_first_count_and_then_not_again() -> None:
    core = LedgerCore("stream-000001")
    first = core.handle(packed([LedgerCount("web", "received", 1)]), 5)
    assert (first.outputs, first.next_poll) == ((), 5 + SECOND)
    core.commit(first)
    second = core.handle(packed([LedgerCount("web", "received", 1)]), 6)
    assert second.next_poll == 5 + SECOND
    core.commit(second)
    polled = core.poll(5 + SECOND)
    core.commit(polled)
    assert rows_of(polled) == {"web": [2, 0, 0, 0, 0, 0, 0]}
    assert (core.poll(7 * SECOND).outputs, polled.next_poll) == ((), None)


def test_a_kind_that_is_no_column_is_refused() -> None:
    with pytest.raises(ValueError, match="no kind of the run ledger"):
        LedgerCore("stream-000001").handle(packed([LedgerCount("web", "lost", 1)]), 0)
