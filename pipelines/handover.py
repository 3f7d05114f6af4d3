"""Handover: a stream takes over what bounded runs left on an OUT. No Beam.

Input: the parts of the event log that no handover has read, and the identity store. Output: for each strand shard the
records that ``StrandCore`` reads back when their devices are seen again, the place in the mailbox at which it begins,
and every strand as a message for the journey stage. The events are those that earlier runs counted, so no ledger counts
them again.

Memory is bounded: events go to files by shard and by a hash of their primary identifier, each a share of at most about
``SHARE`` bytes, and one file is folded at a time. Repeating a handover, or one that was killed, changes nothing: an
event that a record has already is a copy. Times: UTC microseconds; ``now`` is the clock.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from contracts import wire
from contracts.event import Identifier
from contracts.exchange import MAX_TIME, Assignment, Link, StrandEvent, StrandMessage
from transforms.identity.ids import shard_of
from transforms.identity.live_eviction import Keeper
from transforms.identity.live_records import Record, ShardState, key_of
from transforms.identity.live_strands import Folding, refold
from transforms.identity.live_telling import Logins, Versions
from transforms.identity.rules import IdentityRules, StrandKey
from transforms.identity.strands import Rejects
from transforms.stores.identity import IdentityStore
from transforms.stores.records import RecordStore
from transforms.tables.log import placed, read_log
from transforms.tables.output import OutputFolder
from transforms.tables.part_names import parts_in

SHARE = 64 * 1024 * 1024
_UNPACKED = 6
"""Times that events take more room in memory than in a part of the log, roughly."""
_BUFFER = 256 * 1024
_AT_ONCE = 500
"""Primary identifiers that are read, folded and written together."""

Give = Callable[[int, Sequence[StrandMessage]], None]
"""Takes the messages of a strand shard for the journey stage, in the order of their versions."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """What a handover did: events read, records written, strands told; ``latest``: the greatest event time, if any."""

    events: int
    records: int
    strands: int
    latest: int | None


@dataclass(frozen=True)
class Handover:
    """How to hand over.

    Args:
        identity: the identity store, opened with ``rules`` and ``shards``.
        records: the record store.
        rules: the identity rules in force.
        shards: strand shards.
        box: makes dead letters, which nobody is told of again.
        share: bytes of events to hold at once, roughly.
    """

    identity: IdentityStore
    records: RecordStore
    rules: IdentityRules
    shards: int
    box: Rejects
    share: int = SHARE


def parts_since(folder: OutputFolder, since: int | None) -> list[Path]:
    """The parts of the log that were written at or after ``since`` (microseconds of the clock); None: all of them.

    Merging parts of the log writes them anew, so that more may be read than is new: that changes nothing.
    """
    parts = parts_in(folder.log)
    return [path for path in parts if since is None or path.stat().st_mtime_ns // 1_000 >= since]


def hand_over(how: Handover, folder: OutputFolder, since: int | None, now: int, give: Give, spill: Path) -> HandedOver:
    """Hand over what the log holds.

    Args:
        how: stores and rules.
        folder: OUT, held for writing by the caller.
        since: when an earlier handover began, microseconds of the clock; None reads all.
        now: the clock.
        give: takes the strands for the journey stage.
        spill: a folder for events on their way, made and removed.

    Raises:
        OutputError: a part cannot be read, or was written by a newer event schema.
        LockedError: a store is away.
    """
    parts = parts_since(folder, since)
    # asked before anybody's assignment is: what changes from here on comes by the mailbox
    beginnings = [_beginning(how, shard) for shard in range(how.shards)]
    size = sum(path.stat().st_size for path in parts) * _UNPACKED
    shares = max(1, -(-size // (how.share * how.shards)))
    shutil.rmtree(spill, ignore_errors=True)
    spill.mkdir(parents=True)
    try:
        events, latest = _sort(how, parts, spill, shares)
        records = strands = 0
        for shard, beginning in enumerate(beginnings):
            keeper = Keeper(shard, how.records)
            versions = Versions(beginning.version, now)
            for share in range(shares):
                written, told = _fold(how, keeper, _spilled(spill / f"{shard}-{share}"), versions, shard, give)
                records += written
                strands += told
            beginning.version = versions.last
            keeper.put_beginning(beginning)
    finally:
        shutil.rmtree(spill, ignore_errors=True)
    return HandedOver(events, records, strands, latest)


def _beginning(how: Handover, shard: int) -> ShardState:
    """Where a shard begins. After an earlier handover the mailbox is read on from there: records of it may move."""
    found = Keeper(shard, how.records).beginning()
    return found if found.version else ShardState(sequence=_last_sequence(how.identity, shard))


def _last_sequence(identity: IdentityStore, shard: int) -> int:
    """The last number in the mailbox of a shard, by halving: it may hold millions."""
    low, high = 0, MAX_TIME
    while low < high:
        middle = (low + high) // 2
        page = identity.assignments_since(shard, middle, 1)
        if page:
            low = page[0].sequence
        else:
            high = middle
    return low


# --- events by shard ---------------------------------------------------------------------------------------------


def _sort(how: Handover, parts: Sequence[Path], spill: Path, shares: int) -> tuple[int, int | None]:
    """All events of the parts to files by shard and share; return how many there are, and the greatest event time."""
    buffers: dict[str, bytearray] = {}
    events, latest = 0, None
    for part in parts:
        for read in read_log(part):
            found = placed(read, how.rules)
            if found is None:
                continue
            stored = found.stored
            events += 1
            latest = stored.event_time if latest is None else max(latest, stored.event_time)
            name = f"{int.from_bytes(shard_of(stored.primary, how.shards), 'big')}-{_share(stored.primary, shares)}"
            packed = wire.pack(stored)
            buffer = buffers.setdefault(name, bytearray())
            buffer += len(packed).to_bytes(4, "big") + packed
            if len(buffer) >= _BUFFER:
                _append(spill / name, buffer)
    for name, buffer in buffers.items():
        _append(spill / name, buffer)
    return events, latest


def _share(primary: Identifier, shares: int) -> int:
    # of the key, since all that share a shard agree in the hash of the identifier
    return zlib.crc32(key_of(primary).encode()) % shares


def _append(path: Path, buffer: bytearray) -> None:
    with path.open("ab") as file:
        file.write(buffer)
    buffer.clear()


def _spilled(path: Path) -> Iterator[StrandEvent]:
    if not path.exists():
        return
    with path.open("rb") as file:
        while length := file.read(4):
            yield wire.unpack(StrandEvent, file.read(int.from_bytes(length, "big")))


# --- records -----------------------------------------------------------------------------------------------------


def _fold(
    how: Handover, keeper: Keeper, events: Iterator[StrandEvent], versions: Versions, shard: int, give: Give
) -> tuple[int, int]:
    """Fold a share of a shard; return how many records were written and strands told."""
    by_primary: dict[Identifier, list[StrandEvent]] = {}
    for event in events:
        by_primary.setdefault(event.primary, []).append(event)
    folding = Folding(how.box, "", how.rules.carries(), how.rules)
    records = strands = 0
    source = iter(sorted(by_primary.items()))
    while some := dict(islice(source, _AT_ONCE)):
        held = keeper.read([key_of(primary) for primary in some], ShardState(began=MAX_TIME))
        assignments = _assignments(how.identity, some, {key: found.record for key, found in held.items()})
        made: list[Record] = []
        garbage: list[str] = []
        messages: list[StrandMessage] = []
        again: list[Link] = []
        for primary, found in some.items():
            earlier = held.get(key_of(primary))
            record, archived = None, []
            if earlier is not None:
                record = earlier.record
                # whoever was told of it is told again: what the journeys know may be older
                record.distrusted = True
                archived = keeper.archived(record) if record.head.archives else []
            mine = assignments.get(primary, {})
            device = mine.get(None)
            marks = how.identity.marks_of([primary]) if device is not None and device.carry else []
            change = refold(record, primary, found, mine, versions, folding, archived, marks)
            if change.marks:
                how.identity.keep_marks(change.marks)
            again += change.sightings
            messages += change.messages
            if change.record is not None and (change.record.events or record is not None):
                made.append(change.record)
            garbage += [keeper.archive_key(change.key, number) for number in change.garbage]
        if again:
            how.identity.seen_again(again)
        give(shard, messages)
        keeper.put(made, versions.next())
        if garbage:
            keeper.delete(garbage)
        records += len(made)
        strands += len(messages)
    return records, strands


def _assignments(
    identity: IdentityStore, events: dict[Identifier, list[StrandEvent]], held: dict[str, Record]
) -> dict[Identifier, dict[Logins, Assignment]]:
    strands = {StrandKey(event.primary, event.login) for found in events.values() for event in found}
    for record in held.values():
        strands |= {StrandKey(record.primary, login) for login in record.strands}
    found: dict[Identifier, dict[Logins, Assignment]] = {}
    for assignment in identity.assignments_of(strands).values():
        found.setdefault(assignment.primary, {})[assignment.login] = assignment
    return found
