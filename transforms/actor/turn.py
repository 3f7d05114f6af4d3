"""One turn of an actor: what happens between a bundle's element or timer and the state that it leaves. No Beam.

Input: the shard's cells of state and timers (``Cells``), and a batch or a timer. Output: what the core put out, in
order, as (tag, element). In a turn:

1. the shard's records are taken from ``held``, or rebuilt from the log when their token is not the one in ``head``;
2. the core is called, its entries appended, its step committed; one slice of the log is compacted;
3. ``head`` gets a new token, the timers are set to what the core is due next, and the records are kept.

An exception on the way leaves the state of the bundle to the engine, which throws it away, and the records taken and
not kept, so that they are rebuilt.

Timers. The event-time timer stands at the earliest instant that the core named, rounded up to ``grid``, else at
``end``, where the shard is drained: portable Flink drops processing-time timers when the input ends. The
processing-time timer is set when none is known to be pending or the core is due earlier; it is not put off, so it may
come early: a timer looks at what is due when it comes.

Errors. An element that the core cannot take is taken in its parts, if the factory knows any (``Splits``), else it goes
out under ``REJECTED``; the rest of its batch is taken one by one. An
``advance`` or ``poll`` that fails is put out likewise, without data, and tried again after ``retry_after``; a ``drain``
that fails, fails the bundle. Errors of stores are waited out by ``delays``, then fail the bundle, which the engine
repeats. State of a newer version fails it too (``StateVersionError``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from contracts.errors import StateVersionError
from contracts.exchange import RejectedElement
from transforms.actor.core import STORE_ERRORS, CoreFactory, Entry, Splits, Step
from transforms.actor.held import HELD, Held, HeldShards, Place
from transforms.actor.packing import unpack
from transforms.actor.segments import SEAL, SegmentLog
from transforms.minimise import scrubbed

REJECTED = "rejected"
"""Tag of ``RejectedElement``s."""
COUNTERS = (
    "batches", "elements", "entries", "bytes", "copied_bytes", "compactions", "rebuilds", "restored_entries",
    "rejected", "faults", "store_retries", "event_timers", "poll_timers",
)  # fmt: skip
"""What is counted: see ``docs/streaming_host.md``."""

HEAD_VERSION = 2
"""1 had no entries of what a shard was folded by, without which a release would go on by other activations."""
_FATAL = (StateVersionError, MemoryError)
_MAX_DETAIL = 500
_MILLISECOND = 1_000
"""Engines keep timers in milliseconds, so an instant between two is rounded up."""


AGAIN_AFTER = 0.02
"""Seconds between two drains of a shard that has to hear of others."""
AGAIN_FOR = 900_000
"""Event time, microseconds, in which a shard drains again, a millisecond each time: the next stage comes after it."""


class Cells(Protocol):
    """The state and timers of one shard, as the engine has them in this bundle. Timers: microseconds."""

    def read_head(self) -> bytes | None: ...
    def write_head(self, head: bytes) -> None: ...
    def read_segments(self) -> Sequence[Iterable[bytes]]: ...
    def add(self, segment: int, chunk: bytes) -> None: ...
    def clear(self, segment: int) -> None: ...
    def set_event_timer(self, at: int) -> None: ...
    def set_poll_timer(self, at: int) -> None: ...
    def clear_poll_timer(self) -> None: ...


@dataclass(frozen=True)
class HostSettings:
    """How a stage is hosted.

    Args:
        job: names the run that the graph was built for; records of another are not seen.
        stage: names the stage, in counters and rejected elements.
        tags: the tags that the core may put out.
        end: event time at which shards are drained: shortly before the end of the global window.
        grid: event-time timers are rounded up to a multiple of this, so that close instants are one timer.
        retry_after: how long an ``advance`` or ``poll`` that failed waits.
        delays: seconds to wait between tries when a store fails; after the last the bundle fails.
        seal: bytes after which a segment of the log is full, at first.
    """

    job: str
    stage: str
    tags: tuple[str, ...]
    end: int
    grid: int = 1_000_000
    retry_after: int = 30_000_000
    delays: tuple[float, ...] = (0.1, 0.4, 1.5, 4.0, 8.0)
    seal: int = SEAL


Outputs = list[tuple[str, Any]]


class Actors:
    """Takes the turns of a stage's shards in a worker.

    Args:
        settings: how the stage is hosted.
        factory: makes its cores; set up.
        clock: processing time, microseconds.
        token: a new random token each call.
        count: (name of a counter, by how much).
        held: the process's records.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        settings: HostSettings,
        factory: CoreFactory,
        clock: Callable[[], int],
        token: Callable[[], bytes],
        count: Callable[[str, int], None],
        held: HeldShards = HELD,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self._factory = factory
        self._clock = clock
        self.token = token
        self.count = count
        self.held = held
        self.sleep = sleep

    def handle(self, shard: bytes, packed: bytes, cells: Cells) -> Outputs:
        """Take a batch. Raises what fails the bundle."""
        turn, now = self._open(shard, cells), self._clock()
        try:
            batch = unpack(packed)
        except ValueError as error:
            turn.reject("handle", packed, error)
        else:
            self.count("batches", 1)
            self.count("elements", len(batch))
            turn.handle(batch, now)
        return turn.close(now)

    def event_timer(self, shard: bytes, at: int, cells: Cells) -> Outputs:
        """The event-time timer was served: the watermark is at ``at`` or later."""
        self.count("event_timers", 1)
        turn, now = self._open(shard, cells), self._clock()
        turn.held.event_at = None
        # engines cut timers to milliseconds
        if at >= self.settings.end - _MILLISECOND:
            turn.drain(at, now)
        else:
            turn.advance(at, now)
        return turn.close(now, served=at)

    def poll_timer(self, shard: bytes, at: int, cells: Cells) -> Outputs:
        """The processing-time timer was served."""
        self.count("poll_timers", 1)
        turn = self._open(shard, cells)
        turn.held.poll_at = None
        # an engine's clock may be ahead of ours: it says that the time has come
        now = max(at, self._clock())
        if turn.held.failed_at is not None:
            turn.advance(turn.held.failed_at, now)
        if not turn.held.ended and (turn.rebuilt or _is_due(turn.held.poll_due, now)):
            turn.poll(now)
        return turn.close(now)

    def _open(self, shard: bytes, cells: Cells) -> _Turn:
        place = Place(self.settings.job, self.settings.stage, shard)
        head = cells.read_head()
        if head and head[0] > HEAD_VERSION:
            raise StateVersionError(f"the state of stage {self.settings.stage}", head[0], HEAD_VERSION)
        held = self.held.take(place)
        rebuilt = held is None or held.token != (head or b"")
        if held is None or rebuilt:
            held = self._rebuild(shard, head, cells)
        else:
            self._factory.adopt(held.core)
        return _Turn(self, place, held, cells, rebuilt)

    def split(self, element: bytes) -> Sequence[bytes]:
        """The parts of an element, as its factory knows them; none when it has none, or is none."""
        if not isinstance(self._factory, Splits):
            return ()
        try:
            return self._factory.split(element)
        except _FATAL:
            raise
        except Exception:  # noqa: BLE001  # bytes that are no element may raise anything; they are rejected whole
            return ()

    def _rebuild(self, shard: bytes, head: bytes | None, cells: Cells) -> Held:
        held = Held(self._factory.core(shard), SegmentLog(seal=self.settings.seal), head or b"")
        entries: list[Entry] = []
        if head:
            entries = held.log.restore(cells.read_segments())
            self.count("rebuilds", 1)
            self.count("restored_entries", len(entries))
        held.core.restore(entries)
        return held


class _Turn:
    """One shard, taken."""

    def __init__(self, actors: Actors, place: Place, held: Held, cells: Cells, rebuilt: bool) -> None:
        self.held = held
        self.rebuilt = rebuilt
        self._actors = actors
        self._place = place
        self._cells = cells
        self._outputs: Outputs = []
        self._stepped = False
        self._changed = False

    def handle(self, batch: Sequence[bytes], now: int) -> None:
        self.held.ended = False
        error = self._try(lambda: self.held.core.handle(batch, now))
        if error is None:
            return
        if not batch:
            # nothing to put aside: the actor itself is at fault
            raise error
        parts = batch if len(batch) > 1 else self._actors.split(batch[0])
        if len(parts) < 2:
            self.reject("handle", batch[0], error)
            return
        for element in parts:
            self.handle((element,), now)

    def advance(self, at: int, now: int) -> None:
        error = self._try(lambda: self.held.core.advance(at, now))
        if error is None:
            self.held.failed_at = None
        else:
            self.held.failed_at = at
            self._put_off("advance", error, now)

    def poll(self, now: int) -> None:
        error = self._try(lambda: self.held.core.poll(now))
        if error is not None:
            self._put_off("poll", error, now)

    def drain(self, at: int, now: int) -> None:
        step = self._patiently(lambda: self.held.core.drain(now))
        self._apply(step)
        self.held.ended = True
        if step.again:
            self._drain_again(at)
        # a timer that is pending holds the watermark back; Flink does not serve it any more, and would wait for ever
        self._cells.clear_poll_timer()
        self.held.poll_at = None

    def _drain_again(self, at: int) -> None:
        settings = self._actors.settings
        if at >= settings.end + AGAIN_FOR:
            self._actors.count("faults", 1)
            self._put_out("drain", b"", TimeoutError("other shards were not heard to have drained; the next start is"))
            return
        self._actors.sleep(AGAIN_AFTER)
        # later than what other shards of this task still have to do, earlier than what the next stage does
        self.held.event_at = max(at, settings.end) + _MILLISECOND
        self._cells.set_event_timer(self.held.event_at)

    def reject(self, during: str, data: bytes, error: Exception) -> None:
        self._actors.count("rejected", 1)
        self._put_out(during, data, error)

    def _put_out(self, during: str, data: bytes, error: Exception) -> None:
        detail = scrubbed(str(error)[: 10 * _MAX_DETAIL])[:_MAX_DETAIL]
        rejected = RejectedElement(self._place.stage, self._place.shard, during, data, type(error).__name__, detail)
        self._outputs.append((REJECTED, rejected))

    def close(self, now: int, served: int | None = None) -> Outputs:
        """Leave the state in order and keep the records; ``served`` is the event time that a timer was served for."""
        if self.rebuilt and not self._stepped:
            # nobody has said when the core is due: an empty batch asks for nothing else
            error = self._try(lambda: self.held.core.handle((), now))
            if error is not None:
                self._put_off("handle", error, now)
        if self._changed:
            self._compact()
            self.held.token = bytes((HEAD_VERSION,)) + self._actors.token()
            self._cells.write_head(self.held.token)
        if not self.held.ended:
            self._set_timers(served)
        self._actors.held.keep(self._place, self.held)
        return self._outputs

    def _put_off(self, during: str, error: Exception, now: int) -> None:
        self._actors.count("faults", 1)
        self._put_out(during, b"", error)
        again = now + self._actors.settings.retry_after
        self.held.poll_due = again if self.held.poll_due is None else min(again, self.held.poll_due)

    def _try(self, call: Callable[[], Step]) -> Exception | None:
        """Call the core and apply its step; returns what is wrong with the input, raises what fails the bundle."""
        try:
            step = self._patiently(call)
        except (*STORE_ERRORS, *_FATAL):
            raise
        except Exception as error:  # noqa: BLE001  # a poison element may raise anything, and must not stop the stream
            return error
        self._apply(step)
        return None

    def _patiently(self, call: Callable[[], Step]) -> Step:
        for delay in self._actors.settings.delays:
            try:
                return call()
            except STORE_ERRORS:
                self._actors.count("store_retries", 1)
                self._actors.sleep(delay)
        return call()

    def _apply(self, step: Step) -> None:
        if undeclared := {tag for tag, _ in step.outputs} - set(self._actors.settings.tags):
            raise LookupError(f"stage {self._place.stage} puts out under tags it did not declare: {sorted(undeclared)}")
        append = self.held.log.append(step.entries, step.dropped)
        if append is not None:
            self._cells.add(append.segment, append.chunk)
            self._actors.count("entries", append.entries)
            self._actors.count("bytes", len(append.chunk))
        self.held.core.commit(step)
        self._changed = self._changed or append is not None or step.pending is not None
        self._stepped = True
        self._outputs += step.outputs
        self.held.event_due, self.held.poll_due = step.next_event_time, step.next_poll

    def _compact(self) -> None:
        done = self.held.log.compact(self.held.core.live)
        if done is None:
            return
        if done.append is not None:
            self._cells.add(done.append.segment, done.append.chunk)
            self._actors.count("copied_bytes", len(done.append.chunk))
        if done.cleared is not None:
            self._cells.clear(done.cleared)
            self._actors.count("compactions", 1)

    def _set_timers(self, served: int | None) -> None:
        held, settings = self.held, self._actors.settings
        due = settings.end
        if held.event_due is not None and held.failed_at is None:
            due = _round_up(held.event_due, settings.grid)
        if served is not None:
            # a core that is still due at what was served would be called for ever
            due = max(due, served + settings.grid)
        due = min(due, settings.end)
        if held.event_at is None or due < held.event_at:
            self._cells.set_event_timer(due)
            held.event_at = due
        if held.poll_due is not None:
            at = _round_up(held.poll_due, _MILLISECOND)
            if held.poll_at is None or at < held.poll_at:
                self._cells.set_poll_timer(at)
                held.poll_at = at


def _is_due(instant: int | None, now: int) -> bool:
    return instant is not None and instant <= now


def _round_up(instant: int, step: int) -> int:
    return -(-instant // step) * step
