"""Purge: what was erased leaves every store. The streaming host.

Contract: ``Purge`` in, nothing out. The strand stage has erased the strand from its own records by then, and tells the
journey stage. Here it leaves the effect store, and is noted in a folder of OUT; so are the ids of what was decided,
whose rows the housekeeper takes back (``transforms.tables.decided_notes``). The identity store forgets its names
later (``settle``): the tables of identity are brought up to date from that store, and a row can only be taken back
while its name is known. Nor do the copies of records of strands and persons leave the record store at once
(``forget_copies``): an engine that goes back to a checkpoint of before reads them, to take the erased events out of the
tables again. A bounded run has no such engine, and cuts them itself (``forget_of_run``). Only keyed tombstones stay.
State: the purges of a bundle. Time: event time in microseconds.
Errors: ``LockedError`` and ``OutputError`` of a store, and OSError of the disk, fail the bundle, which the engine tries
again; purging again changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam

from contracts.event import Identifier
from contracts.exchange import Purge, StrandEvent
from transforms.identity.ids import person_shard, strand_id
from transforms.identity.live_copies import Gone, forget_events
from transforms.identity.rules import StrandKey
from transforms.journey.live.stored import (
    ARCHIVES,
    STAGE,
    archive_without,
    delete_unused,
    without,
    without_archives,
    without_events,
)
from transforms.stores.database import StoreAddress
from transforms.stores.effects import open_effects
from transforms.stores.identity import IdentityStore
from transforms.stores.records import RecordKey, RecordStore, StoredRecord
from transforms.tables.decided_notes import note_decided
from transforms.tables.output import TOMBSTONES, write_durably

COPIES, STRANDS = "copies", "strands"
"""Beside the notes for the identity store, those of copies in the record store: of persons, below it of strands."""

_PAGE = 200
"""Records that are cut in one transaction."""


class Shards(NamedTuple):
    """How many shards the record store has of each keyed stage."""

    strands: int
    persons: int


class PurgeStores(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """PCollection of ``Purge`` out of the effect store, and into the notes.

    Args:
        stores: the database of the effect store.
        notes: the folder of the notes.
        decided: the folder of notes of what was decided.
    """

    def __init__(self, stores: StoreAddress, notes: str, decided: str) -> None:
        super().__init__()
        self._fn = _PurgeFn(stores, notes, decided)

    def expand(self, purges: beam.PCollection[Purge]) -> beam.PCollection[bytes]:
        return purges | "PurgeStores" >> beam.ParDo(self._fn).with_output_types(bytes)


class _PurgeFn(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, stores: StoreAddress, notes: str, decided: str) -> None:
        self._stores = stores
        self._notes = Path(notes)
        self._decided = Path(decided)

    def start_bundle(self) -> None:
        self._purges: list[Purge] = []

    def process(self, element: Purge) -> None:
        self._purges.append(element)

    def finish_bundle(self) -> None:
        if not self._purges:
            return
        erase_decided(self._stores, [(purge.strand_id, purge.until) for purge in self._purges], self._decided)
        note(self._notes, self._purges)


def erase_decided(stores: StoreAddress, purges: Iterable[tuple[str, int]], notes: Path) -> None:
    """Erase what followed from events of strands, each up to a time, from the effect store, and note the ids of it."""
    by_time: defaultdict[int, list[str]] = defaultdict(list)
    for strand, until in sorted(set(purges)):
        by_time[until].append(strand)
    effects = open_effects(stores)
    try:
        for until, strands in sorted(by_time.items()):
            # marked first: what is not among the ids then is not claimed any more
            gone = effects.mark_erased(strands, until)
            note_decided(notes, gone.decisions, gone.actions)
            effects.purge(strands, until)
    finally:
        effects.close()


def note(folder: Path, purges: Iterable[Purge]) -> None:
    """Note purges in files of their own; again they are the same. Raises OSError when the disk refuses."""
    purges = list(purges)
    _note(folder, [[purge.until, *purge.primary, *(purge.login or ())] for purge in purges])
    _note(folder / COPIES, [[purge.until, purge.strand_id, *purge.persons] for purge in purges if purge.persons])
    _note(folder / COPIES / STRANDS, [[*purge.primary, *event] for purge in purges for event in purge.events])


def _note(folder: Path, rows: Iterable[list[object]]) -> None:
    different = {json.dumps(row) for row in rows}
    content = f"[{', '.join(sorted(different))}]"
    if different:
        folder.mkdir(parents=True, exist_ok=True)
        write_durably(folder / f"{hashlib.blake2b(content.encode(), digest_size=8).hexdigest()}.json", content)


def forget_copies(folder: Path, records: RecordStore, shards: Shards, before: float) -> int:
    """Take what was noted out of the copies of records; returns how many copies were cut or removed.

    A person or device that was read back leaves a copy in the record store, and it holds the erased events until the
    record is put away again, which may be never.

    Args:
        folder: the folder of the notes; whoever calls is alone.
        records: the record store.
        shards: of the keyed stages.
        before: only notes made before this, seconds of the clock: the engine must not go back behind them any more.
            Infinite: no engine runs.
    """
    count = 0
    for path in _noted(folder / COPIES / STRANDS, before):
        gone: defaultdict[Identifier, set[Gone]] = defaultdict(set)
        for namespace, value, *event in json.loads(path.read_text(encoding="utf-8")):
            gone[Identifier(namespace, value)].add(Gone(*event))
        count += forget_events(records, shards.strands, gone, alone=math.isinf(before))
        path.unlink()
    for path in _noted(folder / COPIES, before):
        erased: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for until, strand, *persons in json.loads(path.read_text(encoding="utf-8")):
            for person in persons:
                erased[person][strand] = max(until, erased[person].get(strand, until))

        def cut(stored: StoredRecord, erased: dict[str, dict[str, int]] = erased) -> StoredRecord | None:
            return without(stored, erased[stored.key.key])

        keys = [RecordKey(STAGE, int.from_bytes(person_shard(p, shards.persons), "big"), p) for p in sorted(erased)]
        for start in range(0, len(keys), _PAGE):
            count += records.cut(keys[start : start + _PAGE], cut)
        for key in keys:
            _forget_archived(records, key, erased[key.key])
        path.unlink()
    return count


def _forget_archived(records: RecordStore, person: RecordKey, erased: Mapping[str, int]) -> None:
    """Cut what is left of a person's archives, whoever refers to them: no record holds what was erased any more."""
    for strand, until in sorted(erased.items()):
        names = records.names(ARCHIVES, person.shard, f"{person.key}.{strand}.")
        for start in range(0, len(names), _PAGE):

            def cut(stored: StoredRecord, until: int = until) -> StoredRecord | None:
                return archive_without(stored, until)

            records.cut(names[start : start + _PAGE], cut)


def _noted(folder: Path, before: float) -> list[Path]:
    return [path for path in sorted(folder.glob("*.json")) if path.stat().st_mtime < before]


def forget_of_run(records: RecordStore, shards: Shards, events: Iterable[StrandEvent]) -> int:
    """Take what a bounded run erased out of the records that streams left; returns how many were cut or removed.

    Every person's record is looked at: who had the events of a strand, only the shards of the stream knew.

    Args:
        records: the record store; no stream uses it.
        shards: of the streams before.
        events: those that the run takes out of the log.
    """
    by_primary: defaultdict[Identifier, set[Gone]] = defaultdict(set)
    for event in events:
        by_primary[event.primary].add(Gone(strand_id(event.primary, event.login), event.event_time, event.event_id))
    if not by_primary:
        return 0
    count = forget_events(records, shards.strands, by_primary, alone=True)
    every = set().union(*by_primary.values())
    for shard in range(shards.persons):
        wholes = (without_archives(records, stored) for stored in records.of_shard(STAGE, shard))
        keys = [whole.key for whole in wholes if without_events(whole, every) != whole]
        for start in range(0, len(keys), _PAGE):
            count += _forget_whole(records, keys[start : start + _PAGE], every)
        # of those that were cut nobody refers to the archives any more
        delete_unused(records, shard)
    return count


def _forget_whole(records: RecordStore, keys: Collection[RecordKey], erased: Collection[tuple[str, int, str]]) -> int:
    wholes = {key: without_archives(records, stored) for key, stored in records.get(keys).items()}
    return records.cut(keys, lambda stored: without_events(wholes[stored.key], erased))


def settle(folder: Path, identity: IdentityStore, stores: Path, told: Callable[[], object]) -> int:
    """Let the identity store forget what was noted; returns how many strands were noted.

    Args:
        folder: the folder of the notes; whoever settles is alone.
        identity: the identity store.
        stores: the folder where a bounded run reads what was erased before it: the store has no names any more.
        told: brings the tables up to date from it. Called always, and before anything is forgotten; what is noted
            meanwhile is left for the next time.
    """
    notes = sorted(folder.glob("*.json"))
    told()
    count = 0
    for path in notes:
        by_time: defaultdict[int, list[StrandKey]] = defaultdict(list)
        for until, namespace, value, *login in json.loads(path.read_text(encoding="utf-8")):
            by_time[until].append(StrandKey(Identifier(namespace, value), Identifier(*login) if login else None))
        _keep_tombstones(stores, {(login or primary, at) for at, some in by_time.items() for primary, login in some})
        for until, strands in sorted(by_time.items()):
            identity.purge(strands, until)
            count += len(strands)
        path.unlink()
    return count


def _keep_tombstones(stores: Path, erased: Iterable[tuple[Identifier, int]]) -> None:
    """Add what was erased, and up to when, to the file of all streams."""
    path = stores / f"streams-{TOMBSTONES}"
    held = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    rows = {(str(namespace), str(value), int(until)) for namespace, value, until in held}
    more = rows | {(*identifier, until) for identifier, until in erased}
    if more != rows:
        stores.mkdir(parents=True, exist_ok=True)
        write_durably(path, json.dumps(sorted(more)))
