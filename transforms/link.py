"""Link: all links of a run, resolved at once, to assignments and identity rows. The bounded host.

Contract: ``Link`` in; (strand shard, ``ShardInput`` of assignments) and ``IdentityRows`` out. Resolution itself is
``transforms.identity.resolve``, which knows no Beam. Links are merged per pair where they arise, so that one worker
holds one link a pair, not one an event. State: none outside a bundle. Time: microseconds of event time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

import apache_beam as beam
from apache_beam import pvalue, typehints
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.windowed_value import WindowedValue

from contracts import coders
from contracts.event import Identifier
from contracts.exchange import Assignment, IdentityRows, Link, LinkBatch, ShardInput
from transforms.identity.evidence import LinkBook
from transforms.identity.graph import Links
from transforms.identity.ids import DEFAULT_SHARDS, shard_of
from transforms.identity.resolve import Resolution, resolve_collected
from transforms.identity.rules import IdentityRules

ROWS = "rows"
_BOOK_LIMIT = 50_000
_LINK_BATCH = 5_000
_ROW_BATCH = 10_000
_ASSIGNMENT_BATCH = 1_000
_ONE_KEY = b""


class Resolved(NamedTuple):
    """What the stage gives: ``assignments`` are (strand shard, ShardInput)."""

    assignments: beam.PCollection[tuple[bytes, ShardInput]]
    rows: beam.PCollection[IdentityRows]


class MergeLinks(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """Links to (one key, LinkBatch), merged per pair within a bundle, in a bounded book."""

    def __init__(self, rules: IdentityRules) -> None:
        self._rules = rules

    def start_bundle(self) -> None:
        self._book = LinkBook(self._rules)

    def process(self, link: Link) -> Iterator[tuple[bytes, LinkBatch]]:
        self._book.add(link)
        if len(self._book) >= _BOOK_LIMIT:
            yield from self._drain()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        window = GlobalWindow()
        for batch in self._drain():
            yield WindowedValue(batch, window.max_timestamp(), [window])

    def _drain(self) -> Iterator[tuple[bytes, LinkBatch]]:
        links = iter(self._book.drain())
        while some := tuple(islice(links, _LINK_BATCH)):
            yield _ONE_KEY, LinkBatch(some)


class ResolveLinks(beam.DoFn):  # type: ignore[misc]  # Beam's base class is untyped
    """All link batches to assignments (main output) and rows (tag ``rows``)."""

    def __init__(
        self,
        rules: IdentityRules,
        shards: int,
        sequence: int,
        tombstones: Mapping[Identifier, int],
    ) -> None:
        self._rules = rules
        self._shards = shards
        self._sequence = sequence
        self._tombstones = dict(tombstones)

    def process(
        self, element: tuple[bytes, Iterable[LinkBatch]]
    ) -> Iterator[tuple[bytes, ShardInput] | pvalue.TaggedOutput]:
        _, batches = element
        links = Links(self._rules)
        for batch in batches:
            links.add_all(batch.links)
        resolution = resolve_collected(links, self._rules, self._tombstones)
        yield from batch_assignments(resolution.assignments(self._sequence), self._shards)
        for rows in batch_rows(resolution):
            yield pvalue.TaggedOutput(ROWS, rows)


def batch_assignments(assignments: Iterable[Assignment], shards: int) -> Iterator[tuple[bytes, ShardInput]]:
    """Assignments in batches per strand shard."""
    open_batches: dict[bytes, list[Assignment]] = {}
    for assignment in assignments:
        shard = shard_of(assignment.primary, shards)
        batch = open_batches.setdefault(shard, [])
        batch.append(assignment)
        if len(batch) >= _ASSIGNMENT_BATCH:
            yield shard, ShardInput(assignments=tuple(open_batches.pop(shard)))
    for shard, batch in sorted(open_batches.items()):
        yield shard, ShardInput(assignments=tuple(batch))


def batch_rows(resolution: Resolution) -> Iterator[IdentityRows]:
    """The rows of a resolution, in batches of one kind."""
    edges = (
        (
            *edge.left,
            *edge.right,
            edge.kind,
            edge.accepted,
            edge.status,
            edge.rule,
            None if edge.conflict is None else ":".join(edge.conflict),
            edge.first_time,
            edge.first_event_id,
            edge.last_time,
            edge.last_event_id,
            edge.received_time,
            edge.rules_version,
        )
        for edge in resolution.edges()
    )
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
    """Links to persons: ``PCollection[Link]`` in, ``Resolved`` out.

    Args:
        rules: the identity rules.
        shards: strand shards; the same number as events are keyed by.
        sequence: of the assignments; grows from run to run.
        tombstones: what earlier runs erased (``IdentityRows.erasures``).
    """

    def __init__(
        self,
        rules: IdentityRules,
        shards: int = DEFAULT_SHARDS,
        sequence: int = 1,
        tombstones: Mapping[Identifier, int] | None = None,
    ) -> None:
        super().__init__()
        self._merge = MergeLinks(rules)
        self._resolve = ResolveLinks(rules, shards, sequence, tombstones or {})

    def expand(self, links: beam.PCollection[Link]) -> Resolved:
        coders.register()
        merged = links | "MergeLinks" >> beam.ParDo(self._merge)
        merged.element_type = typehints.KV[bytes, LinkBatch]
        resolved = (
            merged
            | "AllLinks" >> beam.GroupByKey()
            | "Resolve" >> beam.ParDo(self._resolve).with_outputs(ROWS, main="assignments")
        )
        resolved.assignments.element_type = typehints.KV[bytes, ShardInput]
        resolved[ROWS].element_type = IdentityRows
        return Resolved(resolved.assignments, resolved[ROWS])
