"""Purge: what was erased leaves every store. The streaming host.

Contract: ``Purge`` in, nothing out. The strand stage has erased the strand from its own records by then, and tells the
journey stage. Here it leaves the effect store, and is noted in a folder of OUT. The identity store forgets its names
later (``settle``): the tables of identity are brought up to date from that store, and a row can only be taken back
while its name is known. Only keyed tombstones stay. State: the purges of a bundle. Time: event time in microseconds.
Errors: ``LockedError`` and ``OutputError`` of a store, and OSError of the disk, fail the bundle, which the engine tries
again; purging again changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import apache_beam as beam

from contracts.event import Identifier
from contracts.exchange import Purge
from transforms.identity.rules import StrandKey
from transforms.stores.database import StoreAddress
from transforms.stores.effects import open_effects
from transforms.stores.identity import IdentityStore
from transforms.tables.output import write_durably


class PurgeStores(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """PCollection of ``Purge`` out of the effect store, and into the notes.

    Args:
        stores: the database of the effect store.
        notes: the folder of the notes.
    """

    def __init__(self, stores: StoreAddress, notes: str) -> None:
        super().__init__()
        self._fn = _PurgeFn(stores, notes)

    def expand(self, purges: beam.PCollection[Purge]) -> beam.PCollection[bytes]:
        return purges | "PurgeStores" >> beam.ParDo(self._fn).with_output_types(bytes)


class _PurgeFn(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, stores: StoreAddress, notes: str) -> None:
        self._stores = stores
        self._notes = Path(notes)

    def start_bundle(self) -> None:
        self._purges: list[Purge] = []

    def process(self, element: Purge) -> None:
        self._purges.append(element)

    def finish_bundle(self) -> None:
        if not self._purges:
            return
        by_time: defaultdict[int, list[str]] = defaultdict(list)
        for purge in self._purges:
            by_time[purge.until].append(purge.strand_id)
        effects = open_effects(self._stores)
        try:
            for until, strands in sorted(by_time.items()):
                effects.purge(strands, until)
        finally:
            effects.close()
        note(self._notes, self._purges)


def note(folder: Path, purges: Iterable[Purge]) -> None:
    """Note purges in a file of their own; again it is the same file. Raises OSError when the disk refuses."""
    rows = sorted({(purge.until, *purge.primary, *(purge.login or ())) for purge in purges})
    content = json.dumps(rows)
    folder.mkdir(parents=True, exist_ok=True)
    write_durably(folder / f"{hashlib.blake2b(content.encode(), digest_size=8).hexdigest()}.json", content)


def settle(folder: Path, identity: IdentityStore, told: Callable[[], object]) -> int:
    """Let the identity store forget what was noted; returns how many strands were noted.

    Args:
        folder: the folder of the notes; whoever settles is alone.
        identity: the identity store.
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
        for until, strands in sorted(by_time.items()):
            identity.purge(strands, until)
            count += len(strands)
        path.unlink()
    return count
