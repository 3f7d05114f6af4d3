"""Purge: what was erased leaves every store. The streaming host.

Contract: ``Purge`` in, nothing out. The strand stage has erased the strand from its own records by then; here it leaves
the effect store and the record store, and then the identity store forgets its name: only keyed tombstones stay. State:
the purges of a bundle. Time: event time in microseconds. Errors: ``LockedError`` and ``OutputError`` of a store fail
the bundle, which the engine tries again; purging again changes nothing.
"""

from __future__ import annotations

from collections import defaultdict

import apache_beam as beam

from contracts.exchange import Purge
from transforms.identity.rules import IdentityRules, StrandKey
from transforms.stores.database import StoreAddress
from transforms.stores.effects import open_effects
from transforms.stores.identity import open_identity


class PurgeStores(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """PCollection of ``Purge`` into the stores.

    Args:
        stores: their database.
        rules: the identity rules in force.
        shards: strand shards.
    """

    def __init__(self, stores: StoreAddress, rules: IdentityRules, shards: int) -> None:
        super().__init__()
        self._fn = _PurgeFn(stores, rules, shards)

    def expand(self, purges: beam.PCollection[Purge]) -> beam.PCollection[None]:
        return purges | "PurgeStores" >> beam.ParDo(self._fn).with_output_types(bytes)


class _PurgeFn(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    def __init__(self, stores: StoreAddress, rules: IdentityRules, shards: int) -> None:
        self._stores = stores
        self._rules = rules
        self._shards = shards

    def start_bundle(self) -> None:
        self._purges: defaultdict[int, list[Purge]] = defaultdict(list)

    def process(self, element: Purge) -> None:
        self._purges[element.until].append(element)

    def finish_bundle(self) -> None:
        if not self._purges:
            return
        effects = open_effects(self._stores)
        try:
            for until, purges in sorted(self._purges.items()):
                effects.purge([purge.strand_id for purge in purges], until)
        finally:
            effects.close()
        identity = open_identity(self._stores, self._rules, self._shards)
        try:
            for until, purges in sorted(self._purges.items()):
                identity.purge([StrandKey(purge.primary, purge.login) for purge in purges], until)
        finally:
            identity.close()
