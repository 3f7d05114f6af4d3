"""The streaming host of a keyed stage: the shard actor.

Contract: (shard, batch) in, both bytes, as ``BatchByShard`` makes them; what the core puts out, by tag, and
``RejectedElement``s out. Logic: ``turn``, which also says what happens on errors. In the global window.

Key: the shard, a hash of the stage's own key. N shards are N actors: a cell of state costs a round trip to the engine,
so one cell a person would cost a round trip an event, and one batch a shard costs one a batch (docs/adr/0016).

State, a shard: ``head``, one byte of version and a random token, written with each change; ``segment_0`` to
``segment_7``, bags of chunks, together the log (``segments``). Records themselves are in the worker's memory
(``held``), valid only under the token in ``head``. Bounds: the log is a few times the bytes of the records; how many
records there are, how large, and when one is dropped is for the core to bound. Expiry: a record goes when the core
drops it.

Timers, a shard: ``event``, at the earliest instant that the core named, else shortly before the end of the window,
where the shard is drained; ``poll``, in processing time, when the core asked to look at a store. Outputs of a batch
have its timestamp, those of a timer the time it was set for; elements say themselves when they happened.

It does not retry, deduplicate or order elements: a core gets each at least once per committed bundle's attempt, and
state and outputs of an attempt that failed are the engine's to discard.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder
from apache_beam.metrics import Metrics
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import (
    BagRuntimeState,
    BagStateSpec,
    ReadModifyWriteRuntimeState,
    ReadModifyWriteStateSpec,
    TimerSpec,
    on_timer,
)
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp

from contracts import coders as _coders  # noqa: F401  # registers the coders of what goes out
from contracts.exchange import RejectedElement
from transforms.actor.core import CoreFactory
from transforms.actor.segments import SEGMENTS
from transforms.actor.turn import COUNTERS, REJECTED, Actors, HostSettings, Outputs
from transforms.read import typed
from transforms.worker_process import prepare_worker

METRICS = "wayline.actor"
"""Namespace of the counters, followed by a dot and the stage; their names are ``turn.COUNTERS``."""

SWITCH = 0.000_5
"""Seconds after which a thread lets another have the interpreter, a tenth of Python's own.

A worker works on a bundle a stage at once, each in a thread, and a turn waits for the engine's state some times: after
each answer it would wait again for threads that compute, 5 ms for each of them.
"""

Clock = Callable[[], int]
_TOKEN_BYTES = 16
_LAST = int(GlobalWindow().max_timestamp().micros) // 1_000_000 * 1_000_000
_ROOM = 60
"""Seconds of event time before the end of the global window in which actors drain, one after the other.

A window closes, and an engine ends a job, when its watermark reaches the end; what is put out there comes too late.
"""


def drained_at(depth: int) -> int:
    """Event time, microseconds, at which an actor drains that ``depth`` others stand before."""
    if not 0 <= depth < _ROOM:
        raise ValueError(f"an actor has 0 to {_ROOM - 1} others before it, not {depth}")
    return _LAST - (_ROOM - depth) * 1_000_000


_EVENT = TimerSpec("event", TimeDomain.WATERMARK)
_POLL = TimerSpec("poll", TimeDomain.REAL_TIME)
_HEAD_CELL = beam.DoFn.StateParam(ReadModifyWriteStateSpec("head", BytesCoder()))
_BAGS = [beam.DoFn.StateParam(BagStateSpec(f"segment_{i}", BytesCoder())) for i in range(SEGMENTS)]
_EVENT_TIMER = beam.DoFn.TimerParam(_EVENT)
_POLL_TIMER = beam.DoFn.TimerParam(_POLL)


class _Cells:
    """Beam's cells of one shard, as ``turn.Cells``."""

    __slots__ = ("_event", "_head", "_poll", "_segments")

    def __init__(self, head: Any, segments: Sequence[Any], event: Any, poll: Any) -> None:
        self._head = head
        self._segments = segments
        self._event = event
        self._poll = poll

    def read_head(self) -> bytes | None:
        head: bytes | None = self._head.read()
        return head

    def write_head(self, head: bytes) -> None:
        self._head.write(head)

    def read_segments(self) -> Sequence[Iterable[bytes]]:
        return [segment.read() for segment in self._segments]

    def add(self, segment: int, chunk: bytes) -> None:
        self._segments[segment].add(chunk)

    def clear(self, segment: int) -> None:
        self._segments[segment].clear()

    def set_event_timer(self, at: int) -> None:
        self._event.set(Timestamp(micros=at))

    def set_poll_timer(self, at: int) -> None:
        self._poll.set(Timestamp(micros=at))

    def clear_poll_timer(self) -> None:
        self._poll.clear()


class _ActorFn(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    _actors: Actors

    def __init__(self, settings: HostSettings, factory: CoreFactory, clock: Clock) -> None:
        super().__init__()
        self._settings = settings
        self._factory = factory
        self._clock = clock

    def setup(self) -> None:
        prepare_worker()
        sys.setswitchinterval(SWITCH)
        self._factory.setup()
        namespace = f"{METRICS}.{self._settings.stage}"
        counters = {name: Metrics.counter(namespace, name) for name in COUNTERS}
        self._actors = Actors(
            self._settings,
            self._factory,
            self._clock,
            lambda: os.urandom(_TOKEN_BYTES),
            lambda name, by: counters[name].inc(by),
        )

    def teardown(self) -> None:
        self._factory.teardown()

    def process(
        self,
        element: tuple[bytes, bytes],
        head: ReadModifyWriteRuntimeState = _HEAD_CELL,
        s0: BagRuntimeState = _BAGS[0],
        s1: BagRuntimeState = _BAGS[1],
        s2: BagRuntimeState = _BAGS[2],
        s3: BagRuntimeState = _BAGS[3],
        s4: BagRuntimeState = _BAGS[4],
        s5: BagRuntimeState = _BAGS[5],
        s6: BagRuntimeState = _BAGS[6],
        s7: BagRuntimeState = _BAGS[7],
        event: Any = _EVENT_TIMER,
        poll: Any = _POLL_TIMER,
    ) -> Iterator[TaggedOutput]:
        shard, batch = element
        cells = _Cells(head, (s0, s1, s2, s3, s4, s5, s6, s7), event, poll)
        return _tagged(self._actors.handle(shard, batch, cells))

    @on_timer(_EVENT)  # type: ignore[untyped-decorator]
    def event_timer(
        self,
        shard: bytes = beam.DoFn.KeyParam,
        at: Timestamp = beam.DoFn.TimestampParam,
        head: ReadModifyWriteRuntimeState = _HEAD_CELL,
        s0: BagRuntimeState = _BAGS[0],
        s1: BagRuntimeState = _BAGS[1],
        s2: BagRuntimeState = _BAGS[2],
        s3: BagRuntimeState = _BAGS[3],
        s4: BagRuntimeState = _BAGS[4],
        s5: BagRuntimeState = _BAGS[5],
        s6: BagRuntimeState = _BAGS[6],
        s7: BagRuntimeState = _BAGS[7],
        event: Any = _EVENT_TIMER,
        poll: Any = _POLL_TIMER,
    ) -> Iterator[TaggedOutput]:
        cells = _Cells(head, (s0, s1, s2, s3, s4, s5, s6, s7), event, poll)
        return _tagged(self._actors.event_timer(shard, at.micros, cells))

    @on_timer(_POLL)  # type: ignore[untyped-decorator]
    def poll_timer(
        self,
        shard: bytes = beam.DoFn.KeyParam,
        at: Timestamp = beam.DoFn.TimestampParam,
        head: ReadModifyWriteRuntimeState = _HEAD_CELL,
        s0: BagRuntimeState = _BAGS[0],
        s1: BagRuntimeState = _BAGS[1],
        s2: BagRuntimeState = _BAGS[2],
        s3: BagRuntimeState = _BAGS[3],
        s4: BagRuntimeState = _BAGS[4],
        s5: BagRuntimeState = _BAGS[5],
        s6: BagRuntimeState = _BAGS[6],
        s7: BagRuntimeState = _BAGS[7],
        event: Any = _EVENT_TIMER,
        poll: Any = _POLL_TIMER,
    ) -> Iterator[TaggedOutput]:
        cells = _Cells(head, (s0, s1, s2, s3, s4, s5, s6, s7), event, poll)
        return _tagged(self._actors.poll_timer(shard, at.micros, cells))


def _tagged(outputs: Outputs) -> Iterator[TaggedOutput]:
    return iter([TaggedOutput(tag, element) for tag, element in outputs])


class ShardActor(beam.PTransform):  # type: ignore[misc]
    """Hosts a keyed stage on a stream of (shard, batch), both bytes.

    Gives a dict: a PCollection for each tag of ``outputs``, and one of ``RejectedElement`` under ``REJECTED``.

    Args:
        stage: names the stage; stable, since counters and rejected elements carry it.
        factory: makes the cores, one a shard; pickled with the graph.
        outputs: tag to element type, of what the cores put out.
        clock: processing time in microseconds; a function that a worker can import.
        depth: how many actors its elements pass before it: it drains after them, and hears what they put out last.
        options: further fields of ``HostSettings``.
    """

    def __init__(
        self,
        stage: str,
        factory: CoreFactory,
        outputs: Mapping[str, Any],
        clock: Clock,
        *,
        depth: int = 0,
        **options: Any,
    ) -> None:
        super().__init__()
        if REJECTED in outputs:
            raise ValueError(f"{REJECTED!r} is the host's own tag; stage {stage} cannot put out under it")
        self._outputs = dict(outputs)
        settings = HostSettings(secrets.token_hex(8), stage, tuple(outputs), drained_at(depth), **options)
        self._fn = _ActorFn(settings, factory, clock)

    def expand(self, batches: beam.PCollection) -> dict[str, beam.PCollection]:
        given = batches | "Actor" >> beam.ParDo(self._fn).with_outputs(*self._outputs, REJECTED)
        typed_outputs = {tag: typed(given[tag], kind) for tag, kind in self._outputs.items()}
        return {**typed_outputs, REJECTED: typed(given[REJECTED], RejectedElement)}
