"""The strand fold: from a shard's events and assignments to each strand's part in persons' journeys.

Pure: no Beam. Input: everything that reaches one strand shard. Output: ``ShardResult``. Times are UTC microseconds of
event time. Errors: none; conflicting payloads become dead letters. State: none beyond the call.

A login-less strand whose assignment says ``carry`` follows the logins seen on its device: ``identity.carry``.

The answer is the same for any order and any split of the input. Two copies are the same event when event_id and primary
identifier are: the number of shards does not matter.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec

from contracts import wire
from contracts.event import Event, Identifier
from contracts.event_codec import encode_event
from contracts.exchange import Assignment, DeadLetter, ErasedMark, Purge, ShardInput, StrandEvent, StrandRecord
from transforms.identity.carry import carried_steps, hands, spans_of
from transforms.identity.erasing import FORWARD, Erasing, StrandName
from transforms.identity.ids import canonical_id, strand_id
from transforms.identity.rules import Carry

STAGE = "strand"
CONFLICTING_PAYLOAD = "conflicting_payload"
PROTECTED_PAYLOAD = "protected_event"
"""``payload_schema`` of what the strand stage rejects: Avro of the event, whose identifiers are pseudonyms already."""

ACCEPTED, DUPLICATE, ERASED, DEAD_LETTERED = "accepted", "duplicate", "erased", "dead_lettered"

_payload_encoder = msgspec.msgpack.Encoder(order="deterministic")


class Rejects(Protocol):
    """What the fold needs of ``transforms.dead_letter.DeadLetterBox``."""

    def reject(
        self,
        stage: str,
        reason: str,
        detail: str,
        source: str,
        schema_id: str,
        at: int,
        payload_schema: str,
        payload: bytes,
    ) -> DeadLetter: ...


@dataclass(slots=True)
class ShardResult:
    """What a shard gives.

    ``counts`` holds (source, kind) -> events, for events of this run only. ``log`` are the events to keep for the next
    run: new ones, losers of a conflict too, and copies that replace a stored one. ``purges`` name the strands with
    something erased; ``erased`` are the stored events among it, which must leave the log. ``marks`` are what stays of
    this run's erased events on devices that are carried: give them to every later fold of the shard. ``withdrawn`` are
    dead letters of earlier runs that no longer hold, since what they are of was erased or what it lost to was.
    """

    records: list[StrandRecord] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    withdrawn: list[DeadLetter] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    log: list[StrandEvent] = field(default_factory=list)
    purges: list[Purge] = field(default_factory=list)
    erased: list[StrandEvent] = field(default_factory=list)
    marks: list[ErasedMark] = field(default_factory=list)


@dataclass(slots=True)
class Fates:
    """What became of each event by name, for who keeps them. Of equal payloads the one that counts is named.

    ``rejected`` come with their dead letters. ``copies`` are the other copies of an event, by ``id`` of that one;
    ``duplicates`` pair the one that counts with each copy that was counted as its duplicate.
    ``assignments`` are those that divided the strands, carrying made into steps; None for a strand that stands for
    itself.
    """

    accepted: list[StrandEvent] = field(default_factory=list)
    rejected: list[tuple[StrandEvent, DeadLetter]] = field(default_factory=list)
    erased: list[StrandEvent] = field(default_factory=list)
    copies: dict[int, Sequence[StrandEvent]] = field(default_factory=dict)
    duplicates: list[tuple[StrandEvent, StrandEvent]] = field(default_factory=list)
    assignments: dict[StrandName, Assignment | None] = field(default_factory=dict)


def payload_hash(event: bytes) -> bytes:
    """Hash of what an event says, whenever it was received and in whatever order its maps and identifiers stand."""
    return content_hash(wire.unpack(Event, event))


def content_hash(event: Event) -> bytes:
    """``payload_hash`` of an event that is not packed."""
    said = replace(event, received_time=0, identifiers=tuple(sorted(event.identifiers)))
    return hashlib.blake2b(_payload_encoder.encode(said), digest_size=16).digest()


def fold_shard(
    inputs: Iterable[ShardInput],
    box: Rejects,
    schema_id: str = "",
    version: int = 1,
    carries: Mapping[str, Carry] | None = None,
    fates: Fates | None = None,
) -> ShardResult:
    """Fold one strand shard.

    Each event of this run meets one fate. An event of a strand whose person asked for erasure, at or before the
    request, is ``erased``, each copy of it, since nobody can tell of a later one what it is a copy of; so is what was
    carried to such a strand's login. Of several events with one id and one
    primary identifier the payload with the lowest hash is ``accepted``, unless it is in the log already; each other
    payload is one dead letter, unless it is in the log; all further copies are ``duplicate``. Of equal payloads the
    earliest received counts.

    Args:
        inputs: all events and assignments of the shard, and the marks of earlier folds; of several assignments of a
            strand the greatest sequence counts.
        box: makes dead letters.
        schema_id: of the event schema, for dead letters.
        version: of the records; orders records of one assignment.
        carries: how devices of a namespace are carried (``IdentityRules.carries``).
        fates: is told, if given, what became of each event.
    """
    assignments: dict[StrandName, Assignment] = {}
    events: defaultdict[Identifier, dict[str, StrandEvent]] = defaultdict(dict)
    clashes: dict[tuple[Identifier, str], list[StrandEvent]] = {}
    marks: list[ErasedMark] = []
    for batch in inputs:
        marks.extend(batch.marks)
        for assignment in batch.assignments:
            name = (assignment.primary, assignment.login)
            held = assignments.get(name)
            if held is None or _newer(assignment, held):
                assignments[name] = assignment
        for event in batch.events:
            known = events[event.primary]
            first = known.get(event.event_id)
            if first is None:
                known[event.event_id] = event
            else:
                clashes.setdefault((event.primary, event.event_id), [first]).append(event)
    result = ShardResult()
    how = carries or {}
    erasing = Erasing(assignments, events, clashes, how, marks)
    for (primary, event_id), copies in clashes.items():
        winner = _settle(copies, erasing, box, schema_id, result, fates)
        if winner is None:
            del events[primary][event_id]
        else:
            events[primary][event_id] = winner
    settled = clashes.keys()
    accepted: Counter[str] = Counter()
    for primary, by_id in sorted(events.items()):
        strands: dict[Identifier | None, list[StrandEvent]] = {}
        for event in by_id.values():
            strands.setdefault(event.login, []).append(event)
        for login, strand in strands.items():
            if erasing.concerns(primary, login):
                strand = _without_erased(strand, erasing, result, fates)
            strand.sort(key=_order)
            strands[login] = strand
        for login, strand in sorted(strands.items(), key=_by_login):
            held = assignments.get((primary, login))
            if held is not None and held.carry:
                held = _carried(held, strands, assignments, how)
            if fates is not None:
                fates.accepted.extend(strand)
                fates.assignments[primary, login] = held
            for event in strand:
                if not event.stored:
                    result.log.append(event)
                    if (primary, event.event_id) not in settled:
                        accepted[event.source] += 1
            result.records.extend(_records(primary, login, strand, held, version))
    for source, n in accepted.items():
        result.counts[source, ACCEPTED] += n
    for (primary, login), assignment in sorted(assignments.items(), key=lambda item: _name_key(item[0])):
        if assignment.erased_before is not None:
            result.purges.append(Purge(strand_id(primary, login), primary, login, assignment.erased_before))
    result.marks.extend(erasing.new_marks())
    result.dead_letters.sort(key=lambda letter: letter.dead_letter_id)
    return result


def _newer(one: Assignment, other: Assignment) -> bool:
    return (one.sequence, one.steps, one.erased_before or 0) > (other.sequence, other.steps, other.erased_before or 0)


def _order(event: StrandEvent) -> tuple[int, str]:
    return (event.event_time, event.event_id)


def _arrival(event: StrandEvent) -> tuple[int, bool, str, bytes]:
    return (event.received_time, not event.stored, event.source, event.event)


def _name_key(name: StrandName) -> tuple[Identifier, bool, Identifier]:
    primary, login = name
    return (primary, login is not None, login or primary)


def _by_login(item: tuple[Identifier | None, list[StrandEvent]]) -> tuple[bool, Identifier]:
    login = item[0]
    return (login is not None, login or Identifier("", ""))


def _carried(
    held: Assignment,
    strands: Mapping[Identifier | None, Sequence[StrandEvent]],
    assignments: Mapping[StrandName, Assignment],
    carries: Mapping[str, Carry],
) -> Assignment:
    """The assignment of a login-less strand that follows the logins seen on its device."""
    primary = held.primary
    every = sorted((event for strand in strands.values() for event in strand), key=_order)
    barred = {login for login in strands if login and (a := assignments.get((primary, login))) is not None and a.barred}
    seen = hands(every, carries.get(primary.namespace, FORWARD), barred)

    def person_of(login: Identifier) -> str:
        of_login = assignments.get((primary, login))
        return canonical_id(login) if of_login is None else of_login.steps[0][1]

    return replace(held, steps=carried_steps(seen, person_of, held.steps[0][1]))


def _settle(
    copies: Sequence[StrandEvent],
    erasing: Erasing,
    box: Rejects,
    schema_id: str,
    result: ShardResult,
    fates: Fates | None,
) -> StrandEvent | None:
    """Count the copies of one event and return the one that stays; None when all of them are erased."""
    counts = result.counts
    payloads: dict[bytes, list[StrandEvent]] = {}
    hashes: dict[bytes, bytes] = {}
    for copy in copies:
        digest = hashes.get(copy.event)
        if digest is None:
            digest = hashes[copy.event] = payload_hash(copy.event)
        payloads.setdefault(digest, []).append(copy)
    winner: StrandEvent | None = None
    had_winner = False
    for _, same in sorted(payloads.items()):
        same.sort(key=_arrival)
        new = [copy for copy in same if not copy.stored]
        was_stored = len(new) < len(same)
        best = same[0]
        if fates is not None and len(same) > 1:
            fates.copies[id(best)] = same[1:]
        if erasing.is_erased(best):
            fate = ERASED
            erasing.went(best)
            result.erased.extend(copy for copy in same if copy.stored)
            if fates is not None:
                fates.erased.extend(same)
        elif winner is None:
            winner, fate = best, ACCEPTED
        else:
            fate = DEAD_LETTERED
            result.dead_letters.append(conflict(best, winner.source, box, schema_id))
            if fates is not None:
                fates.rejected.append((best, result.dead_letters[-1]))
            if not best.stored:
                # its links are evidence of identity in this run, so they must be in every later one
                result.log.append(best)
        if was_stored:
            # the stored one with the lowest hash was the winner so far, and each other had a dead letter
            if had_winner and fate != DEAD_LETTERED:
                result.withdrawn.append(conflict(best, "", box, schema_id))
            had_winner = True
        for position, copy in enumerate(new):
            is_duplicate = fate != ERASED and (position > 0 or was_stored)
            counts[copy.source, DUPLICATE if is_duplicate else fate] += 1
            if is_duplicate and fates is not None:
                fates.duplicates.append((best, copy))
    return winner


def conflict(loser: StrandEvent, winner: str, box: Rejects, schema_id: str) -> DeadLetter:
    """The dead letter of an event that lost to another with its id; ``winner`` is the source of that one."""
    # the detail is in clear: an event_id is the sender's own text, so it stands in the encrypted payload only
    detail = f"its event_id came with another payload, which was kept; the source of that one is {winner!r}"
    return box.reject(
        STAGE,
        CONFLICTING_PAYLOAD,
        detail,
        loser.source,
        schema_id,
        loser.received_time,
        PROTECTED_PAYLOAD,
        encode_event(wire.unpack(Event, loser.event)),
    )


def _without_erased(
    strand: list[StrandEvent], erasing: Erasing, result: ShardResult, fates: Fates | None
) -> list[StrandEvent]:
    kept: list[StrandEvent] = []
    for event in strand:
        if not erasing.is_erased(event):
            kept.append(event)
            continue
        erasing.went(event)
        if fates is not None:
            fates.erased.append(event)
        if event.stored:
            result.erased.append(event)
        else:
            result.counts[event.source, ERASED] += 1
    return kept


def _records(
    primary: Identifier, login: Identifier | None, strand: list[StrandEvent], held: Assignment | None, version: int
) -> list[StrandRecord]:
    """The strand's record for each person of its assignment's steps; ``strand`` is in order."""
    if not strand:
        return []
    name = strand_id(primary, login)
    sequence = 0 if held is None else held.sequence
    if held is None or not held.steps:
        # an assignment is missing only if its link was: the strand then stands for itself
        steps: tuple[tuple[int, str], ...] = ((strand[0].event_time, canonical_id(login or primary)),)
    else:
        steps = held.steps
    if len(steps) == 1:
        events = tuple([event.event for event in strand])
        return [StrandRecord(name, primary, login, steps[0][1], sequence, version, events)]
    by_person: dict[str, list[bytes]] = {}
    step = 0
    for event in strand:
        while step + 1 < len(steps) and steps[step + 1][0] <= event.event_time:
            step += 1
        by_person.setdefault(steps[step][1], []).append(event.event)
    spans = spans_of(steps)
    return [
        StrandRecord(name, primary, login, person, sequence, version, tuple(events), spans[person])
        for person, events in sorted(by_person.items())
    ]
