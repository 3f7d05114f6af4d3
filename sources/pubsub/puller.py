"""Pullers: what a process holds of a subscription, apart from the readers that come and go.

Beam builds a new reader for most bundles: a bundle that waits for its finalizer keeps its whole chain of DoFns, and
the reader parked there, until the checkpoint completes. So messages are pulled, held and leased by one ``Puller`` for
each split of a source in a process, and a reader only takes from it. A puller remembers its last cut; a reader that
comes with the mark of another one comes after a failure, and the puller then begins anew from that mark.

Memory: at most ``max_buffered`` messages pulled and not yet taken, ``max_bytes`` of them and one answer of the server
more, and the ack ids of ``max_outstanding`` not yet acknowledged; beyond any of these it stops pulling. What is held
and not taken is given back at ``reset``, and when nobody asked for ``ASLEEP`` seconds.

Errors: a server that does not answer is asked again; a subscription deleted or a permission withdrawn is raised by
``take`` as the typed error of ``sources.pubsub.client``.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.api_core import exceptions as google_errors

from contracts.event import SECOND
from contracts.exchange import Message, Received
from sources.drain import DrainFlag
from sources.pubsub import client
from sources.pubsub.decode import received_message
from sources.pubsub.leases import Leases
from sources.pubsub.watermark import Watermark
from transforms.schema_registry import SchemaRegistry, published

ASLEEP = 30.0
"""Seconds after which a puller that nobody asks gives back what it holds: its engine may have left it behind."""
_EXTENSION = 20.0
_LEASE_TICK = 0.2
_A_PULL = 500
_POLL_LEAST, _POLL_MOST = 0.01, 0.1
_PULL_PATIENCE = 4.0
"""Seconds a pull may take: less than what is left of a lease when it is extended, which waits for the pull."""
_BACK_OFF = 1.0
_UNFINALISED = 60.0
"""Seconds without an acknowledgement after which it is said, if there is something to acknowledge."""
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
    max_bytes: int = 64 << 20
    max_outstanding: int = 50_000
    ack_deadline: float = 10.0
    idle_after: float | None = 5.0
    max_held: float = 600.0
    drain: str | None = None


@dataclass(frozen=True, slots=True)
class Pulled:
    """A message on its way out. Times in microseconds."""

    ack_id: str
    received: Received
    at: int
    """Timestamp of the element."""
    event_at: int | None
    """What the watermark may follow: min(event time, received time); None for no event."""
    received_at: int
    size: int


class Puller:
    """One split of a source in this process. Every method may be called from any thread."""

    def __init__(self, settings: PubSubSettings, cut: int, frontier: int | None) -> None:
        self._settings = settings
        self._registry = settings.registry or published()
        self._drain = DrainFlag(settings.drain)
        self._changed = threading.Condition()
        self._buffer: deque[Pulled] = deque()
        self._bytes = 0
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._failure: BaseException | None = None
        self._begin(cut, frontier)

    def _begin(self, cut: int, frontier: int | None) -> None:
        now = time.monotonic()
        settings = self._settings
        self.cut = cut
        self._since_cut = 0
        self._asked = self._acknowledged = now
        self._watermark = Watermark(settings.idle_after, now, frontier)
        self._leases = Leases(settings.ack_deadline, _EXTENSION, settings.max_held)

    # --- the reader's side ---------------------------------------------------------------------------------------

    def take(self, patience: float) -> Pulled | None:
        """The message held longest, waited for at most ``patience`` seconds; None when there is none."""
        with self._changed:
            self._asked = time.monotonic()
            if self._failure is not None:
                raise self._failure
            if self._drain.is_raised(self._asked):
                return None
            if self._thread is None:
                self._stop = threading.Event()
                self._thread = threading.Thread(target=self._run, args=(self._stop,), name="pubsub-pull", daemon=True)
                self._thread.start()
            if not self._buffer and patience:
                self._changed.wait_for(lambda: self._buffer or self._failure, patience)
            if not self._buffer:
                return None
            pulled = self._buffer.popleft()
            self._bytes -= pulled.size
            self._watermark.emit(pulled.event_at)
            self._since_cut += 1
            return pulled

    def next_cut(self) -> tuple[int, int | None]:
        """(number of the cut, frontier) of a mark that is being cut."""
        with self._changed:
            self.cut += 1
            self._since_cut = 0
            return self.cut, self._watermark.frontier

    def stands_at(self, cut: int) -> bool:
        """Whether that cut was the last one and nothing was taken since, as it is unless a bundle failed."""
        return self.cut == cut and not self._since_cut

    def let_go(self, ack_ids: Sequence[str]) -> None:
        """These are being acknowledged."""
        with self._changed:
            self._acknowledged = time.monotonic()
            self._leases.drop(ack_ids)

    def watermark(self) -> int | None:
        """The watermark in microseconds; None while nothing was taken."""
        with self._changed:
            return self._watermark.at()

    def is_drained(self) -> bool:
        """Whether the end was asked for, and all that was handed out is acknowledged and all else given back."""
        if not self._drain.is_raised(time.monotonic()):
            return False
        with self._changed:
            ids = [pulled.ack_id for pulled in self._buffer]
            self._buffer.clear()
            self._bytes = 0
            self._watermark.forget_held()
            self._leases.drop(ids)
        self._give_back(ids)
        with self._changed:
            return len(self._leases) == 0

    def is_awake(self) -> bool:
        """Whether someone asked it not long ago."""
        return time.monotonic() - self._asked < ASLEEP

    def reset(self, cut: int, frontier: int | None, taken: Sequence[str] = ()) -> None:
        """Begin anew from a mark: stop pulling, give back what is held, and ``taken``, which no mark holds.

        What earlier marks hold may still be acknowledged, and otherwise comes back when its deadline passes.
        """
        with self._changed:
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None:
            thread.join()
        with self._changed:
            ids = [*taken, *(pulled.ack_id for pulled in self._buffer)]
            self._buffer.clear()
            self._bytes = 0
            self._failure = None
            self._begin(cut, frontier)
        self._give_back(ids)

    # --- the server's side ---------------------------------------------------------------------------------------

    def _give_back(self, ids: Sequence[str]) -> None:
        try:
            client.extend(self._settings.endpoint, self._settings.subscription, ids, 0)
        except client.CLIENT_ERRORS as error:
            # they come back by themselves when their deadline passes
            _log.warning("%d messages could not be given back: %s", len(ids), type(error).__name__)

    def _fall_asleep(self) -> None:
        with self._changed:
            ids = [pulled.ack_id for pulled in self._buffer]
            self._buffer.clear()
            self._bytes = 0
            self._watermark.forget_held()
            self._leases.drop(ids)
            self._thread = None
        self._give_back(ids)

    def _run(self, stop: threading.Event) -> None:
        try:
            self._pull_while_awake(stop)
        except BaseException as error:  # noqa: BLE001  # raised again by ``take``, in the thread that reads
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _pull_while_awake(self, stop: threading.Event) -> None:
        pause, next_tick = _POLL_LEAST, 0.0
        while not stop.is_set():
            if not self.is_awake():
                self._fall_asleep()
                return
            now = time.monotonic()
            try:
                if now >= next_tick:
                    next_tick = now + _LEASE_TICK
                    self._extend_leases(now)
                came = self._pull(now)
            except _GONE as error:
                raise client.explain(error, self._settings.subscription, self._settings.endpoint) from error
            except client.CLIENT_ERRORS as error:
                _log.warning("Pub/Sub does not answer, trying again: %s", type(error).__name__)
                stop.wait(_BACK_OFF)
                continue
            pause = _POLL_LEAST if came else min(_POLL_MOST, pause * 1.5)
            if not came:
                stop.wait(pause)

    def _extend_leases(self, now: float) -> None:
        with self._changed:
            due = self._leases.due(now)
            ours = [pulled for pulled in self._buffer if self._leases.holds(pulled.ack_id)]
            if len(ours) < len(self._buffer):  # held too long: another reader has them by now
                self._buffer = deque(ours)
                self._bytes = sum(pulled.size for pulled in ours)
                self._watermark.forget_held()
                for pulled in ours:
                    self._watermark.hold(pulled.received_at, now)
            waiting = len(self._leases) - len(self._buffer)
            if waiting <= 0:
                self._acknowledged = now
            is_stuck = now - self._acknowledged > _UNFINALISED
        if is_stuck:
            self._acknowledged = now
            _log.error(
                "%d messages wait to be acknowledged, and no checkpoint has completed for %.0f s: is checkpointing on?",
                waiting,
                _UNFINALISED,
            )
        client.extend(self._settings.endpoint, self._settings.subscription, due, round(_EXTENSION))

    def _pull(self, now: float) -> bool:
        """Pull what there is room for. Whether anything came."""
        settings = self._settings
        room = min(settings.max_buffered - len(self._buffer), settings.max_outstanding - len(self._leases), _A_PULL)
        if room <= 0 or self._bytes >= settings.max_bytes or self._drain.is_raised(now):
            return False
        response = client.subscriber(settings.endpoint).pull(
            request={"subscription": settings.subscription, "max_messages": room, "return_immediately": True},
            retry=None,
            timeout=_PULL_PATIENCE,
        )
        pulled = [self._received(item) for item in response._pb.received_messages]
        with self._changed:
            if not pulled:
                self._watermark.empty(now)
            self._leases.add([item.ack_id for item in pulled], now)
            for item in pulled:
                self._buffer.append(item)
                self._bytes += item.size
                self._watermark.hold(item.received_at, now)
            self._changed.notify_all()
        return bool(pulled)

    def _received(self, item: Any) -> Pulled:
        raw = item.message
        published_at = raw.publish_time.seconds * SECOND + raw.publish_time.nanos // 1_000
        message = Message(raw.data, dict(raw.attributes), published_at)
        received = received_message(message, self._registry, self._settings.subscription)
        event = received.event
        if event is None:
            return Pulled(item.ack_id, received, published_at, None, published_at, len(raw.data))
        at = min(event.event_time, event.received_time)
        # an event before 1970 is refused by the next stage; Beam's own time has an end down there
        return Pulled(item.ack_id, received, max(0, at), at, event.received_time, len(raw.data))


Key = tuple[str, int]
"""(token of a source, number of a split)."""

_pullers: dict[Key, Puller] = {}
_lock = threading.Lock()


def attach(key: Key, settings: PubSubSettings, cut: int, frontier: int | None) -> Puller:
    """The puller of a split in this process, standing where a mark was cut (0: no mark yet)."""
    with _lock:
        puller = _pullers.get(key)
        if puller is None:
            puller = _pullers[key] = Puller(settings, cut, frontier)
            return puller
    if not puller.stands_at(cut):
        puller.reset(cut, frontier)
    return puller


def find(key: Key) -> Puller | None:
    """The puller of a split, if this process has one."""
    return _pullers.get(key)


def peers_watermark(key: Key) -> int | None:
    """How late it is by the other splits of a source in this process; None when none of them knows."""
    with _lock:
        others = [puller for other, puller in _pullers.items() if other[0] == key[0] and other != key]
    known = [puller.watermark() for puller in others if puller.is_awake()]
    return min((at for at in known if at is not None), default=None)
