"""docs/identity.md as tests read it: its rules files by name, and short questions about what they make of events."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import strand_world
from identity_world import Seen, ident, links_of

from contracts import documents
from contracts.event import Identifier
from transforms.identity.ids import canonical_id
from transforms.identity.resolve import Resolution, resolve
from transforms.identity.rules import IdentityRules
from transforms.identity.rules_file import parse_rules

PAGE = Path(__file__).parents[3] / "docs" / "identity.md"
TEXT = PAGE.read_text(encoding="utf-8")
SHIPPED = (Path(__file__).parents[3] / "ontology" / "identity.yaml").read_text(encoding="utf-8")
FILES: dict[str, str] = {
    "shipped": SHIPPED,
    **dict(re.findall(r"^```yaml (\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)),
}
"""Whole rules files that the page shows, by the name behind the fence; and the shipped one."""

MINUTE = 60_000_000
DAY = 86_400_000_000


def rules_of(name: str, *changes: tuple[str, str]) -> IdentityRules:
    """A rules file of the page, with texts in it replaced by others: what the page says to change."""
    text = FILES[name]
    for old, new in changes:
        assert old in text, f"the page's {name} rules say {old!r} nowhere"
        text = text.replace(old, new)
    return parse_rules(documents.parse(text, str(PAGE)))


def time_of(text: str) -> int:
    """A time as the page writes it: a number of microseconds, or hours and minutes."""
    hours, colon, minutes = text.rpartition(":")
    return (int(hours) * 60 + int(minutes)) * MINUTE if colon else int(text)


def normal(events: Iterable[Seen], by: IdentityRules) -> list[Seen]:
    """The events as protect leaves them: identifiers normalised, blocked ones gone, events without any gone too."""
    kept = []
    for event in events:
        names = [n for n in map(by.normalise, event.identifiers) if n is not None]
        if by.strand_key(names) is not None:
            kept.append(Seen(event.time, " ".join(":".join(n) for n in names), event.id, event.name))
    return kept


def resolved(by: IdentityRules, *events: Seen) -> Resolution:
    return resolve(links_of(normal(events, by), by), by)


def persons(by: IdentityRules, *events: Seen) -> set[frozenset[str]]:
    """Who is one person: the identifiers of each, those of a demoted or carried device with whoever holds them."""
    found: dict[str, set[str]] = {}
    for row in resolved(by, *events).identifiers():
        found.setdefault(row.person_id, set()).add(f"{row.namespace}:{row.value}")
    return {frozenset(members) for members in found.values()}


def groups(*names: str) -> set[frozenset[str]]:
    """``persons`` in short form: one text a person."""
    return {frozenset(text.split()) for text in names}


def owners(by: IdentityRules, *events: Seen) -> dict[int, str]:
    """The time of each event to the identifier after which its person is named, through the strand fold."""
    kept = normal(events, by)
    names = {canonical_id(i): ":".join(i) for e in kept for i in e.identifiers}
    return {time: names[person] for time, person in strand_world.persons_of(kept, by).items()}


def refusals(by: IdentityRules, *events: Seen) -> dict[str, tuple[str, str | None]]:
    """Each link that does not hold, by its ends, with the rule and the identifier that stand against it."""
    return {
        f"{':'.join(e.left)} {':'.join(e.right)}": (e.rule, ":".join(e.conflict) if e.conflict else None)
        for e in resolved(by, *events).edges()
        if not e.accepted
    }


def of(name: str) -> str:
    """The canonical id of an identifier in short form."""
    return canonical_id(ident(name))


def identifier(name: str) -> Identifier:
    return ident(name)
