"""Trying other identity rules: the same events under two sets of rules, read once, nothing written.

Input: event files and two ``IdentityRules``. Output: ``Trial``. Memory holds links, strands and persons, as a run's
resolution does; of each event 26 bytes lie on disk until the end, parted so that one part is in memory at a time. Of
a device that is carried forward its events are held too. Times: UTC microseconds of event time. Errors:
``InputError``, ``OutputError``. State: none beyond the call.

An event counts once for its id and primary identifiers. Where one id came with several payloads, either may count;
and of a login and a logout on one device in one microsecond either may come first.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.event import Event, Identifier
from contracts.exchange import MIN_TIME, StrandEvent
from transforms.avro_file import Damage, read_events
from transforms.identity.carry import hands
from transforms.identity.compare import NOBODY, Difference, Flows
from transforms.identity.evidence import LinkBook
from transforms.identity.graph import Links
from transforms.identity.resolve import Resolution, Tombstones, resolve_collected
from transforms.identity.rules import IdentityRules, StrandKey
from transforms.inputs import open_file
from transforms.protect import Protector, Pseudonymiser
from transforms.validate import Validator

_PARTS = 64
_BUFFER = 20_000
_BOOK_LIMIT = 50_000
_NONE = -1
_RECORD = np.dtype(
    [("event", "<u8"), ("time", "<i8"), ("old", "<i4"), ("new", "<i4"), ("left_old", "?"), ("left_new", "?")]
)
Records = npt.NDArray[Any]


@dataclass(frozen=True)
class Side:
    """What one set of rules makes of the events.

    Attributes:
        rules: their version.
        persons: that have events.
        largest: the persons with most identifiers, and how many.
        refused: edges that do not hold, by (status, rule).
        demoted: identifiers that link nothing, and why.
        unusable: events without any usable identifier.
        erased: events erased on request.
    """

    rules: str
    persons: int
    largest: tuple[tuple[str, int], ...]
    refused: Mapping[tuple[str, str], int]
    demoted: Mapping[Identifier, str]
    unusable: int
    erased: int


@dataclass(frozen=True)
class Trial:
    """Two sets of rules over the same events. ``strands`` and ``moved_strands``: all, and those that change hands.

    ``events`` counts each once; ``copies`` are further sightings, ``rejected`` what a run would turn away before
    identity, ``damaged`` parts of files that gave no events.
    """

    before: Side
    after: Side
    difference: Difference
    events: int
    copies: int
    rejected: int
    damaged: int
    strands: int
    moved_strands: int


class _Spill:
    """Records of events on disk, parted by the hash of the event, so that copies of one lie together."""

    def __init__(self, folder: Path) -> None:
        self._files: list[IO[bytes]] = [(folder / f"{n:02d}").open("w+b") for n in range(_PARTS)]
        self._waiting: list[tuple[int, int, int, int, bool, bool]] = []

    def add(self, record: tuple[int, int, int, int, bool, bool]) -> None:
        self._waiting.append(record)
        if len(self._waiting) >= _BUFFER:
            self._write()

    def _write(self) -> None:
        records = np.array(self._waiting, dtype=_RECORD)
        self._waiting.clear()
        part = records["event"] % _PARTS
        for number in np.unique(part).tolist():
            self._files[number].write(records[part == number].tobytes())

    def parts(self) -> Iterator[Records]:
        """Each part without copies; of several the earliest counts."""
        if self._waiting:
            self._write()
        for file in self._files:
            file.seek(0)
            records = np.frombuffer(file.read(), dtype=_RECORD)
            file.seek(0, 2)
            order = np.lexsort((records["new"], records["old"], records["time"], records["event"]))
            records = records[order]
            yield records[np.flatnonzero(np.diff(records["event"], prepend=records["event"][:1] + 1))]

    def close(self) -> None:
        for file in self._files:
            file.close()


@dataclass
class _Reading:
    """One set of rules while the events are read: links, and a number for each strand."""

    rules: IdentityRules
    protector: Protector
    links: Links = field(init=False)
    book: LinkBook = field(init=False)
    numbers: dict[StrandKey, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.links, self.book = Links(self.rules), LinkBook(self.rules)

    def take(self, event: Event) -> StrandKey | None:
        """The strand of an event; None when none of its identifiers is usable."""
        place = self.protector.place_of(event)
        if place is None:
            return None
        self.book.observe(
            place.identifiers,
            event.name,
            self.protector.event_id(event.event_id),
            event.event_time,
            event.received_time,
        )
        if len(self.book) >= _BOOK_LIMIT:
            self.links.add_all(self.book.drain())
        return StrandKey(place.primary, place.login)

    def number(self, key: StrandKey | None) -> int:
        return _NONE if key is None else self.numbers.setdefault(key, len(self.numbers))

    def resolve(self, tombstones: Tombstones) -> Resolution:
        self.links.add_all(self.book.drain())
        return resolve_collected(self.links, self.rules, tombstones)


def try_rules(
    files: Sequence[str],
    old: IdentityRules,
    new: IdentityRules,
    key: bytes,
    validator: Validator,
    tombstones: Tombstones,
    largest: int = 5,
) -> Trial:
    """Resolve the events of some files under two sets of rules.

    Args:
        files: event files, as ``transforms.inputs.list_inputs`` gives them.
        old, new: the rules.
        key: the pseudonym key; persons have the ids of an output made with it.
        validator: says which events a run would take.
        tombstones: what was erased.
        largest: how many of the largest persons to name.
    """
    with TemporaryDirectory(prefix="wayline-dry-run-") as folder:
        spill = _Spill(Path(folder))
        try:
            sides = [_Reading(rules, Protector(rules, Pseudonymiser(key))) for rules in (old, new)]
            counts = _read(files, sides, validator, spill)
            owners = [
                _Owners(side, side.resolve(tombstones), spill, f"left_{name}", name)
                for side, name in zip(sides, ("old", "new"), strict=True)
            ]
            return _compared(owners, spill, counts, largest)
        finally:
            spill.close()


def _read(files: Sequence[str], sides: Sequence[_Reading], validator: Validator, spill: _Spill) -> Counter[str]:
    counts: Counter[str] = Counter()
    old, new = sides
    for name in files:
        with open_file(name) as stream:
            for event in read_events(stream):
                if isinstance(event, Damage):
                    counts["damaged"] += 1
                    continue
                if validator.check(event).reason is not None:
                    counts["rejected"] += 1
                    continue
                counts["read"] += 1
                keys = old.take(event), new.take(event)
                spill.add(
                    (
                        _event_hash(event.event_id, keys),
                        event.event_time,
                        old.number(keys[0]),
                        new.number(keys[1]),
                        old.rules.is_logout(event.name),
                        new.rules.is_logout(event.name),
                    )
                )
    return counts


def _event_hash(event_id: str, keys: tuple[StrandKey | None, StrandKey | None]) -> int:
    parts = [event_id, *(text for key in keys for text in (key.primary if key is not None else ("", "")))]
    data = "\0".join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


class _Hands(NamedTuple):
    """A strand that is carried forward: from ``starts`` on it is that of ``persons``.

    From ``erasing`` on it was in the hands of a login whose events are erased up to ``until``.
    """

    starts: npt.NDArray[np.int64]
    persons: npt.NDArray[np.int64]
    erasing: npt.NDArray[np.int64]
    until: npt.NDArray[np.int64]


class _Owners:
    """Whose each strand's events are under one set of rules. Person 0 is nobody."""

    def __init__(self, side: _Reading, resolution: Resolution, spill: _Spill, left: str, column: str) -> None:
        self.resolution, self.rules, self.column = resolution, side.rules, column
        self.names: list[str] = [NOBODY]
        self._numbers: dict[str, int] = {NOBODY: 0}
        self.strands = list(side.numbers)
        self._person = np.zeros(len(self.strands) + 1, dtype=np.int64)
        self._until = np.full(len(self.strands) + 1, MIN_TIME, dtype=np.int64)
        self._erased_logins: dict[StrandKey, int] = {}
        self._barred: dict[Identifier, set[Identifier]] = {}
        carried: dict[Identifier, int] = {}
        for assignment in resolution.assignments():
            key = StrandKey(assignment.primary, assignment.login)
            if assignment.erased_before is not None:
                self._erased_logins[key] = assignment.erased_before
            if assignment.barred and assignment.login is not None:
                self._barred.setdefault(assignment.primary, set()).add(assignment.login)
            number = side.numbers.get(key)
            if number is None:
                continue
            self._person[number] = self._of(assignment.steps[0][1])
            if assignment.erased_before is not None:
                self._until[number] = assignment.erased_before
            if assignment.carry:
                carried[assignment.primary] = number
        self._steps = self._carried(carried, side, spill, left) if carried else {}
        self.erased = 0

    def _of(self, person: str) -> int:
        number = self._numbers.get(person)
        if number is None:
            number = self._numbers[person] = len(self.names)
            self.names.append(person)
        return number

    def _carried(
        self, carried: Mapping[Identifier, int], side: _Reading, spill: _Spill, left: str
    ) -> dict[int, _Hands]:
        """For each carried strand in whose hands it was, and when."""
        on_carried = np.zeros(len(self.strands) + 1, dtype=np.bool_)
        on_carried[[n for key, n in side.numbers.items() if key.primary in carried]] = True
        marks: dict[Identifier, list[StrandEvent]] = {device: [] for device in carried}
        for records in spill.parts():
            here = records[on_carried[records[self.column]]]
            columns = (here["event"], here["time"], here[self.column], here[left])
            for event, time, strand, logout in zip(*(column.tolist() for column in columns), strict=True):
                key = self.strands[strand]
                marks[key.primary].append(
                    StrandEvent(f"{event:020d}", time, time, "", key.primary, key.login, b"", logout=logout)
                )
        return {carried[device]: self._hands(device, events, side) for device, events in marks.items()}

    def _hands(self, device: Identifier, events: list[StrandEvent], side: _Reading) -> _Hands:
        """As the strand stage does: what is erased is told by all events, whose the rest is by what is left."""
        events.sort(key=lambda event: (event.event_time, event.event_id))
        how = side.rules.carry_of(device.namespace)
        barred = self._barred.get(device, ())
        everything = hands(events, how, barred)
        until = [self._erased_until(device, step.login) for step in everything]
        starts = [step.at for step in everything]

        def is_kept(event: StrandEvent) -> bool:
            bound = self._erased_until(device, event.login)
            if event.login is None:
                bound = max(bound, until[bisect_right(starts, event.event_time) - 1])
            return event.event_time > bound

        left = hands((event for event in events if is_kept(event)), how, barred)
        own = int(self._person[side.numbers[StrandKey(device, None)]])
        persons = [own if s.login is None else self._login_person(device, s.login, side) for s in left]
        return _Hands(
            np.array([step.at for step in left], dtype=np.int64),
            np.array(persons, dtype=np.int64),
            np.array(starts, dtype=np.int64),
            np.array(until, dtype=np.int64),
        )

    def _erased_until(self, device: Identifier, login: Identifier | None) -> int:
        return self._erased_logins.get(StrandKey(device, login), MIN_TIME)

    def _login_person(self, device: Identifier, login: Identifier, side: _Reading) -> int:
        number = side.numbers.get(StrandKey(device, login))
        return self._of(self.resolution.person_of(login)) if number is None else int(self._person[number])

    def number(self, person: str) -> int:
        """The number of a person."""
        return self._numbers[person]

    def of(self, records: Records) -> npt.NDArray[np.int64]:
        """The person of each event."""
        strand, time = records[self.column], records["time"]
        person: npt.NDArray[np.int64] = self._person[strand]
        until = self._until[strand]
        if self._steps:
            for number in np.intersect1d(strand, list(self._steps)).tolist():
                held = self._steps[number]
                here = strand == number
                person[here] = held.persons[np.searchsorted(held.starts, time[here], side="right") - 1]
                step = np.searchsorted(held.erasing, time[here], side="right") - 1
                until[here] = np.maximum(until[here], held.until[step])
        person[(time <= until) & (strand != _NONE)] = 0
        return person


def _compared(owners: Sequence[_Owners], spill: _Spill, counts: Counter[str], largest: int) -> Trial:
    old, new = owners
    flows = Flows()
    unusable: Counter[str] = Counter()
    erased: Counter[str] = Counter()
    events = 0
    for records in spill.parts():
        events += len(records)
        one, other = old.of(records), new.of(records)
        for side, persons in ((old, one), (new, other)):
            none = records[side.column] == _NONE
            unusable[side.column] += int(none.sum())
            erased[side.column] += int((persons == 0).sum() - none.sum())
        pairs, number = np.unique((one << 32) | other, return_counts=True)
        for pair, n in zip(pairs.tolist(), number.tolist(), strict=True):
            flows.add(old.names[pair >> 32], new.names[pair & 0xFFFFFFFF], n)
    match = flows.matched()
    goes_on = np.full(len(old.names), _NONE, dtype=np.int64)
    for number_of, name in enumerate(old.names):
        if name in match:
            goes_on[number_of] = new.number(match[name])
    moved = np.zeros(len(old.strands) + 1, dtype=np.bool_)
    for records in spill.parts():
        one, other = old.of(records), new.of(records)
        changes = (one != 0) & (other != 0) & (goes_on[one] != other)
        moved[records["old"][changes]] = True
    difference = flows.difference()
    return Trial(
        _side(old, difference.before, unusable["old"], erased["old"], largest),
        _side(new, difference.after, unusable["new"], erased["new"], largest),
        difference,
        events=events,
        copies=counts["read"] - events,
        rejected=counts["rejected"],
        damaged=counts["damaged"],
        strands=len(old.strands),
        moved_strands=int(moved.sum()),
    )


def _side(owners: _Owners, persons: int, unusable: int, erased: int, largest: int) -> Side:
    resolution = owners.resolution
    sizes = Counter(row.person_id for row in resolution.identifiers())
    return Side(
        rules=owners.rules.version,
        persons=persons,
        largest=tuple(sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[:largest]),
        refused=Counter((edge.status, edge.rule) for edge in resolution.edges() if not edge.accepted),
        demoted=dict(resolution.demoted()),
        unusable=unusable,
        erased=erased,
    )
