"""The older events of persons with a long record, in the record store by themselves. Pure but for that store.

Of a record whose events take more than twice ``tail_bytes`` the oldest of its longest strands go to archives, down to
``tail_bytes``. What stays in memory and log is the tail, at least the last event of each strand, and of each archive
its name. Going on in order never reads an archive. Folding a journey again needs all of them, and so does a message
that replaces a strand: a late event, a move, an erasure.

An archive has the name of what it holds, and is never changed while somebody refers to it. So an attempt whose log was
lost can neither take events from the next one nor give it other ones: what it wrote lies there unused, or is the very
archive that the next attempt writes. Archives are put before the log forgets their events. One that no record in memory
refers to any more is deleted after ``settled``, longer than any checkpoint that an engine goes back to is old, unless
the record store's copy of the person refers to it. Those that a restart forgot to delete go when the next stream begins
(``stored.delete_unused``).

Times: event time in microseconds; ``now`` and ``settled`` of the clock. Errors: as ``transforms.actor.archives``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping

from contracts.exchange import ArchivedEvents
from transforms.actor.archives import pack_archive, read_archives
from transforms.journey.live.messages import (
    NONE_ARCHIVED,
    Archived,
    HeldStrand,
    PersonRecord,
    event_of,
    size_of,
    without_oldest,
)
from transforms.journey.live.stored import ARCHIVES, archive_keys, archived_names, archives_of_copies
from transforms.journey.live.work import Pending
from transforms.stores.records import RecordKey, RecordStore, StoredRecord

ARCHIVED, ARCHIVE_READ_BACK = "archived", "archive_read_back"
_BODY_VERSION = 1


class Archiving:
    """The archives of the persons of one shard.

    Args:
        shard: its number in the record store.
        records: the record store; None: nothing is archived.
        tail_bytes: what a record keeps of its events.
        settled: how long an archive stays that nothing refers to.

    Attributes:
        counts: ``ARCHIVED``, archives made, and ``ARCHIVE_READ_BACK``, persons whose archives were read, in this step.
    """

    def __init__(self, shard: int, records: RecordStore | None, tail_bytes: int, settled: int) -> None:
        self._shard = shard
        self._records = records
        self._tail_bytes = tail_bytes
        self._settled = settled
        self._unused: dict[str, int] = {}
        """Names of archives, since when nobody refers to them."""
        self._read: dict[str, dict[str, list[tuple[bytes, ...]]]] = {}
        self.counts: Counter[str] = Counter()

    def adopt(self, records: RecordStore | None) -> None:
        """Use this store from now on."""
        self._records = records

    def begin(self) -> None:
        """A step begins: forget what was read for the last."""
        self._read.clear()
        self.counts.clear()

    def is_long(self, record: PersonRecord | None) -> bool:
        """Whether some of it is to be archived."""
        if self._records is None or record is None or record.tail <= 2 * self._tail_bytes:
            return False
        return any(len(held.events) > 1 for held in record.strands.values())

    def read(self, record: PersonRecord) -> Archived:
        """What lies in the archives of a record; within a step they are read once."""
        if self._records is None or not record.has_archives:
            return NONE_ARCHIVED
        person = record.person_id
        read = self._read.get(person)
        if read is None:
            keys = archive_keys(record, self._shard)
            found = iter(read_archives(self._records, keys, f"person {person}"))
            read = {s: [tuple(next(found)) for _ in held.archives] for s, held in record.strands.items()}
            self._read[person] = read
            self.counts[ARCHIVE_READ_BACK] += 1
        # what a record becomes within a step keeps the first archives of a strand, or none
        return {s: read[s][: len(held.archives)] for s, held in record.strands.items() if held.archives}

    def shorten(self, long: Collection[str], records: Mapping[str, PersonRecord], pending: Pending) -> None:
        """Put the oldest events of long records into archives, where nothing else happens to them meanwhile."""
        busy = {person for work in pending.works for person in (*work.records, *work.touched)}
        put: list[StoredRecord] = []
        for person in sorted(set(long) - busy):
            strands, archives = self._cut(records[person], pending.now)
            pending.shortened[person] = PersonRecord(person, strands, records[person].early)
            put += archives
        if self._records is not None and put:
            self._records.put(put)
            self.counts[ARCHIVED] += len(put)

    def _cut(self, record: PersonRecord, now: int) -> tuple[Mapping[str, HeldStrand], list[StoredRecord]]:
        """The strands without what goes to archives: full ones first, and what is left over only if that is too little.

        Full ones end where they ended before, so a strand that comes whole again has the same ones.
        """
        strands, archives = dict(record.strands), []
        excess = record.tail - self._tail_bytes
        for least in (self._tail_bytes, 1):
            for held in sorted(strands.values(), key=lambda held: (-held.tail, held.strand_id)):
                if excess <= 0:
                    break
                made, count = self._archives(record.person_id, held, least, now)
                if made:
                    strands[held.strand_id] = without_oldest(held, [archive for archive, _ in made], count)
                    archives += [stored for _, stored in made]
                    excess -= held.tail - strands[held.strand_id].tail
        return strands, archives

    def _archives(
        self, person: str, held: HeldStrand, least: int, now: int
    ) -> tuple[list[tuple[ArchivedEvents, StoredRecord]], int]:
        """Archives of the first events of a strand, of ``least`` to ``tail_bytes`` bytes each, and of how many."""
        made: list[tuple[ArchivedEvents, StoredRecord]] = []
        start, size = 0, 0
        for end, event in enumerate(held.events[:-1], 1):
            size += size_of(event)
            if size >= self._tail_bytes or (end == len(held.events) - 1 and size >= least):
                made.append(self._archive(person, held.strand_id, held.events[start:end], now))
                start, size = end, 0
        return made, start

    def _archive(
        self, person: str, strand: str, events: tuple[bytes, ...], now: int
    ) -> tuple[ArchivedEvents, StoredRecord]:
        body = pack_archive(events)
        name = hashlib.blake2b(body, digest_size=16).hexdigest()
        first, last = event_of(events[0]).event_time, event_of(events[-1]).event_time
        key = RecordKey(ARCHIVES, self._shard, f"{person}.{strand}.{name}")
        stored = StoredRecord(key, now, last, _BODY_VERSION, body)
        return ArchivedEvents(name, len(events), first, last), stored

    # --- what nobody refers to any more -------------------------------------------------------------------------

    def swap_in(self, before: PersonRecord | None, after: PersonRecord | None, now: int) -> None:
        """A person's record became another one."""
        old, new = archived_names(before), archived_names(after)
        for name in old - new:
            self._unused.setdefault(name, now)
        for name in new:
            self._unused.pop(name, None)

    def delete_unused(self, now: int) -> None:
        """Delete archives that nobody has referred to for long enough, neither in memory nor in the record store."""
        due = {name for name, since in self._unused.items() if since <= now - self._settled}
        if self._records is None or not due:
            return
        due -= archives_of_copies(self._records, self._shard, due)
        if due:
            self._records.delete([RecordKey(ARCHIVES, self._shard, name) for name in sorted(due)])
        for name in due:
            del self._unused[name]
