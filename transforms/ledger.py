"""The run ledger: what became of everything a source handed out.

Contract: stages emit ``LedgerCount``s, a few a bundle; ``SumLedger`` adds them up and writes one small file, which
the run turns into rows of the ``run_ledger`` table. Promise: received = accepted + duplicate + dead_lettered +
expired_late + erased, where ``received`` is counted by the source alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import apache_beam as beam

from contracts.exchange import LedgerCount

KINDS = ("received", "accepted", "duplicate", "dead_lettered", "expired_late", "erased", "after_horizon")
FATES = KINDS[1:6]
FILE = "ledger.json"
DECISIONS_FILE = "decisions.json"
DECISIONS = "decisions"
"""Source of the counts in ``DECISIONS_FILE``, and their kind from the journey stage; the act stage adds statuses."""


@dataclass(frozen=True)
class LedgerRow:
    """The counts of one source in one run."""

    source: str
    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    dead_lettered: int = 0
    expired_late: int = 0
    erased: int = 0
    after_horizon: int = 0

    @property
    def missing(self) -> int:
        """Units received of which no stage says what became; negative when more came out than went in."""
        return self.received - sum(int(getattr(self, fate)) for fate in FATES)


def rows(counts: Iterable[LedgerCount]) -> tuple[LedgerRow, ...]:
    """Sum counts by source, ascending by its name. Raises ValueError for a kind that is no column."""
    summed: dict[str, dict[str, int]] = {}
    for count in counts:
        if count.kind not in KINDS:
            raise ValueError(f"{count.kind!r} is no kind of the run ledger; kinds: {', '.join(KINDS)}")
        of_source = summed.setdefault(count.source, {})
        of_source[count.kind] = of_source.get(count.kind, 0) + count.n
    return tuple(LedgerRow(source, **summed[source]) for source in sorted(summed))


def total(ledger: Iterable[LedgerRow]) -> LedgerRow:
    """All sources together. A unit may be received as a file and rejected as what its event names: sums still agree."""
    sums = dict.fromkeys(KINDS, 0)
    for row in ledger:
        for kind in KINDS:
            sums[kind] += getattr(row, kind)
    return LedgerRow("all", **sums)


def read(staging: Path) -> tuple[LedgerRow, ...]:
    """What ``SumLedger`` wrote."""
    found = json.loads((staging / FILE).read_text(encoding="utf-8"))
    return rows(LedgerCount(source, kind, n) for source, kind, n in found)


def read_decisions(staging: Path) -> dict[str, int]:
    """Status to number of actions, as the act stage counted them; ``decisions`` to how many the journey stage made."""
    return {kind: n for _, kind, n in json.loads((staging / DECISIONS_FILE).read_text(encoding="utf-8"))}


def _keyed(count: LedgerCount) -> tuple[str, int]:
    return f"{count.kind}\x1f{count.source}", count.n


class _WriteLedger(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, staging: str, file: str) -> None:
        self._target = Path(staging) / file

    def process(self, sums: list[tuple[str, int]]) -> None:
        counts = [(key.split("\x1f", 1)[1], key.split("\x1f", 1)[0], n) for key, n in sorted(sums)]
        temporary = self._target.with_suffix(f".{os.getpid()}.tmp")
        temporary.write_text(json.dumps(counts), encoding="utf-8")
        temporary.replace(self._target)


class SumLedger(beam.PTransform):  # type: ignore[misc]
    """PCollection[LedgerCount] to one small file in ``staging``, also when there is no count. State: none."""

    def __init__(self, staging: str, file: str = FILE) -> None:
        super().__init__()
        self._write = _WriteLedger(staging, file)

    def expand(self, counts: beam.PCollection) -> beam.PCollection:
        return (
            counts
            | "KeyByKind" >> beam.Map(_keyed).with_output_types(tuple[str, int])
            | "Sum" >> beam.CombinePerKey(sum)
            | "Gather" >> beam.combiners.ToList()
            | "WriteLedger" >> beam.ParDo(self._write)
        )
