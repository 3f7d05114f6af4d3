"""A subscription as Beam's ``UnboundedSource``: for portable runners such as Flink.

``PubSubSource`` splits into independent readers. A reader pulls in a thread of its own and hands out ``Received``, each
at min(event time, received time). Memory: at most ``max_buffered`` messages pulled and not yet emitted, and the ack ids
of ``max_outstanding`` not yet acknowledged; beyond either it stops pulling, which is the back-pressure.

Acknowledging: a checkpoint mark holds the ack ids emitted before it; ``finalize_checkpoint`` acknowledges them, which
the engine calls once the checkpoint is durable. Until then the reader extends their deadlines. What is pulled and not
emitted is given back when the reader is closed, or when nobody asked it for ``ASLEEP`` seconds. What is emitted and
never finalised comes back by itself, so delivery is at least once; the strand stage drops what came twice.

Errors: the server gone is waited for; a subscription deleted, or a permission withdrawn, ends the bundle with the typed
error of ``sources.pubsub.client``. Bytes that are no event are handed out with their reason.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from apache_beam.coders import Coder
from apache_beam.io.unbounded_source import CheckpointMark, UnboundedReader, UnboundedSource
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp
from google.api_core import exceptions as google_errors

from contracts.coders import CODERS
from contracts.event import SECOND
from contracts.exchange import Message, Received
from sources.drain import DrainFlag
from sources.pubsub import client
from sources.pubsub.decode import received_message
from sources.pubsub.leases import Leases
from sources.pubsub.watermark import Watermark
from transforms.schema_registry import SchemaRegistry, published

ASLEEP = 30.0
"""Seconds after which a reader that nobody asks gives back what it holds: its engine may have left it behind."""
_EXTENSION = 20.0
_LEASE_TICK = 0.2
_A_PULL = 500
_POLL_LEAST, _POLL_MOST = 0.01, 0.1
_BACK_OFF = 1.0
_GONE = (google_errors.NotFound, google_errors.PermissionDenied, google_errors.Unauthenticated)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PubSubSettings:
    """What a reader needs to know; travels to workers.

    ``ack_deadline``: seconds that the subscription grants, as ``client.check_subscription`` gave it. ``idle_after``:
    see ``sources.pubsub.watermark``. ``max_held``: seconds after which a message whose checkpoint never completed is
    let go; more than the time between two checkpoints. ``drain``: a file that asks for the end (``sources.drain``).
    """

    subscription: str
    endpoint: str | None = None
    registry: SchemaRegistry | None = None
    splits: int = 2
    max_buffered: int = 1_000
    max_outstanding: int = 50_000
    ack_deadline: float = 10.0
    idle_after: float | None = 5.0
    max_held: float = 600.0
    drain: str | None = None


class PubSubMark(CheckpointMark):  # type: ignore[misc]  # Beam's base class is untyped
    """What was emitted since the mark before it, to be acknowledged, and where the watermark stood."""

    def __init__(
        self,
        endpoint: str | None,
        subscription: str,
        ack_ids: Sequence[str],
        frontier: int | None,
        reader: PubSubReader | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.subscription = subscription
        self.ack_ids = tuple(ack_ids)
        self.frontier = frontier
        # only of the process that cut it: to stop extending what is acknowledged
        self._reader = None if reader is None else weakref.ref(reader)

    def finalize_checkpoint(self) -> None:
        """Acknowledge what was emitted; again is harmless."""
        reader = None if self._reader is None else self._reader()
        if reader is not None:
            reader.let_go(self.ack_ids)
        client.acknowledge(self.endpoint, self.subscription, self.ack_ids)


class PubSubMarkCoder(Coder):  # type: ignore[misc]
    """MessagePack of a mark: the same bytes for the same mark, by which Beam finds the reader again."""

    def encode(self, value: PubSubMark) -> bytes:
        return msgspec.msgpack.encode((value.endpoint, value.subscription, value.ack_ids, value.frontier))

    def decode(self, encoded: bytes) -> PubSubMark:
        endpoint, subscription, ack_ids, frontier = msgspec.msgpack.decode(
            encoded, type=tuple[str | None, str, tuple[str, ...], int | None]
        )
        return PubSubMark(endpoint, subscription, ack_ids, frontier)

    def is_deterministic(self) -> bool:
        return True


class PubSubSource(UnboundedSource):  # type: ignore[misc]
    """A subscription, or one of the readers that share it (``index``)."""

    def __init__(self, settings: PubSubSettings, token: str, index: int | None = None) -> None:
        own = settings.registry is None or settings.registry == published()
        # the source travels with every checkpoint: what each worker has anyway stays out of it
        self._settings = dataclasses.replace(settings, registry=None) if own else settings
        self._token = token
        self._index = index

    def split(self, desired_num_splits: int, options: Any = None) -> list[PubSubSource]:
        if self._index is not None:
            return [self]
        number = max(1, min(desired_num_splits, self._settings.splits))
        return [PubSubSource(self._settings, self._token, index) for index in range(number)]

    def create_reader(self, options: Any, checkpoint_mark: PubSubMark | None) -> PubSubReader:
        frontier = None if checkpoint_mark is None else checkpoint_mark.frontier
        return PubSubReader(self._settings, self._token, frontier)

    def get_checkpoint_mark_coder(self) -> Coder:
        return PubSubMarkCoder()

    def default_output_coder(self) -> Coder:
        return CODERS[Received]()


@dataclass(frozen=True, slots=True)
class _Pulled:
    ack_id: str
    received: Received
    at: int
    """Timestamp of the element, microseconds."""
    event_at: int | None
    """What the watermark may follow: min(event time, received time); None for no event."""
    received_at: int


_peers: dict[str, weakref.WeakSet[PubSubReader]] = {}
_peers_lock = threading.Lock()


@dataclass
class _Shared:
    """What the thread that pulls and the one that emits both touch, under ``lock``."""

    watermark: Watermark
    leases: Leases
    buffer: deque[_Pulled] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)


class PubSubReader(UnboundedReader):  # type: ignore[misc]
    """Reads one subscription; see the module. Used by one thread at a time, as Beam does."""

    def __init__(self, settings: PubSubSettings, token: str, frontier: int | None = None) -> None:
        now = time.monotonic()
        self._settings = settings
        self._registry = settings.registry or published()
        self._shared = _Shared(
            Watermark(settings.idle_after, now, frontier),
            Leases(settings.ack_deadline, _EXTENSION, settings.max_held),
        )
        self._emitted: list[str] = []
        self._current: _Pulled | None = None
        self._asked = now
        self._drain = DrainFlag(settings.drain)
        self._closed = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pubsub-pull", daemon=True)
        with _peers_lock:
            self._peers = _peers.setdefault(token, weakref.WeakSet())
            self._peers.add(self)

    # --- Beam's side ---------------------------------------------------------------------------------------------

    def start(self) -> bool:
        self._thread.start()
        return self.advance()

    def advance(self) -> bool:
        self._asked = time.monotonic()
        if self._failure is not None:
            raise self._failure
        if self._drain.is_raised(self._asked):
            return False
        with self._shared.lock:
            if not self._shared.buffer:
                return False
            self._current = self._shared.buffer.popleft()
            self._shared.watermark.emit(self._current.event_at)
        self._emitted.append(self._current.ack_id)
        return True

    def get_current(self) -> Received:
        assert self._current is not None
        return self._current.received

    def get_current_timestamp(self) -> Timestamp:
        assert self._current is not None
        return Timestamp(micros=self._current.at)

    def get_watermark(self) -> Timestamp:
        if self._drain.is_raised(time.monotonic()) and not self._holds_any():
            return MAX_TIMESTAMP
        at = self._own_watermark()
        if at is None:
            # nothing came to this reader yet: the others know how late it is
            with _peers_lock:
                others = [peer._own_watermark() for peer in self._peers if peer is not self and peer.is_awake()]
            at = min((other for other in others if other is not None), default=None)
        return MIN_TIMESTAMP if at is None else Timestamp(micros=at)

    def get_checkpoint_mark(self) -> PubSubMark:
        emitted, self._emitted = self._emitted, []
        return PubSubMark(
            self._settings.endpoint, self._settings.subscription, emitted, self._shared.watermark.frontier, self
        )

    def close(self) -> None:
        """Give back what was not emitted. What was emitted may still be finalised, and otherwise comes back."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join()
        with _peers_lock:
            self._peers.discard(self)
        self._give_back()

    # --- the other side ------------------------------------------------------------------------------------------

    def is_awake(self) -> bool:
        """Whether someone asked it not long ago."""
        return time.monotonic() - self._asked < ASLEEP and not self._closed.is_set()

    def let_go(self, ack_ids: Sequence[str]) -> None:
        """These are being acknowledged."""
        with self._shared.lock:
            self._shared.leases.drop(ack_ids)

    def _holds_any(self) -> bool:
        """Whether something was pulled and is neither acknowledged nor given back."""
        with self._shared.lock:
            return bool(self._emitted) or len(self._shared.leases) > 0

    def _own_watermark(self) -> int | None:
        with self._shared.lock:
            return self._shared.watermark.at()

    def _give_back(self) -> None:
        with self._shared.lock:
            ids = [pulled.ack_id for pulled in self._shared.buffer]
            self._shared.buffer.clear()
            self._shared.watermark.forget_held()
            self._shared.leases.drop(ids)
        try:
            client.extend(self._settings.endpoint, self._settings.subscription, ids, 0)
        except client.CLIENT_ERRORS as error:
            # they come back by themselves when their deadline passes
            _log.warning("%d messages could not be given back: %s", len(ids), type(error).__name__)

    def _run(self) -> None:
        try:
            self._pull_until_closed()
        except BaseException as error:  # noqa: BLE001  # raised again by ``advance``, in the thread that reads
            self._failure = error

    def _pull_until_closed(self) -> None:
        pause, next_tick = _POLL_LEAST, 0.0
        while not self._closed.is_set():
            now = time.monotonic()
            if not self.is_awake():
                if self._shared.buffer:
                    self._give_back()
                self._closed.wait(_POLL_MOST)
                continue
            try:
                if now >= next_tick:
                    next_tick = now + _LEASE_TICK
                    self._extend_leases(now)
                if self._drain.is_raised(now):
                    self._give_back()
                    self._closed.wait(_POLL_MOST)
                    continue
                came = self._pull(now)
            except _GONE as error:
                raise client.explain(error, self._settings.subscription, self._settings.endpoint) from error
            except client.CLIENT_ERRORS as error:
                _log.warning("Pub/Sub does not answer, trying again: %s", type(error).__name__)
                self._closed.wait(_BACK_OFF)
                continue
            pause = _POLL_LEAST if came else min(_POLL_MOST, pause * 1.5)
            if not came:
                self._closed.wait(pause)

    def _extend_leases(self, now: float) -> None:
        with self._shared.lock:
            due = self._shared.leases.due(now)
            ours = [pulled for pulled in self._shared.buffer if self._shared.leases.holds(pulled.ack_id)]
            if len(ours) < len(self._shared.buffer):  # held too long: another reader has them by now
                self._shared.buffer = deque(ours)
                self._shared.watermark.forget_held()
                for pulled in ours:
                    self._shared.watermark.hold(pulled.received_at, now)
        client.extend(self._settings.endpoint, self._settings.subscription, due, round(_EXTENSION))

    def _pull(self, now: float) -> bool:
        """Pull what there is room for. Whether anything came."""
        settings, shared = self._settings, self._shared
        room = min(settings.max_buffered - len(shared.buffer), settings.max_outstanding - len(shared.leases), _A_PULL)
        if room <= 0:
            return False
        response = client.subscriber(settings.endpoint).pull(
            request={"subscription": settings.subscription, "max_messages": room, "return_immediately": True},
            retry=None,
            timeout=10.0,
        )
        pulled = [self._take(item) for item in response._pb.received_messages]
        with shared.lock:
            if not pulled:
                shared.watermark.empty(now)
            shared.leases.add([item.ack_id for item in pulled], now)
            for item in pulled:
                shared.buffer.append(item)
                shared.watermark.hold(item.received_at, now)
        return bool(pulled)

    def _take(self, item: Any) -> _Pulled:
        raw = item.message
        published_at = raw.publish_time.seconds * SECOND + raw.publish_time.nanos // 1_000
        message = Message(raw.data, dict(raw.attributes), published_at)
        received = received_message(message, self._registry, self._settings.subscription)
        event = received.event
        if event is None:
            return _Pulled(item.ack_id, received, published_at, None, published_at)
        at = min(event.event_time, event.received_time)
        # an event before 1970 is refused by the next stage; Beam's own time has an end down there
        return _Pulled(item.ack_id, received, max(0, at), at, event.received_time)
