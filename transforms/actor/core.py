"""What a keyed stage implements to be hosted as a stream: a pure core, one instance a shard. No Beam.

An ``ActorCore`` holds the records of the keys of one shard in memory. Each call looks at an input, builds what changes
*aside*, and returns it as a ``Step``; nothing that a later call could see changes before the host calls ``commit`` with
that very step. The host appends the step's entries to the shard's log first. So after an exception, a crash or a
retried bundle, records and log agree. Between a call and its ``commit`` the host makes no other call that returns a
step; a step whose ``commit`` never comes is forgotten.

The **log** is the truth and memory a cache. It is a list of entries, each of one key. An entry is a change to a record
or, with ``whole``, the record itself, which makes every earlier entry of its key dead. What it holds is for the core
to say; it carries its own schema version. ``restore`` gets the entries that live, oldest first.

Time domain: all instants are microseconds. ``watermark`` is event time; ``now`` and ``next_poll`` are processing time,
read from a clock that the host was given. What happens at an instant is computed from records, never from when a
timer was served, which may be any time after.

Errors: an exception out of ``handle`` means that an element is poison: the host calls again with each element alone,
and the one that fails goes to the dead letters with the exception's type and message. ``STORE_ERRORS`` are different:
something outside is missing, so the host waits, calls again, and at last fails the bundle, which the engine repeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from contracts.errors import LockedError

STATE_BYTES = 768 * 1024 * 1024
"""What the shards of both keyed stages hold in memory at most, all together, unless told otherwise: a sixth of it is
for strands, a sixth for journeys, the rest for journeys under way, which stand beside their records."""

STORE_ERRORS = (LockedError, OSError)
"""What a core lets through when a store, a disk or a network fails: never the fault of the element in hand."""


class Entry(NamedTuple):
    """One entry of a shard's log.

    ``key`` names the record inside the shard. ``whole`` says that ``data`` is the record as such, not a change to it.
    """

    key: bytes
    data: bytes
    whole: bool = False


@dataclass(frozen=True)
class Step:
    """What one call of a core comes to.

    ``outputs`` are (tag, element), emitted as they are; the tag is one that the stage declared.
    ``entries`` are appended to the log in this order.
    ``dropped`` are keys whose records are gone, with all their entries before and in this step.
    ``next_event_time`` is the earliest instant at which time by itself changes a record, if any: the whole truth after
    this step, not a change to what was said before. ``next_poll`` likewise, for looking at a store unasked.
    ``pending`` is the core's own: what ``commit`` swaps in; None says that the step changes nothing in memory.
    ``again``, of a drain alone: it was not the last one, since other shards may still have something for this one.
    """

    outputs: tuple[tuple[str, Any], ...] = ()
    entries: tuple[Entry, ...] = ()
    dropped: tuple[bytes, ...] = ()
    next_event_time: int | None = None
    next_poll: int | None = None
    pending: Any = None
    again: bool = False


class ActorCore(Protocol):
    """The records of one shard. Made empty by a ``CoreFactory``; one thread uses it at a time."""

    def restore(self, entries: Iterable[Entry]) -> None:
        """Build the records from the log; called once, first, on an empty core. The entries live, oldest first."""

    def handle(self, batch: Sequence[bytes], now: int) -> Step:
        """Take elements of this shard, in the order they came, which means nothing.

        An empty batch asks when the core is due: after ``restore`` nobody else knows.
        """

    def advance(self, watermark: int, now: int) -> Step:
        """Event time reached ``watermark``: do what was due up to it. May come late, and more than once."""

    def poll(self, now: int) -> Step:
        """The instant ``next_poll`` came, or a while after: look at what nobody announces, as a mailbox."""

    def drain(self, now: int) -> Step:
        """The input ended: the watermark is at the end of time. The last step of this shard, for all that is known.

        A poll that was due does not come any more, so this looks at what ``poll`` would look at. A step that says
        ``again`` is followed by another one, after a moment in which the other shards of the worker have their turn.
        """

    def commit(self, step: Step) -> None:
        """Swap in what the last call built. It cannot fail."""

    def live(self, key: bytes) -> bytes | None:
        """The committed record of a key as the data of one whole entry; None when there is none."""


@runtime_checkable
class Splits(Protocol):
    """A factory whose elements are several things at once, so that a poison one need not take the others with it."""

    def split(self, element: bytes) -> Sequence[bytes]:
        """The parts of an element that a core could not take, each an element; one or none: it has no parts.

        May raise anything for an element that is none.
        """


class CoreFactory(Protocol):
    """Makes the cores of a stage in a worker. Pickled with the graph, so it opens nothing before ``setup``."""

    def setup(self) -> None:
        """Open what cores use: stores, a model. Once an instance, in the worker."""

    def core(self, shard: bytes) -> ActorCore:
        """An empty core, using what this instance opened."""

    def adopt(self, core: ActorCore) -> None:
        """Let a core use what *this* instance opened; another instance may have made it, and be closed since."""

    def teardown(self) -> None:
        """Close what ``setup`` opened. Safe when ``setup`` never ran."""
