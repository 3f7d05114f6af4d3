"""Purge: what was erased leaves every store. The streaming host.

Contract: ``Purge`` in; out (table, ``StatedRows``), which take back what was decided and done under the strand. The
strand stage has erased the strand from its own records by then, and tells the journey stage. Here it leaves the effect
store, and is noted in a folder of OUT: an engine that tries the bundle again finds the ids of what is to be taken back
among the notes, when the store has none any more. The identity store forgets its names
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
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows

from contracts.event import Identifier
from contracts.exchange import Purge, StatedRows, StrandEvent
from contracts.tables import ACTIONS, DECISIONS, Table
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
from transforms.read import typed
from transforms.stores.database import StoreAddress
from transforms.stores.effects import DecidedIds, open_effects
from transforms.stores.identity import IdentityStore
from transforms.stores.records import RecordKey, RecordStore, StoredRecord
from transforms.tables.output import TOMBSTONES, write_durably
from transforms.tables.stated import stated

COPIES, STRANDS, DECIDED = "copies", "strands", "decided"
"""Beside the notes for the identity store, those of copies in the record store: of persons, below it of strands; and
the ids of what was decided."""

_LAST_WORD = 1
"""The ``sequence`` of a decision or action that is no more: all others have 0."""

_PAGE = 200
"""Records that are cut in one transaction."""


class Shards(NamedTuple):
    """How many shards the record store has of each keyed stage."""

    strands: int
    persons: int


class PurgeStores(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """PCollection of ``Purge`` out of the effect store, into the notes, and to rows that are no more.

    Args:
        stores: the database of the effect store.
        notes: the folder of the notes.
        clock: microseconds of processing time.
    """

    def __init__(self, stores: StoreAddress, notes: str, clock: Callable[[], int]) -> None:
        super().__init__()
        self._fn = _PurgeFn(stores, notes, clock)

    def expand(self, purges: beam.PCollection[Purge]) -> beam.PCollection[tuple[bytes, StatedRows]]:
        rows = purges | "PurgeStores" >> beam.ParDo(self._fn).with_output_types(tuple[bytes, StatedRows])
        return typed(rows, tuple[bytes, StatedRows])


class _PurgeFn(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, stores: StoreAddress, notes: str, clock: Callable[[], int]) -> None:
        self._stores = stores
        self._notes = Path(notes)
        self._clock = clock

    def start_bundle(self) -> None:
        self._purges: list[Purge] = []

    def process(self, element: Purge) -> None:
        self._purges.append(element)

    def finish_bundle(self) -> Iterator[Any]:
        if not self._purges:
            return
        erase_decided(
            self._stores,
            [(purge.strand_id, purge.until) for purge in self._purges],
            lambda until, strands, ids: note_decided(self._notes, until, strands, ids),
        )
        note(self._notes, self._purges)
        for table, ids in noted_decided(self._notes, self._purges):
            # before any row that states the key, also one that the engine has not put out yet
            gone = stated(
                table, self._clock(), [_only_key(table, name) for name in ids], sequence=_LAST_WORD, deleted=True
            )
            yield GlobalWindows.windowed_value((table.name.encode(), gone))


def erase_decided(
    stores: StoreAddress,
    purges: Iterable[tuple[str, int]],
    before: Callable[[int, Sequence[str], DecidedIds], object] = lambda *_: None,
) -> dict[int, DecidedIds]:
    """Erase what followed from events of strands, each up to a time, from the effect store; the ids of it, by time.

    ``before`` is told of each time, its strands and the ids, before they are erased.
    """
    by_time: defaultdict[int, list[str]] = defaultdict(list)
    for strand, until in sorted(set(purges)):
        by_time[until].append(strand)
    gone: dict[int, DecidedIds] = {}
    effects = open_effects(stores)
    try:
        for until, strands in sorted(by_time.items()):
            gone[until] = effects.decided_under(strands, until)
            before(until, strands, gone[until])
            effects.purge(strands, until)
    finally:
        effects.close()
    return gone


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


def note_decided(folder: Path, until: int, strands: Sequence[str], decided: DecidedIds) -> None:
    """Note the ids of what the effect store is about to forget."""
    if decided.decisions or decided.actions:
        _note(folder / DECIDED, [[until, sorted(strands), decided.decisions, decided.actions]])


def noted_decided(folder: Path, purges: Iterable[Purge]) -> list[tuple[Table, list[str]]]:
    """The ids noted when these purges came for the first time, of each table that has rows of them."""
    asked = {(purge.strand_id, purge.until) for purge in purges}
    decisions: set[str] = set()
    actions: set[str] = set()
    for path in _noted(folder / DECIDED, math.inf):
        for until, strands, some_decisions, some_actions in json.loads(path.read_text(encoding="utf-8")):
            if any((strand, until) in asked for strand in strands):
                decisions.update(some_decisions)
                actions.update(some_actions)
    return [(table, sorted(ids)) for table, ids in ((DECISIONS, decisions), (ACTIONS, actions)) if ids]


def _only_key(table: Table, value: str) -> tuple[str | None, ...]:
    return tuple(value if column.name in table.key else None for column in table.columns)


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
    for path in _noted(folder / DECIDED, before):
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
