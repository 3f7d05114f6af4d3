"""The run ledger of a stream: the same counts as ``transforms.ledger``, summed in the state of the engine.

Contract: packed ``LedgerCount``s in, ``StatedRows`` of ``run_ledger`` out, under one key. A count is an element like
any other, so the engine takes it exactly once, whatever dies: what a killed attempt had counted is counted again by
the next, and not twice. State: a row a source; it never expires, and there are as many as sources. Timers: one of
processing time, a second after a count came, at which changed rows are stated; none of event time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from contracts import wire
from contracts.event import SECOND
from contracts.exchange import LedgerCount, StatedRows
from contracts.tables import RUN_LEDGER
from transforms.actor.core import ActorCore, Entry, Step
from transforms.ledger import KINDS

ROWS = "rows"
STATE_EVERY = SECOND
"""Microseconds between two statements: a count a bundle would otherwise be a row a bundle."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[int])

Counts = tuple[int, ...]
"""One number a kind, in the order of ``KINDS``."""


@dataclass(frozen=True, slots=True)
class _Change:
    counts: dict[str, Counts]
    unstated: frozenset[str]
    revision: int
    due: int | None


class LedgerCore:
    """The counts of one run; an ``ActorCore``.

    Args:
        run_id: of the rows.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._counts: dict[str, Counts] = {}
        self._unstated: frozenset[str] = frozenset()
        self._revision = 0
        self._due: int | None = None

    def restore(self, entries: Iterable[Entry]) -> None:
        """Take the counts; what was stated before is stated again, since nobody knows whether it arrived."""
        for entry in entries:
            self._counts[entry.key.decode("utf-8", "surrogatepass")] = tuple(_decoder.decode(entry.data))
        self._unstated = frozenset(self._counts)
        self._due = 0 if self._counts else None

    def handle(self, batch: Sequence[bytes], now: int) -> Step:
        """Add counts. Raises ValueError for a kind that is no column."""
        changed: dict[str, list[int]] = {}
        for packed in batch:
            count = wire.unpack(LedgerCount, packed)
            if count.kind not in KINDS:
                raise ValueError(f"{count.kind!r} is no kind of the run ledger; kinds: {', '.join(KINDS)}")
            held = changed.get(count.source)
            if held is None:
                held = changed[count.source] = list(self._counts.get(count.source, (0,) * len(KINDS)))
            held[KINDS.index(count.kind)] += count.n
        counts = {source: tuple(numbers) for source, numbers in changed.items()}
        due = self._due if self._due is not None else now + STATE_EVERY
        entries = tuple(Entry(_key(source), _encoder.encode(numbers), True) for source, numbers in counts.items())
        change = _Change(counts, self._unstated | counts.keys(), self._revision, due)
        return Step(entries=entries, next_poll=due, pending=change)

    def advance(self, watermark: int, now: int) -> Step:
        """Nothing happens by event time."""
        return Step(next_poll=self._due, pending=_Change({}, self._unstated, self._revision, self._due))

    def poll(self, now: int) -> Step:
        """State what changed since it was stated."""
        if not self._unstated:
            return Step(pending=_Change({}, frozenset(), self._revision, None))
        revision = max(now, self._revision + 1)
        rows = [[0, False, self._run_id, source, *self._counts[source]] for source in sorted(self._unstated)]
        stated = StatedRows(RUN_LEDGER.name, revision, _encoder.encode(rows))
        return Step(outputs=((ROWS, stated),), pending=_Change({}, frozenset(), revision, None))

    def drain(self, now: int) -> Step:
        """The last word."""
        return self.poll(now)

    def commit(self, step: Step) -> None:
        """Swap in what the last call built."""
        change: _Change = step.pending
        self._counts.update(change.counts)
        self._unstated, self._revision, self._due = change.unstated, change.revision, change.due

    def live(self, key: bytes) -> bytes | None:
        """The counts of a source."""
        counts = self._counts.get(key.decode("utf-8", "surrogatepass"))
        return None if counts is None else _encoder.encode(counts)


def _key(source: str) -> bytes:
    return source.encode("utf-8", "surrogatepass")


class LedgerCores:
    """Makes the one core of a run; a ``CoreFactory`` that opens nothing."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id

    def setup(self) -> None:
        """Nothing to open."""

    def core(self, shard: bytes) -> LedgerCore:
        """An empty ledger."""
        return LedgerCore(self._run_id)

    def adopt(self, core: ActorCore) -> None:
        """A ledger uses nothing."""

    def teardown(self) -> None:
        """Nothing to close."""
