"""Rows of a person that are new or changed against what was stated before, and tombstones of keys that vanished. Pure.

Input: what a ``Part`` made of a journey, and what was stated of it (``Stated``). Output: rows on a ``Sheet``, which
becomes ``StatedRows`` of one revision. Time domain: event time, microseconds; revisions are wall clock. Errors: none.
State: ``Stated`` holds a hash a row, in 16 bytes where there is one an event, for as long as a machine is kept; what a
record has without a machine is taken as stated as it would be folded.

``sequence`` of events, sessions and outcomes is the version of their strand (of a session, of its first event's
strand), so that of two persons that state a key the one who has the strand wins; a vanished session or outcome is
deleted under the version that took its strand. Events are deleted only when they were erased: else they are another
person's, who states them. Rows of the person alone have sequence 0.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from contracts import wire
from contracts.exchange import Label, StatedRows
from contracts.tables import (
    DECISIONS,
    DEVICE_SESSIONS,
    EVENTS,
    JOURNEYS,
    LABELS,
    OUTCOMES,
    PERSONS,
    SESSIONS,
    TRANSITIONS,
    Table,
)
from transforms.journey.fold import Step
from transforms.journey.journey_rows import event_row, feature_provenance, journey_row
from transforms.journey.live.machine import Machine, Part
from transforms.journey.live.marks import Marks
from transforms.journey.live.messages import PersonRecord
from transforms.tables import rows

Stated = dict[str, MutableMapping[Any, int]]
"""Of one person: table, key, hash of the row. Where keys are numbers, it is kept in ``Marks``."""

_Keyed = tuple[Hashable, int, rows.Row]
"""Key within the person, sequence, row."""


UNSURE = -1
"""No row has this hash: the key was stated, who knows how."""


class Sheet:
    """The rows of a batch, by table."""

    def __init__(self) -> None:
        self._rows: dict[str, list[list[Any]]] = {}

    def add(self, table: Table, sequence: int, row: Sequence[Any]) -> None:
        self._of(table).append([sequence, False, *row])

    def delete(self, table: Table, sequence: int, key: Sequence[Any]) -> None:
        """A tombstone; ``key`` in the order of ``table.key``."""
        named = dict(zip(table.key, key, strict=True))
        self._of(table).append([sequence, True, *(named.get(column.name) for column in table.columns)])

    def _of(self, table: Table) -> list[list[Any]]:
        return self._rows.setdefault(table.name, [])

    def stated(self, revision: int) -> list[StatedRows]:
        """All rows, a ``StatedRows`` a table."""
        return [StatedRows(table, revision, wire.pack(found)) for table, found in self._rows.items()]


class Stating:
    """States rows.

    Args:
        features, scores: the tables that depend on declarations.
    """

    def __init__(self, features: Table, scores: Table) -> None:
        self._features = features
        self._scores = scores

    def state(
        self, sheet: Sheet | None, machine: Machine, record: PersonRecord, stated: Stated, labels: Iterable[Label]
    ) -> None:
        """State what the last part made; without a sheet it only counts as stated."""
        for table, found in self._tables(machine, machine.part, record, labels):
            known = self._known(stated, table)
            for key, sequence, row in found:
                mark = hash(row)
                if known.get(key) != mark:
                    known[key] = mark
                    if sheet is not None:
                        sheet.add(table, sequence, row)
                    elif table is JOURNEYS:
                        known[key] = UNSURE  # it holds the horizon, of which the last statement is not known

    def state_whole(
        self,
        sheet: Sheet,
        machine: Machine,
        record: PersonRecord,
        stated: Stated,
        labels: Iterable[Label],
        old: Machine | None,
        erased: Sequence[tuple[str, str]],
    ) -> None:
        """State a journey that was folded again: what differs from ``stated``, and tombstones.

        Args:
            stated: of the machine before; it becomes that of this one.
            old: the machine before, if there was one.
            erased: (event_id, strand) of events that were erased.
        """
        before = {table: set(known) for table, known in stated.items()}
        for table, found in self._tables(machine, machine.part, record, labels):
            known = self._known(stated, table)
            gone = before.get(table.name, set())
            for key, sequence, row in found:
                gone.discard(key)
                mark = hash(row)
                if known.get(key) != mark:
                    known[key] = mark
                    sheet.add(table, sequence, row)
        self._delete(sheet, machine.person_id, record, stated, before, old, erased)

    def retire(
        self,
        sheet: Sheet,
        person_id: str,
        record: PersonRecord,
        stated: Stated,
        old: Machine,
        erased: Sequence[tuple[str, str]],
    ) -> None:
        """Take back everything that a person without events had stated."""
        before = {table: set(known) for table, known in stated.items()}
        self._delete(sheet, person_id, record, stated, before, old, erased)

    def erase(self, sheet: Sheet, record: PersonRecord, stated: Stated, erased: Sequence[tuple[str, str]]) -> None:
        """Delete events that were erased, whoever stated them; but not what the person has on another strand too."""
        kept = stated.get(EVENTS.name, {})
        for event_id, strand_id in erased:
            if key_of_event(event_id) not in kept:
                sheet.delete(EVENTS, record.version_of(strand_id), (event_id,))

    def _delete(
        self,
        sheet: Sheet,
        person_id: str,
        record: PersonRecord,
        stated: Stated,
        gone: Mapping[str, set[Hashable]],
        old: Machine | None,
        erased: Sequence[tuple[str, str]],
    ) -> None:
        for name, keys in gone.items():
            known = stated[name]
            for key in keys:
                del known[key]
        self.erase(sheet, record, stated, erased)
        if old is None:
            return
        for name in (JOURNEYS.name, PERSONS.name):
            if gone.get(name):
                sheet.delete(JOURNEYS if name == JOURNEYS.name else PERSONS, 0, (person_id,))
        for table in (self._features, self._scores):
            for key in _sorted(gone, table):
                sheet.delete(table, 0, (person_id, key))
        for at, to_stage in _sorted(gone, TRANSITIONS):
            sheet.delete(TRANSITIONS, 0, (person_id, at, to_stage))
        for table in (SESSIONS, DEVICE_SESSIONS):
            for session_id, strand_id in _sorted(gone, table):
                sheet.delete(table, record.version_of(strand_id), (session_id,))
        lost = gone.get(OUTCOMES.name, ())
        for outcome in old.fold.outcomes if lost else ():
            if outcome.outcome_id in lost:
                sheet.delete(OUTCOMES, record.version_of(outcome.anchor_strand), (outcome.outcome_id,))
        # A label goes with its strand, except when what it labels was erased.
        for key in _sorted(gone, LABELS) if erased else ():
            sheet.delete(LABELS, 0, (key,))

    def _known(self, stated: Stated, table: Table) -> MutableMapping[Any, int]:
        known = stated.get(table.name)
        if known is None:
            an_event = table is EVENTS or table is self._features or table is self._scores
            known = stated[table.name] = Marks() if an_event else {}
        return known

    # --- rows ---------------------------------------------------------------------------------------------------

    def _tables(
        self, machine: Machine, part: Part, record: PersonRecord, labels: Iterable[Label]
    ) -> Iterator[tuple[Table, Iterable[_Keyed]]]:
        person = machine.person_id
        yield EVENTS, self._events(machine, part, record)
        for table, found, row_of in (
            (SESSIONS, part.sessions, rows.session_row),
            (DEVICE_SESSIONS, part.strand_sessions, rows.device_session_row),
        ):
            own = table is DEVICE_SESSIONS
            sessions = machine.fold.sessions.rows(person, machine.horizon, 0, found, of_strand=own)
            yield (
                table,
                [
                    ((session.session_id, session.strand_id), record.version_of(session.strand_id), row_of(session))
                    for session in sessions
                ],
            )
        yield TRANSITIONS, (((move.at, move.to_stage), 0, rows.transition_row(move)) for move in part.transitions)
        outcomes = {outcome.outcome_id: outcome for outcome in part.outcomes}
        yield (
            OUTCOMES,
            (
                (name, record.version_of(outcome.anchor_strand), rows.outcome_row(outcome))
                for name, outcome in outcomes.items()
            ),
        )
        steps = machine.fold.steps
        yield (
            self._features,
            (
                (point.at, 0, (person, point.at, point.created, *point.vector, *feature_provenance(steps, point)))
                for point in part.points
            ),
        )
        yield (
            self._scores,
            (
                (point.at, 0, (person, point.at, version, *found))
                for point, version, found in zip(part.points, part.versions, part.probabilities, strict=False)
                if version is not None
            ),
        )
        yield LABELS, ((label.decision_id, 0, rows.label_row(label)) for label in labels)
        standing, intents, signals = machine.standing()
        last = machine.fold.points[-1]
        row = journey_row(machine.ontology, person, last, standing, intents, signals, machine.horizon)
        yield JOURNEYS, ((None, 0, row),)
        yield PERSONS, ((None, 0, (person, machine.fold.began, machine.last_time, True, None)),)

    @staticmethod
    def _events(machine: Machine, part: Part, record: PersonRecord) -> Iterator[_Keyed]:
        """One event_id sent for two devices is one row, that of the least strand (docs/adr/0007)."""
        found: dict[str, Step] = {}
        for step in part.steps:
            other = found.setdefault(step.event.event_id, step)
            if other is not step and step.strand_id < other.strand_id:
                found[step.event.event_id] = step
        for name, step in found.items():
            yield key_of_event(name), record.version_of(step.strand_id), event_row(machine.person_id, step)


def decisions_sheet(sheet: Sheet, decisions: Iterable[Any]) -> None:
    """State decisions: each was claimed once, and says itself whose it was."""
    for decision in decisions:
        sheet.add(DECISIONS, 0, rows.decision_row(decision))


def key_of_event(event_id: str) -> int:
    """By which a stated event is known. Should two ever have the same, the journey is folded again: no row is wrong."""
    return hash(event_id)


def _sorted(gone: Mapping[str, set[Hashable]], table: Table) -> list[Any]:
    found: list[Any] = list(gone.get(table.name, ()))
    found.sort()
    return found
