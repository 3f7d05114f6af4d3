"""The stream's ledger in a graph: every count once, stated under one writer, the last statement whole."""

from __future__ import annotations

import time
from typing import Any

import apache_beam as beam
import msgspec
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from contracts import coders
from contracts.exchange import LedgerCount, StatedRows
from contracts.tables import RUN_LEDGER
from transforms.ledger import KINDS
from transforms.ledger_live import LedgerCores
from transforms.ledger_stream import CountLedger


def clock() -> int:
    return time.time_ns() // 1_000


def newest(stated: list[tuple[bytes, StatedRows]]) -> dict[str, dict[str, int]]:
    """What the table shows: of each source the row with the greatest revision."""
    rows: dict[str, tuple[int, dict[str, int]]] = {}
    for writer, one in stated:
        assert (writer, one.table) == (b"ledger", RUN_LEDGER.name)
        for _, is_deleted, run_id, source, *counts in msgspec.msgpack.decode(one.rows):
            assert (is_deleted, run_id) == (False, "stream-000007")
            if one.revision >= rows.get(source, (-1, {}))[0]:
                rows[source] = (one.revision, dict(zip(KINDS, counts, strict=True)))
    return {source: {kind: n for kind, n in counts.items() if n} for source, (_, counts) in rows.items()}


def test_every_count_is_summed_once_and_stated_by_the_end_of_the_input() -> None:
    coders.register()
    counts = [LedgerCount("web", "received", 1)] * 300 + [LedgerCount("web", "accepted", 2)] * 149
    counts += [
        LedgerCount("crm", "received", 5),
        LedgerCount("web", "duplicate", 3),
        LedgerCount("web", "duplicate", -1),
    ]
    expected = {"web": {"received": 300, "accepted": 298, "duplicate": 2}, "crm": {"received": 5}}

    def check(stated: list[Any]) -> None:
        assert newest(stated) == expected, newest(stated)

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        given = pipeline | beam.Create(counts).with_output_types(LedgerCount)
        assert_that(given | "Ledger" >> CountLedger(LedgerCores("stream-000007"), clock), check)


def test_a_stream_without_events_states_nothing() -> None:
    coders.register()

    def check(stated: list[Any]) -> None:
        assert stated == []

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        given = pipeline | beam.Create([]).with_output_types(LedgerCount)
        assert_that(given | "Ledger" >> CountLedger(LedgerCores("stream-000007"), clock), check)
