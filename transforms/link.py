"""Link: all links of a run to assignments and identity rows. The bounded host.

Contract: ``LinkBatch`` in; (strand shard, packed ``ShardInput`` of assignments) and (part, ``IdentityRows``) out.
Resolution itself is ``transforms.identity.resolve``, which knows no Beam. State: none outside a bundle. Time: event
time in microseconds.

No worker holds all links. They are merged per pair where they arise and kept by the hash of their left end; one worker
sees all pairs as two numbers each and says which identifiers belong together (``transforms.identity.components``), in
about 140 bytes a pair; the links then go to the part of their component, and each part is resolved by itself.
docs/adr/0011 says what that means at ten million and at a billion identifiers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import pvalue, typehints
from apache_beam.transforms.window import GlobalWindow, GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from contracts import coders, wire
from contracts.event import Event, Identifier
from contracts.exchange import ERASED, SEEN, UNLINK, Assignment, ErasedMark, IdentityRows, Link, LinkBatch, ShardInput
from transforms.identity.components import Placement, hash_of, pack_pairs, pairs_of, place, reach, unpack, unpack_reach
from transforms.identity.erasing import erased_pairs
from transforms.identity.evidence import FirstAfter, LinkBook, link_batches
from transforms.identity.graph import NEVER, Links
from transforms.identity.ids import DEFAULT_SHARDS, shard_of
from transforms.identity.resolve import Resolution, Tombstones, resolve_collected
from transforms.identity.rules import IdentityRules
from transforms.stores.database import StoreAddress
from transforms.stores.identity import IdentityStore, open_identity

ROWS, PAIRS, CROWD, REQUESTS, REACH = "rows", "pairs", "crowd", "requests", "reach"
_LINKS, _PLACEMENT = b"L", b"P"
"""What comes together for a shard, told apart by its first byte: both are bytes, so that nothing is pickled."""
_BOOK_LIMIT = 50_000
_ROW_BATCH = 10_000
_ASSIGNMENT_BATCH = 1_000
_ONE_KEY = b""


class Resolved(NamedTuple):
    """``assignments`` are (strand shard, packed ``ShardInput``), ``rows`` are (part, ``IdentityRows``)."""

    assignments: beam.PCollection[tuple[bytes, bytes]]
    rows: beam.PCollection[tuple[bytes, IdentityRows]]


def _key(number: int) -> bytes:
    return number.to_bytes(4, "big")


class MergeLinks(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """Batches of links to (shard of the left end, packed LinkBatch), merged per pair within a bundle.

    Tag ``pairs``: the hashes of their ends. Tag ``requests``: those that ask for erasure.
    """

    def __init__(self, rules: IdentityRules, shards: int) -> None:
        self._rules = rules
        self._shards = shards

    def start_bundle(self) -> None:
        self._book = LinkBook(self._rules)

    def process(self, batch: LinkBatch) -> Iterator[Any]:
        for link in batch.links:
            self._book.add(link)
        if len(self._book) >= _BOOK_LIMIT:
            yield from self._drain()

    def finish_bundle(self) -> Iterator[Any]:
        window = GlobalWindow()
        for made in self._drain():
            if isinstance(made, pvalue.TaggedOutput):
                value = WindowedValue(made.value, window.max_timestamp(), [window])
                yield pvalue.TaggedOutput(made.tag, value)
            else:
                yield WindowedValue(made, window.max_timestamp(), [window])

    def _drain(self) -> Iterator[Any]:
        by_shard: dict[int, list[Link]] = {}
        left, right, unlinked = list[int](), list[int](), (list[int](), list[int]())
        for link in self._book.drain():
            if link.erase_before is not None and (link.kind != ERASED or link.right is None):
                yield pvalue.TaggedOutput(REQUESTS, link)
            hashed = hash_of(link.left)
            by_shard.setdefault(hashed % self._shards, []).append(link)
            if link.right is not None:
                lefts, rights = unlinked if link.kind == UNLINK else (left, right)
                lefts.append(hashed)
                rights.append(hash_of(link.right))
        yield pvalue.TaggedOutput(PAIRS, (_ONE_KEY, pack_pairs(left, right, unlinked)))
        for shard, links in sorted(by_shard.items()):
            for batch in link_batches(links):
                yield _key(shard), _LINKS + wire.pack_compressed(batch)


class FindComponents(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """All pairs of hashes to (shard of left ends, packed placement), one for every shard.

    Tag ``crowd``: who is crowded, as a placement of nothing else. Tag ``reach``: of whom the requests for erasure, a
    side input, may take something.
    """

    def __init__(self, rules: IdentityRules, shards: int) -> None:
        self._crowd = rules.crowd
        self._shards = shards

    def process(
        self, element: tuple[bytes, Iterable[bytes]], requests: list[Link]
    ) -> Iterator[tuple[bytes, bytes] | pvalue.TaggedOutput]:
        pairs = pairs_of(element[1])
        asked = [(hash_of(request.left), until) for request in requests if (until := request.erase_before) is not None]
        yield pvalue.TaggedOutput(REACH, reach(pairs, self._crowd, asked).pack())
        placements = place(pairs, self._crowd, self._shards, self._shards)
        yield pvalue.TaggedOutput(CROWD, placements[0].crowd_alone().pack())
        for number, placement in enumerate(placements):
            yield _key(number), _PLACEMENT + placement.pack()


class FindFirstAfter(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """Events, and how far erasures may reach, to (shard of the left end, packed LinkBatch) of what links begin with.

    Links are merged before anybody knows what is erased, so the events are looked at a second time, those of whom
    something may be erased. Without a request nothing is looked at.
    """

    def __init__(self, rules: IdentityRules, shards: int) -> None:
        self._rules = rules
        self._shards = shards
        self._packed = b""

    def start_bundle(self) -> None:
        self._book: FirstAfter | None = None

    def process(self, element: tuple[bytes, bytes], packed: bytes) -> Iterator[tuple[bytes, bytes]]:
        if packed != self._packed:
            found, self._packed = unpack_reach(packed), packed
            self._times_of = lru_cache(_BOOK_LIMIT)(lambda identifier: found.times_of(hash_of(identifier)))
            self._is_any = bool(found.times)
        if not self._is_any:
            return
        if self._book is None:
            self._book = FirstAfter(self._rules, self._times_of)
        for stored in wire.unpack_compressed(ShardInput, element[1]).events:
            if self._book.concerns(stored.login or stored.primary, stored.event_time):
                event = wire.unpack(Event, stored.event)
                self._book.observe(
                    event.identifiers, event.name, stored.event_id, event.event_time, event.received_time
                )
        if len(self._book) >= _BOOK_LIMIT:
            yield from self._drain()

    def finish_bundle(self) -> Iterator[Any]:
        for made in self._drain():
            yield GlobalWindows.windowed_value(made)

    def _drain(self) -> Iterator[tuple[bytes, bytes]]:
        by_shard: dict[int, list[Link]] = {}
        for link in self._book.drain() if self._book is not None else ():
            by_shard.setdefault(hash_of(link.left) % self._shards, []).append(link)
        for shard, links in sorted(by_shard.items()):
            for batch in link_batches(links):
                yield _key(shard), _LINKS + wire.pack_compressed(batch)


class RouteLinks(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """Links and the placement of a shard to (part, LinkBatch). What a crowded end did goes to its home as well."""

    def process(self, element: tuple[bytes, Iterable[bytes]]) -> Iterator[tuple[bytes, LinkBatch]]:
        batches: list[bytes] = []
        placement: Placement | None = None
        for content in element[1]:
            if content.startswith(_PLACEMENT):
                placement = unpack(content[len(_PLACEMENT) :])
            else:
                batches.append(content)
        assert placement is not None  # there is one for every shard
        by_part: dict[int, list[Link]] = {}
        for batch in batches:
            for link in wire.unpack_compressed(LinkBatch, batch[len(_LINKS) :]).links:
                for part, sent in route(link, placement):
                    by_part.setdefault(part, []).append(sent)
        for part, links in sorted(by_part.items()):
            for some in link_batches(links):
                yield _key(part), some


def route(link: Link, placement: Placement) -> Iterator[tuple[int, Link]]:
    """Where a link is needed: in the part of its component, and at home for what it says of a crowded end alone."""
    left = hash_of(link.left)
    if not len(placement.crowded) or link.right is None:
        yield placement.part_of(left), link
        return
    right = hash_of(link.right)
    crowded_left, crowded_right = placement.is_crowded(left), placement.is_crowded(right)
    yield placement.part_of(right if crowded_left and not crowded_right else left), link
    for end, hashed, crowded in ((link.left, left, crowded_left), (link.right, right, crowded_right)):
        if crowded:
            yield hashed % placement.parts, alone(link, end)


def alone(link: Link, end: Identifier) -> Link:
    """What a link says of one of its ends."""
    return Link(
        end,
        None,
        link.first_time,
        link.first_event_id,
        link.last_time,
        link.last_event_id,
        link.received_time,
        link.erase_before if end == link.left else None,
        ERASED if link.kind == ERASED else SEEN,
    )


class ResolveLinks(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """The links of a part to assignments (main output) and rows (tag ``rows``), and into the identity store.

    The store takes them again without harm, so a retry, or a run that dies before its commit, leaves it right.

    Side inputs: who is crowded, and the requests of erasure: those of a crowded identifier concern each part that has a
    strand of it.
    """

    _identity: IdentityStore | None = None

    def __init__(self, rules: IdentityRules, shards: int, sequence: int, store: StoreAddress | None) -> None:
        self._rules = rules
        self._shards = shards
        self._sequence = sequence
        self._store = store

    def start_bundle(self) -> None:
        if self._store is not None:
            self._identity = open_identity(self._store, self._rules, self._shards)

    def finish_bundle(self) -> None:
        # a bounded run has few, long bundles; later stages need the memory of the connection
        if self._identity is not None:
            self._identity.close()
            self._identity = None

    def process(
        self, element: tuple[bytes, Iterable[LinkBatch]], crowd: bytes, requests: list[Link]
    ) -> Iterator[tuple[bytes, bytes] | pvalue.TaggedOutput]:
        part, batches = element
        earliest = min((until for request in requests if (until := request.erase_before) is not None), default=NEVER)
        links = Links(self._rules, earliest)
        for batch in batches:
            links.add_all(batch.links)
        crowded = self._crowded(links, crowd, int.from_bytes(part, "big"))
        if crowded:
            links.add_all(alone(request, request.left) for request in requests if crowded.get(request.left) is False)
        resolution = resolve_collected(links, self._rules, crowded=crowded)
        if self._identity is not None:
            self._identity.load(links, resolution, crowded)
        yield from batch_assignments(resolution.assignments(self._sequence), self._shards)
        for rows in batch_rows(resolution):
            yield pvalue.TaggedOutput(ROWS, (part, rows))

    @staticmethod
    def _crowded(links: Links, packed: bytes, part: int) -> dict[Identifier, bool]:
        """The crowded identifiers among the links, and whether this part is their home."""
        placement = unpack(packed)
        if not len(placement.crowded):
            return {}
        hashes = ((identifier, hash_of(identifier)) for identifier in links.identifiers)
        return {i: hashed % placement.parts == part for i, hashed in hashes if placement.is_crowded(hashed)}


def batch_assignments(assignments: Iterable[Assignment], shards: int) -> Iterator[tuple[bytes, bytes]]:
    """Assignments in packed batches per strand shard."""
    open_batches: dict[bytes, list[Assignment]] = {}
    for assignment in assignments:
        shard = shard_of(assignment.primary, shards)
        batch = open_batches.setdefault(shard, [])
        batch.append(assignment)
        if len(batch) >= _ASSIGNMENT_BATCH:
            yield shard, wire.pack_compressed(ShardInput(assignments=tuple(open_batches.pop(shard))))
    for shard, batch in sorted(open_batches.items()):
        yield shard, wire.pack_compressed(ShardInput(assignments=tuple(batch)))


def batch_rows(resolution: Resolution) -> Iterator[IdentityRows]:
    """The rows of a resolution, in batches of one kind."""
    edges = (edge.columns() for edge in resolution.edges())
    erasures = ((*identifier, until) for identifier, until in resolution.erasures())
    kinds: tuple[tuple[Iterable[Any], Callable[[tuple[Any, ...]], IdentityRows]], ...] = (
        (resolution.identifiers(), lambda rows: IdentityRows(identifiers=rows)),
        (resolution.persons(), lambda rows: IdentityRows(persons=rows)),
        (edges, lambda rows: IdentityRows(edges=rows)),
        (erasures, lambda rows: IdentityRows(erasures=rows)),
    )
    for rows, wrap in kinds:
        source = iter(rows)
        while some := tuple(islice(source, _ROW_BATCH)):
            yield wrap(some)


class ResolveIdentity(beam.PTransform):  # type: ignore[misc]  # Beam's base class is untyped
    """Links to persons: ``PCollection[LinkBatch]`` in, ``Resolved`` out.

    Args:
        rules: the identity rules.
        shards: strand shards; the same number as events are keyed by.
        sequence: of the assignments; grows from run to run.
        tombstones: what earlier runs erased (``IdentityRows.erasures``).
        store: where the identity store is, which a stream takes over from; None writes to none.
        marks: of events that earlier runs erased on devices that are carried (``ShardResult.marks``).
        events: (strand shard, packed ``ShardInput``) of the events whose links these are, of which something may be
            erased; None where each link comes as a link of its own for every event.
    """

    def __init__(
        self,
        rules: IdentityRules,
        shards: int = DEFAULT_SHARDS,
        sequence: int = 1,
        tombstones: Tombstones | None = None,
        store: StoreAddress | None = None,
        marks: Iterable[ErasedMark] = (),
        events: beam.PCollection[tuple[bytes, bytes]] | None = None,
    ) -> None:
        super().__init__()
        self._rules = rules
        self._shards = shards
        self._store = store
        self._sequence = sequence
        self._events = events
        self._tombstones = [
            Link(identifier, None, until, "", until, "", until, until, ERASED)
            for identifier, times in sorted((tombstones or {}).items())
            for until in sorted(times)
        ]
        self._tombstones += erased_pairs(marks)

    def expand(self, links: beam.PCollection[LinkBatch]) -> Resolved:
        coders.register()
        erasures = beam.Create(list(link_batches(self._tombstones)), reshuffle=False)
        tombstones = links.pipeline | "Erasures" >> erasures.with_output_types(LinkBatch)
        merged = (
            (links, tombstones)
            | "WithErasures" >> beam.Flatten()
            | "MergeLinks"
            >> beam.ParDo(MergeLinks(self._rules, self._shards)).with_outputs(PAIRS, REQUESTS, main="links")
        )
        merged.links.element_type = typehints.KV[bytes, bytes]
        merged[PAIRS].element_type = typehints.KV[bytes, bytes]
        merged[REQUESTS].element_type = Link
        placements = (
            merged[PAIRS]
            | "AllPairs" >> beam.GroupByKey()
            | "FindComponents"
            >> beam.ParDo(FindComponents(self._rules, self._shards), pvalue.AsList(merged[REQUESTS])).with_outputs(
                CROWD, REACH, main="placements"
            )
        )
        placements.placements.element_type = typehints.KV[bytes, bytes]
        placements[CROWD].element_type = bytes
        placements[REACH].element_type = bytes
        to_place = [merged.links, placements.placements]
        if self._events is not None:
            first = self._events | "FindFirstAfter" >> beam.ParDo(
                FindFirstAfter(self._rules, self._shards), pvalue.AsSingleton(placements[REACH])
            )
            first.element_type = typehints.KV[bytes, bytes]
            to_place.append(first)
        placed = to_place | "WithPlaces" >> beam.Flatten()
        routed = placed | "ByLeftEnd" >> beam.GroupByKey() | "RouteLinks" >> beam.ParDo(RouteLinks())
        routed.element_type = typehints.KV[bytes, LinkBatch]
        resolved = (
            routed
            | "ByPart" >> beam.GroupByKey()
            | "Resolve"
            >> beam.ParDo(
                ResolveLinks(self._rules, self._shards, self._sequence, self._store),
                pvalue.AsSingleton(placements[CROWD]),
                pvalue.AsList(merged[REQUESTS]),
            ).with_outputs(ROWS, main="assignments")
        )
        resolved.assignments.element_type = typehints.KV[bytes, bytes]
        resolved[ROWS].element_type = typehints.KV[bytes, IdentityRows]
        return Resolved(resolved.assignments, resolved[ROWS])
