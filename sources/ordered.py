"""The events of many files in one order, however large they are: sorted runs on disk, merged.

No Beam in what is done here, though files are read by ``transforms.read``. Input: file names; output: ``Placed`` in the
order of a time, ties in the order of files and of places in them, so the order is the same each time. What is damaged
stands behind what precedes it in its file. Errors: OSError of the disk; what is wrong with a file is a ``Received``
with its reason.

Memory: one run (``RUN_ITEMS`` items or ``RUN_BYTES``) while runs are made, a read buffer for each of at most
``FAN_IN`` runs a level while they are merged. Disk: the packed events, twice while runs are merged into longer ones, in
files without a name, which vanish with the process.
"""

from __future__ import annotations

import heapq
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from contracts import wire
from contracts.event import Event
from contracts.exchange import Received
from transforms.read import received_of

RUN_ITEMS = 50_000
RUN_BYTES = 64 << 20
FAN_IN = 64
_HEAD = struct.Struct("<qIQI")
_READ_BUFFER = 64 << 10

Time = Callable[[Event], int]
_Item = tuple[int, int, int, bytes]
"""(time, number of the file, place in it, packed ``Received``)."""


def by_received_time(event: Event) -> int:
    """The order of a stream: as the events came."""
    return event.received_time


def by_event_time(event: Event) -> int:
    """The order in which things happened."""
    return event.event_time


@dataclass(frozen=True, slots=True)
class Placed:
    """One unit in its place. ``time`` is the time by which it is ordered; of damage that of what precedes it."""

    time: int
    received: Received


class Ordered:
    """Sorts once, then gives the units from any position on.

    Args:
        files: as ``transforms.inputs.list_inputs`` gave them.
        time: what to order by.
        stop: asked between items while sorting; true ends it early, with nothing given.
    """

    def __init__(
        self, files: Sequence[str], time: Time = by_received_time, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self._files = files
        self._time = time
        self._stop = stop
        self._levels: list[list[IO[bytes]]] = []
        self._last: list[_Item] = []
        self.total = 0
        """How many units there are, known once sorted."""

    def sort(self) -> None:
        """Make the runs: reads every file once."""
        run: list[_Item] = []
        size = 0
        for item in self._items():
            if self._stop():
                self.close()
                return
            run.append(item)
            size += len(item[3])
            if len(run) >= RUN_ITEMS or size >= RUN_BYTES:
                self._keep(sorted(run), 0)
                run, size = [], 0
        self._last = sorted(run)

    def _items(self) -> Iterator[_Item]:
        for number, name in enumerate(self._files):
            time = -(1 << 63)
            for place, received in enumerate(received_of(name, None, Counter())):
                if received.event is not None:
                    time = self._time(received.event)
                self.total += 1
                yield time, number, place, wire.pack(received)

    def _keep(self, items: Iterable[_Item], level: int) -> None:
        run = tempfile.TemporaryFile(prefix="wayline-order-")  # noqa: SIM115  # lives as long as this object
        for time, number, place, packed in items:
            run.write(_HEAD.pack(time, number, place, len(packed)))
            run.write(packed)
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(run)
        if len(self._levels[level]) == FAN_IN:
            runs, self._levels[level] = self._levels[level], []
            self._keep(heapq.merge(*map(_read, runs)), level + 1)
            for old in runs:
                old.close()

    def units(self, skip: int = 0) -> Iterator[Placed]:
        """The units in order, without the first ``skip``. Once only: it reads the runs."""
        runs = [_read(run) for level in self._levels for run in level]
        for number, (time, _, _, packed) in enumerate(heapq.merge(*runs, self._last)):
            if number >= skip:
                yield Placed(time, wire.unpack(Received, packed))

    def close(self) -> None:
        """Give the disk back."""
        for level in self._levels:
            for run in level:
                run.close()
        self._levels, self._last = [], []


def _read(run: IO[bytes]) -> Iterator[_Item]:
    run.seek(0)
    while True:
        head = run.read(_HEAD.size)
        if not head:
            return
        time, number, place, size = _HEAD.unpack(head)
        yield time, number, place, run.read(size)


class Batch:
    """Some files being sorted aside, then read: neither may block Beam."""

    def __init__(self, files: Sequence[str], skip: int) -> None:
        self.files = tuple(files)
        self._skip = skip
        self._stopped = threading.Event()
        self._ordered = Ordered(self.files, stop=self._stopped.is_set)
        self._units: Iterator[Placed] | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._sort, name="files-sort", daemon=True)
        self._thread.start()

    def _sort(self) -> None:
        try:
            self._ordered.sort()
        except BaseException as error:  # noqa: BLE001  # raised again by ``is_ready``, in the thread that reads
            self._failure = error

    def is_ready(self) -> bool:
        """Whether ``next`` may be asked. Raises what sorting them raised."""
        if self._thread.is_alive():
            return False
        if self._failure is not None:
            raise self._failure
        if self._units is None:
            self._units = self._ordered.units(self._skip)
        return True

    def next(self) -> Placed | None:
        """The next unit; None at the end."""
        assert self._units is not None
        return next(self._units, None)

    def close(self) -> None:
        self._stopped.set()
        self._thread.join()
        self._ordered.close()
