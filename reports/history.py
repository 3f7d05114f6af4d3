"""History to be folded again: every person's events, from the log of OUT or from event files, as a run has them.

Input: OUT, or files. Output: persons with their events and strands, and the horizon. Links are resolved and strands are
folded by the pipeline's own pure code; nothing is written. Times: UTC microseconds of event time. Memory holds every
event, packed, about half a kilobyte each. Errors: ``InputError``, ``OutputError``. State: none.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pyarrow.parquet as pq

from contracts import wire
from contracts.errors import InputError, OutputError
from contracts.event import Event, Identifier
from contracts.exchange import ErasedMark, ShardInput, StrandEvent
from transforms.avro_file import Damage, read_events
from transforms.dead_letter import DeadLetterBox
from transforms.identity.evidence import LinkBook
from transforms.identity.graph import Links
from transforms.identity.resolve import Resolution, Tombstones, resolve_collected
from transforms.identity.rules import IdentityRules
from transforms.identity.strands import fold_shard
from transforms.inputs import list_inputs, open_file
from transforms.keys import KEY_BYTES
from transforms.protect import Protector, Pseudonymiser
from transforms.tables.log import placed, read_log
from transforms.tables.output import OutputFolder
from transforms.tables.part_names import parts_in
from transforms.validate import Validator, flagged, without_reserved

_BOOK_LIMIT = 50_000


@dataclass(frozen=True)
class History:
    """Everybody's events.

    Attributes:
        persons: person to packed events, each with its strand.
        events: how many events count.
        horizon: the greatest event time.
        left_out: events that a run turns away, that are copies, or that are nobody's.
        identity: who is who, by the links of these events.
    """

    persons: Mapping[str, Sequence[tuple[bytes, str]]]
    events: int
    horizon: int
    left_out: int
    identity: Resolution

    def of(self, person: str) -> list[tuple[Event, str]]:
        """A person's events, each with its strand."""
        return [(wire.unpack(Event, packed), strand) for packed, strand in self.persons[person]]


def history_of_output(
    folder: OutputFolder,
    rules: IdentityRules,
    tombstones: Tombstones,
    marks: Sequence[ErasedMark],
    known_by: int | None = None,
) -> History:
    """The events of OUT's log, under the identity rules given.

    ``known_by``: only those that had happened and had been received by then, UTC microseconds.

    Raises:
        OutputError: OUT has no log, or it cannot be read.
    """
    parts = parts_in(folder.log)
    if not parts:
        raise OutputError(f"{folder.root} holds no event to replay", hint="a run or a stream has to have been there")
    gone = {
        tuple(row.values())
        for part in parts_in(folder.log_erased)
        for row in pq.read_table(part).to_pylist()
    }  # fmt: skip
    book = _Book(rules)
    # the log is a set: while its parts are being merged, and for a while after, an event lies in two of them
    seen: set[StrandEvent] = set()
    for part in parts:
        for stored in read_log(part):
            if stored in seen:
                continue
            seen.add(stored)
            if known_by is not None and max(stored.event_time, stored.received_time) > known_by:
                continue
            if (stored.event_id, *stored.primary) in gone:
                book.left_out += 1
                continue
            found = placed(stored, rules)
            if found is None:
                book.left_out += 1
            else:
                book.take(found.event.identifiers, found.event.name, found.stored)
    return book.history(tombstones, marks, str(folder.root))


def history_of_files(patterns: Sequence[str], rules: IdentityRules, validator: Validator) -> History:
    """The events of files, with pseudonyms under a key that nobody keeps.

    Raises:
        InputError: nothing is found, or no event of it counts.
    """
    book = _Book(rules)
    protector = Protector(rules, Pseudonymiser(secrets.token_bytes(KEY_BYTES)))
    for name in list_inputs(patterns):
        with open_file(name) as stream:
            for event in read_events(stream):
                if isinstance(event, Damage):
                    book.left_out += 1
                    continue
                verdict = validator.check(event)
                if verdict.reason is not None:
                    book.left_out += 1
                    continue
                protected = protector.protect(flagged(without_reserved(event), verdict.flags), event.source)
                if protected is None:
                    book.left_out += 1
                else:
                    book.take(protected.place.identifiers, event.name, protected.event)
    return book.history({}, (), ", ".join(patterns))


class _Book:
    """Events by their primary identifier, and the links they are evidence for."""

    def __init__(self, rules: IdentityRules) -> None:
        self._rules = rules
        self._links, self._evidence = Links(rules), LinkBook(rules)
        self._events: list[StrandEvent] = []
        self.left_out = 0

    def take(self, identifiers: Sequence[Identifier], name: str, event: StrandEvent) -> None:
        self._evidence.observe(identifiers, name, event.event_id, event.event_time, event.received_time)
        if len(self._evidence) >= _BOOK_LIMIT:
            self._links.add_all(self._evidence.drain())
        self._events.append(event)

    def history(self, tombstones: Tombstones, marks: Iterable[ErasedMark], where: str) -> History:
        self._links.add_all(self._evidence.drain())
        resolution = resolve_collected(self._links, self._rules, tombstones)
        given = ShardInput(tuple(self._events), tuple(resolution.assignments()), tuple(marks))
        self._events.clear()
        # whatever is rejected is only counted, so its letters need a key that nobody has
        box = DeadLetterBox(secrets.token_bytes(KEY_BYTES))
        folded = fold_shard([given], box, carries=self._rules.carries())
        persons: dict[str, list[tuple[bytes, str]]] = defaultdict(list)
        for record in folded.records:
            if record.events:
                persons[record.person_id].extend((event, record.strand_id) for event in record.events)
        count = sum(map(len, persons.values()))
        if not count:
            raise InputError(f"{where} holds no event that counts")
        horizon = max(_times(persons))
        left_out = self.left_out + len(given.events) - count
        return History(dict(sorted(persons.items())), count, horizon, left_out, resolution)


def _times(persons: Mapping[str, Sequence[tuple[bytes, str]]]) -> Iterator[int]:
    for events in persons.values():
        for packed, _ in events:
            yield wire.unpack(Event, packed).event_time
