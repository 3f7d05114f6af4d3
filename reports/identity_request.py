"""Asking for a merge or an unlink: the event that says it, and what it will do, foreseen by the rules themselves.

Input: two identifiers as the tables have them, who asks, why, and when. Output: an event file for the next run; what
will happen. No table is touched: a request is an event like any other, so it is kept, ordered and undone like one.
Times: UTC microseconds of event time. Errors: ``InputError``, ``ConfigurationError`` where the rules name no such
event, ``OutputError`` where the file cannot be written. State: none.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro

from contracts import codec
from contracts.errors import ConfigurationError, InputError, OutputError
from contracts.event import Event, Identifier
from contracts.event_codec import event_to_record
from contracts.exchange import MERGE, SEEN, UNLINK
from reports.identity_story import edge_values, moment, shown
from reports.identity_tables import IdentityTables
from transforms.identity.resolve import EdgeRow
from transforms.identity.rules import PSEUDONYM_PREFIX, IdentityRules
from transforms.identity.whatif import Compared, Evidence, compare, division, moves
from transforms.minimise import is_personal

SOURCE = "wayline identity"
REQUESTED_BY, REASON = "requested_by", "reason"
"""Properties of a request: who asked, and why."""
_LONGEST = 500


@dataclass(frozen=True)
class Request:
    """One request. ``name`` is the event name of the rules, ``one`` and ``other`` are pseudonyms, in order."""

    kind: str
    name: str
    one: Identifier
    other: Identifier
    by: str
    why: str
    at: int

    @property
    def event_id(self) -> str:
        """The same for the same names, pair and time, so that asking twice asks once."""
        parts = (self.name, *self.one, *self.other, str(self.at))
        return f"{self.kind}-{hashlib.blake2b(chr(0).join(parts).encode(), digest_size=10).hexdigest()}"

    @property
    def event(self) -> Event:
        """The request as an event: its pseudonyms marked as such, received when it was made."""
        return Event(
            self.event_id,
            self.name,
            self.at,
            self.at,
            SOURCE,
            "other",
            tuple(Identifier(PSEUDONYM_PREFIX + namespace, value) for namespace, value in (self.one, self.other)),
            properties={REQUESTED_BY: self.by, REASON: self.why},
        )


def make_request(
    kind: str, rules: IdentityRules, rules_path: Path, one: Identifier, other: Identifier, by: str, why: str, at: int
) -> Request:
    """A checked request.

    Args:
        kind: ``MERGE`` or ``UNLINK``.
        rules, rules_path: the rules in force and their file, for complaints.
        one, other: pseudonymised identifiers, as the tables have them.
        by, why: who asks, and why; no address or number of a person, since they are kept in clear.
        at: when it counts from, in the order of all requests of the pair.
    """
    names = sorted(name for name, said in rules.kinds.items() if said == kind)
    if not names:
        raise ConfigurationError(
            rules_path,
            None,
            f"the identity rules name no event that asks for {'a merge' if kind == MERGE else 'an unlink'}",
            hint=f"name one under events: {kind}: [identity_{kind}]",
        )
    if one == other:
        raise InputError(
            f"both are the same identifier, {shown(one)}", hint="name two identifiers; a person is one with itself"
        )
    for option, text in (("--by", by), ("--why", why)):
        if not text.strip():
            raise InputError(f"{option} is empty", hint="a request is kept with who asked for it, and why")
        if len(text) > _LONGEST:
            raise InputError(f"{option} is {len(text):,} characters long, of at most {_LONGEST}")
        if is_personal(text):
            raise InputError(
                f"{option} holds an address or a phone number",
                hint="it is kept in clear: write a name of a desk, a ticket or a role instead",
            )
    first, second = sorted((one, other))
    return Request(kind, names[0], first, second, by, why, at)


def write_request(request: Request, folder: Path) -> Path:
    """Write the request as an event file of its own; asked again, the same file. Raises OutputError."""
    path = folder / f"{request.event_id}.avro"
    draft = path.with_suffix(".draft")
    # a marker of its own choice would make the same request another file
    marker = hashlib.sha256(request.event_id.encode()).digest()[:16]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            fastavro.writer(
                file, codec.raw_schema("event"), [event_to_record(request.event)], codec="null", sync_marker=marker
            )
        os.replace(draft, path)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}", hint="name another folder with --events"
        ) from error
    return path


# --- what it will do ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Part:
    """One person that comes of another: which identifiers and how many events it takes from it."""

    before: str
    after: str
    identifiers: tuple[Identifier, ...]
    events: int


@dataclass(frozen=True)
class Foreseen:
    """What a request will do.

    Attributes:
        before, after: the persons of the two ends.
        linked: evidence of the pair itself, oldest first; empty when they were never seen together.
        verdict: what resolution will say of the request; None when an end is demoted, so that nothing is said of it.
        overruled: a newer request about the pair, which counts instead.
        parts: who goes where, of all persons that merge or split.
        merged, split: persons after by those before, and the reverse.
    """

    before: tuple[str, str]
    after: tuple[str, str]
    linked: tuple[EdgeRow, ...]
    verdict: EdgeRow | None
    overruled: EdgeRow | None
    parts: tuple[Part, ...]
    merged: Mapping[str, frozenset[str]]
    split: Mapping[str, frozenset[str]]

    @property
    def changes(self) -> bool:
        """Whether any person merges or splits."""
        return bool(self.merged or self.split)


def foresee(request: Request, source: IdentityTables) -> Foreseen:
    """What the request will do to persons, resolved from the links in OUT together with it."""
    pair = (request.one, request.other)
    evidence = Evidence(source.links_of, source.rules)
    links = source.rules.links(pair, request.name, request.event_id, request.at, request.at)
    members = {member for person in {source.holder(end) for end in pair} if person for member in source.members(person)}
    compared = compare(members.union(pair), evidence, evidence.changed(plus=links), source.rules)
    divided = division(compared)
    linked = sorted(
        (edge for edge in source.edges_of(pair) if {edge.left, edge.right} == set(pair)),
        key=lambda edge: (edge.first_time, edge.first_event_id),
    )
    newer = [
        edge
        for edge in linked
        if edge.kind in (MERGE, UNLINK)
        and edge.kind != request.kind
        and (edge.last_time, edge.last_event_id) > (request.at, request.event_id)
    ]
    asked = {(link.left, link.right, link.kind) for link in links}
    return Foreseen(
        before=(compared.before.person_of(request.one), compared.before.person_of(request.other)),
        after=(compared.after.person_of(request.one), compared.after.person_of(request.other)),
        linked=tuple(edge for edge in linked if edge.kind not in (MERGE, UNLINK)),
        verdict=next(
            (e for e in compared.after.resolution.edges() if (e.left, e.right, e.kind) in asked and e.kind != SEEN),
            None,
        ),
        overruled=max(newer, key=lambda edge: (edge.last_time, edge.last_event_id), default=None),
        parts=_parts(compared, {*divided.split, *(p for sources in divided.merged.values() for p in sources)}, source),
        merged=divided.merged,
        split=divided.split,
    )


def _parts(compared: Compared, persons: set[str], source: IdentityTables) -> tuple[Part, ...]:
    identifiers: dict[tuple[str, str], list[Identifier]] = {}
    for identifier in sorted(compared.concerned):
        pair = (compared.before.person_of(identifier), compared.after.person_of(identifier))
        identifiers.setdefault(pair, []).append(identifier)
    events = moves(compared, source, source.rules).events
    return tuple(
        Part(*pair, tuple(identifiers.get(pair, ())), events.get(pair, 0))
        for pair in sorted({*identifiers, *events})
        if pair[0] in persons
    )


def foreseen_values(request: Request, foreseen: Foreseen, path: Path, command: str) -> dict[str, Any]:
    """Request and foresight as plain values."""
    return {
        "request": request.kind,
        "event_id": request.event_id,
        "name": request.name,
        "at": moment(request.at),
        "by": request.by,
        "why": request.why,
        "identifiers": [shown(request.one), shown(request.other)],
        "persons_before": list(foreseen.before),
        "persons_after": list(foreseen.after),
        "seen_together": [edge_values(edge) for edge in foreseen.linked],
        "verdict": None if foreseen.verdict is None else edge_values(foreseen.verdict),
        "overruled_by": None if foreseen.overruled is None else edge_values(foreseen.overruled),
        "changes": foreseen.changes,
        "merged": {person: sorted(sources) for person, sources in foreseen.merged.items()},
        "split": {person: sorted(parts) for person, parts in foreseen.split.items()},
        "parts": [
            {
                "before": part.before,
                "after": part.after,
                "identifiers": [shown(identifier) for identifier in part.identifiers],
                "events": part.events,
            }
            for part in foreseen.parts
        ],
        "file": str(path),
        "next": command,
    }
