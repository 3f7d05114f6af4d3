"""All persons of a shard, some hundred at a time: those in memory, then those of the record store. Pure but for it.

Input: what is to be done with them: drained to the final horizon, or folded again by what is in force now. Output:
work in a ``Pending``, which takes effect when it is committed. Records of the store are held for their page alone, so
that memory holds a page of them. Errors: those of the stores. State: none but that of the journeys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from transforms.journey.live.journeys import LiveJourneys
from transforms.journey.live.stored import STAGE, stored_record
from transforms.journey.live.work import Pending, Work
from transforms.stores.records import RecordKey, RecordStore, StoredRecord

PAGE = 500
READ_BACK, EVICTED_IDLE, EVICTED_BYTES = "read_back", "evicted_idle", "evicted_bytes"
STATED_AGAIN = "stated_again"
T = TypeVar("T")


class Paging:
    """The persons of one shard.

    Args:
        journeys: of the shard.
        shard: its number in the record store.
        hold: holds a record that was read back.
    """

    def __init__(self, journeys: LiveJourneys, shard: int, hold: Callable[[StoredRecord], None]) -> None:
        self._journeys = journeys
        self._shard = shard
        self._hold = hold

    def read_back(
        self,
        records: RecordStore | None,
        persons: Iterable[str],
        asleep: Mapping[str, int],
        woken: set[str],
        counts: Counter[str],
    ) -> set[str]:
        """Hold the records of persons who are not here; return those of whom it is unsure what was stated.

        ``asleep``: whom the log names, and which version of the record store.
        """
        absent = sorted(person for person in persons if person not in self._journeys.records)
        if records is None or not absent:
            return set()
        doubtful = set()
        found = records.get([RecordKey(STAGE, self._shard, person) for person in absent])
        for key, stored in found.items():
            self._hold(stored)
            woken.add(key.key)
            if asleep.get(key.key) != stored.version:
                doubtful.add(key.key)
        counts[READ_BACK] += len(found)
        counts[STATED_AGAIN] += len(doubtful)
        return doubtful

    def drain(self, records: RecordStore | None, horizon: int, pending: Pending, counts: Counter[str]) -> None:
        """Fold everybody up to the final horizon."""
        here = set(self._journeys.records)
        for some in _pages(iter(sorted(here))):
            pending.works.append(self._journeys.drain(some, horizon, pending.now))
        if records is None:
            return
        absent = (stored for stored in records.of_shard(STAGE, self._shard) if stored.key.key not in here)
        for page in _pages(absent):
            self._of_page(page, lambda names: self._journeys.drain(names, horizon, pending.now), pending, counts)

    def put_away(
        self, records: RecordStore, leaving: Mapping[str, bool], pending: Pending, counts: Counter[str]
    ) -> None:
        """Put persons into the record store; of each is said whether he is idle, or else too much."""
        journeys = self._journeys
        put = records.put([stored_record(journeys.records[name], self._shard, pending.now) for name in leaving])
        for (person, idle), became in zip(leaving.items(), put, strict=True):
            if became != "stored":
                continue
            counts[EVICTED_IDLE if idle else EVICTED_BYTES] += 1
            if journeys.dues.of(person) is None:
                pending.gone.append(person)
            else:
                pending.asleep[person] = pending.now

    def renew(
        self, records: RecordStore | None, asleep: Collection[str], pending: Pending, counts: Counter[str]
    ) -> None:
        """Fold the next page of those again who are still to be; ``pending.renewed`` says that it was the last.

        ``asleep``: persons whom the log names as being in the record store.
        """
        following, journeys = self._journeys.following, self._journeys
        memory = following.memory[following.place : following.place + PAGE]
        pending.place, pending.after = following.place + len(memory), following.after
        if memory:
            pending.works.append(journeys.renew([name for name in memory if name in journeys.records], pending.now))
        elif records is not None:
            page = list(islice(records.of_shard(STAGE, self._shard, following.after), PAGE))
            pending.after = page[-1].key.key if page else following.after
            self._renew_stored(page, asleep, pending, counts)
            pending.renewed = len(page) < PAGE
            return
        pending.renewed = records is None and pending.place == len(following.memory)

    def _renew_stored(
        self, page: Sequence[StoredRecord], asleep: Collection[str], pending: Pending, counts: Counter[str]
    ) -> None:
        following, journeys = self._journeys.following, self._journeys
        owed = [s for s in page if s.key.key not in journeys.records and following.owes(s.key.key)]
        far = [s for s in owed if journeys.reach(s.key.key, s.last_time) >= following.since]
        journeys.await_activation({stored.key.key for stored in owed}.difference(s.key.key for s in far))
        work = self._of_page(far, lambda names: journeys.renew(names, pending.now), pending, counts)
        for stored in far:
            person = stored.key.key
            due = pending.dues[person] = work.due.get(person)
            if person not in asleep:
                # it may be of an attempt whose log was lost, and is not to pass for one that was stated
                continue
            if due is not None:
                pending.asleep[person] = stored.version
            else:
                pending.gone.append(person)

    def _of_page(
        self,
        page: Sequence[StoredRecord],
        do: Callable[[list[str]], Work],
        pending: Pending,
        counts: Counter[str],
    ) -> Work:
        """Persons of the record store are worked on and given up again."""
        if not page:
            return Work()
        names = [stored.key.key for stored in page]
        for stored in page:
            self._hold(stored)
        try:
            work = do(names)
        finally:
            for name in names:
                self._journeys.release(name)
        work.live.clear()
        work.touched = ()
        counts[READ_BACK] += len(page)
        pending.works.append(work)
        return work


def _pages(items: Iterator[T]) -> Iterator[list[T]]:
    while page := list(islice(items, PAGE)):
        yield page
