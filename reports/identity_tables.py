"""Identity as the tables of OUT hold it: edges, the links behind them, and the events of strands.

No Beam. Input: ``JourneyTables`` and the identity rules in force. Output: ``EdgeRow``, ``Link`` and events, as
``transforms.identity`` asks for them. Times: UTC microseconds of event time. Errors: ``OutputError``. State: none.

The ledger of edges holds every link of two identifiers. What it does not hold is found elsewhere: an identifier that
was seen alone, in ``identifiers``; the logouts of a device, among its events.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from contracts.event import Identifier
from contracts.exchange import Link, StrandEvent
from reports.lookup import JourneyTables, Row
from transforms.identity.ids import strand_id
from transforms.identity.resolve import EdgeRow
from transforms.identity.rules import IdentityRules, StrandKey

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LINKED = "left_value = ANY(?) OR right_value = ANY(?)"


def micros(moment: datetime) -> int:
    """UTC microseconds of a time of the tables."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


class IdentityTables:
    """Edges, identifiers and events of OUT, by identifier.

    Args:
        tables: the tables.
        rules: the identity rules in force.
    """

    def __init__(self, tables: JourneyTables, rules: IdentityRules) -> None:
        self.tables = tables
        self.rules = rules

    def holder(self, identifier: Identifier) -> str | None:
        """The person who holds an identifier; None when OUT does not know it."""
        row = self.tables.first("identifiers", "namespace = ? AND value = ?", [*identifier])
        return None if row is None else str(row["person_id"])

    def holders(self, identifiers: Collection[Identifier]) -> dict[Identifier, str]:
        """The person of each identifier that OUT knows."""
        rows = self.tables.rows("identifiers", "value = ANY(?)", [sorted({i.value for i in identifiers})])
        return {Identifier(row["namespace"], row["value"]): row["person_id"] for row in rows}

    def horizon(self) -> int | None:
        """The time up to which journeys are folded; None when there are none."""
        rows = self.tables.rows("journeys", "TRUE", order="horizon DESC", limit=1)
        return micros(rows[0]["horizon"]) if rows else None

    def members(self, person_id: str) -> list[Identifier]:
        """The identifiers of a person, in the order in which they were first seen."""
        rows = self.tables.rows("identifiers", "person_id = ?", [person_id], order="first_seen, namespace, value")
        return [Identifier(row["namespace"], row["value"]) for row in rows]

    def edges_of(self, identifiers: Collection[Identifier]) -> list[EdgeRow]:
        """Every edge with one of these as an end."""
        values = sorted({identifier.value for identifier in identifiers})
        rows = self.tables.rows("edges", _LINKED, [values, values])
        found = map(_edge, rows)
        return [edge for edge in found if edge.left in identifiers or edge.right in identifiers]

    def links_of(self, identifiers: Collection[Identifier]) -> Iterator[Link]:
        """Every link with one of these as an end: ``whatif.Fetch``."""
        asked = frozenset(identifiers)
        edges = self.edges_of(asked)
        seen: dict[Identifier, list[int]] = {}
        for edge in edges:
            yield _link(edge)
            for end in {edge.left, edge.right} & asked:
                held = seen.setdefault(end, [edge.first_time, edge.last_time])
                held[:] = min(held[0], edge.first_time), max(held[1], edge.last_time)
        yield from self._alone(asked, seen)

    def _alone(self, asked: frozenset[Identifier], seen: Mapping[Identifier, Sequence[int]]) -> Iterator[Link]:
        """Sightings of one identifier by itself, before or after it was seen with others."""
        values = sorted({identifier.value for identifier in asked})
        for row in self.tables.rows("identifiers", "value = ANY(?)", [values]):
            identifier = Identifier(row["namespace"], row["value"])
            first, last = micros(row["first_seen"]), micros(row["last_seen"])
            edge_first, edge_last = seen.get(identifier, (last + 1, first - 1))
            if identifier in asked and (first < edge_first or last > edge_last):
                start = first if first < edge_first else last
                yield Link(identifier, None, start, "", max(last, start), "", start)

    # --- events ---------------------------------------------------------------------------------------------------

    def counts(self, strands: Collection[StrandKey]) -> Mapping[StrandKey, int]:
        """How many events each strand has: ``whatif.EventSource``."""
        ids = {strand_id(*key): key for key in strands}
        found: defaultdict[StrandKey, int] = defaultdict(int)
        for strand, number in self.tables.counts("events", "strand_id", sorted(ids)).items():
            found[ids[strand]] += number
        return found

    def on_device(self, device: Identifier, logins: Collection[Identifier]) -> Sequence[StrandEvent]:
        """The events of a device, without a login and with each of these: ``whatif.EventSource``."""
        ids = {strand_id(device, login): login for login in (None, *logins)}
        rows = self.tables.rows("events", "strand_id = ANY(?)", [sorted(ids)], order="event_time, event_id")
        return [
            StrandEvent(
                row["event_id"],
                micros(row["event_time"]),
                micros(row["received_time"]),
                row["source"],
                device,
                ids[row["strand_id"]],
                b"",
                logout=self.rules.is_logout(row["name"]),
            )
            for row in rows
        ]


def _edge(row: Row) -> EdgeRow:
    left = Identifier(row["left_namespace"], row["left_value"])
    right = Identifier(row["right_namespace"], row["right_value"])
    namespace, _, value = (row["conflict"] or "").partition(":")
    return EdgeRow(
        left,
        right,
        row["kind"],
        row["accepted"],
        row["status"],
        row["rule"],
        Identifier(namespace, value) if row["conflict"] else None,
        micros(row["first_time"]),
        row["first_event_id"],
        micros(row["last_time"]),
        row["last_event_id"],
        micros(row["received_time"]),
        row["rules_version"],
    )


def _link(edge: EdgeRow) -> Link:
    return Link(
        edge.left,
        edge.right,
        edge.first_time,
        edge.first_event_id,
        edge.last_time,
        edge.last_event_id,
        edge.received_time,
        kind=edge.kind,
    )
