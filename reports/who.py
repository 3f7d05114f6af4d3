"""Whom an id stands for: any id that was ever shown leads to the person who holds it now.

Input: what the user typed. Output: the current person's id, and how it was found, in words. A raw identifier is
normalised and pseudonymised as the pipeline does it, and is never repeated in what is said. Errors: ``InputError``.
State: none.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable

from contracts.errors import InputError
from contracts.event import Identifier
from reports.lookup import JourneyTables, Row
from reports.unknown import unknown_person
from transforms.identity.ids import canonical_id
from transforms.identity.rules import IdentityRules
from transforms.identity.values import MAX_LENGTH
from transforms.protect import Pseudonymiser

_LONGEST = 2 * MAX_LENGTH


def find_person(
    tables: JourneyTables, asked: str, rules: IdentityRules, pseudonymiser: Callable[[], Pseudonymiser]
) -> tuple[str, str]:
    """The current person behind an id, and how it leads there (empty when it is the person's own).

    Args:
        tables: where to look.
        asked: a person id or alias; ``namespace:value`` with the raw value or its pseudonym; a pseudonym, a strand id
            or a session id.
        rules: identity rules in force.
        pseudonymiser: made only when a raw value is asked for, since it needs the key.

    Raises:
        InputError: nobody has it.
        ConfigurationError: from ``pseudonymiser``.
    """
    _check_text(asked)
    current = tables.current_person(asked)
    if current is not None and tables.is_nobody(current):
        return _after(tables, current)
    if current is not None:
        return current, "" if current == asked else f"{asked} is an alias: it was merged into this person"
    namespace, colon, value = asked.partition(":")
    if colon:
        return _held(tables, _by_identifier(tables, Identifier(namespace.strip(), value), rules, pseudonymiser))
    strand = tables.first("events", "strand_id = ?", [asked], order="event_time DESC")
    if strand is not None:
        others = tables.first("events", "strand_id = ? AND person_id <> ?", [asked, strand["person_id"]])
        shared = " now; parts of it are others', who had the device before" if others is not None else ""
        return strand["person_id"], f"{asked} is a strand of this person{shared}"
    session = tables.first("sessions", "session_id = ?", [asked])
    if session is not None:
        return session["person_id"], f"{asked} is a session of this person"
    holders = tables.rows("identifiers", "value = ?", [asked], order="namespace")
    if holders:
        return _held(tables, holders[0])
    raise unknown_person(tables, asked)


def _after(tables: JourneyTables, person_id: str) -> tuple[str, str]:
    """Who has the strands that were decided for under an id that holds no events any more; itself where nobody has."""
    heirs = tables.heirs(person_id)
    if not heirs:
        return person_id, f"{person_id} is the id of an identifier that holds no events of its own"
    if len(heirs) == 1:
        return heirs[0], f"{person_id} holds no events any more: this person has the strands it was decided for by"
    raise InputError(
        f"{person_id} holds no events any more: the strands it was decided for by are of {len(heirs)} persons now",
        hint=f"ask for one of them: {', '.join(heirs)}",
    )


def find_identifier(
    tables: JourneyTables, asked: str, rules: IdentityRules, pseudonymiser: Callable[[], Pseudonymiser]
) -> Identifier:
    """The identifier, as the tables have it, that somebody means.

    Args:
        tables: where to look.
        asked: ``namespace:value`` with the raw value or its pseudonym, a pseudonym, or an identifier's id (``p_…``,
            which a person has from the identifier that names it, and an alias from another).
        rules: identity rules in force.
        pseudonymiser: made only when a raw value is asked for, since it needs the key.

    Raises:
        InputError: OUT does not know it, it is blocked, or the id is of none.
        ConfigurationError: from ``pseudonymiser``.
    """
    _check_text(asked)
    namespace, colon, value = asked.partition(":")
    if colon:
        return _identifier(_by_identifier(tables, Identifier(namespace.strip(), value), rules, pseudonymiser))
    current = tables.current_person(asked)
    if current is not None:
        rows = tables.rows("identifiers", "person_id = ANY(?)", [[current, asked]])
        named = [found for found in map(_identifier, rows) if canonical_id(found) == asked]
        if named:
            return named[0]
    rows = tables.rows("identifiers", "value = ?", [asked], order="namespace", limit=1)
    if rows:
        return _identifier(rows[0])
    if current is not None:
        raise InputError(
            f"{asked} is a person's id, but none of the person's identifiers goes by it",
            hint=f"name one of them: wayline explain --out {tables.out} --person {current}",
        )
    raise unknown_person(tables, asked)


def _identifier(row: Row) -> Identifier:
    return Identifier(row["namespace"], row["value"])


def _check_text(asked: str) -> None:
    """No id is that long, and none holds what is no text: say so without repeating it."""
    if len(asked) > _LONGEST:
        raise InputError(
            f"that is {len(asked):,} characters long; an identifier longer than {MAX_LENGTH} is blocked",
            hint="a value of this length names nobody: no person can have it",
        )
    try:
        asked.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            "that is no text: its bytes are no UTF-8",
            hint="give the value as UTF-8; its accents may be composed or not",
        ) from error


def _by_identifier(
    tables: JourneyTables, given: Identifier, rules: IdentityRules, pseudonymiser: Callable[[], Pseudonymiser]
) -> Row:
    known = tables.first("identifiers", "namespace = ? AND value = ?", [given.namespace, given.value])
    if known is not None:
        return known
    namespace = rules.namespaces.get(given.namespace)
    if namespace is None:
        near = difflib.get_close_matches(given.namespace, rules.namespaces, n=1)
        raise InputError(
            f"{given.namespace!r} is no namespace of identifiers",
            hint=f"did you mean {near[0]!r}?" if near else f"namespaces: {', '.join(rules.namespaces)}",
        )
    if not rules.links_at_all(namespace.target):
        raise InputError(
            f"identifiers of {given.namespace} are carried on events but never say who somebody is",
            hint="ask by another identifier of the person",
        )
    normal = rules.normalise(given)
    if normal is None:
        raise InputError(
            f"this {given.namespace} is blocked, empty or too long: no person can have it",
            hint="the identity rules block placeholders such as null, guest or 0; ask by another identifier",
        )
    pseudonym = pseudonymiser().pseudonym(normal)
    row = tables.first("identifiers", "namespace = ? AND value = ?", [*pseudonym])
    if row is None:
        raise InputError(
            f"nobody in {tables.out} has this {given.namespace}: its pseudonym {pseudonym.namespace}:{pseudonym.value} "
            "is not among the identifiers",
            hint="check the spelling; if OUT was made with another key, name its file with --pseudonym-key",
        )
    return row


def _held(tables: JourneyTables, identifier: Row) -> tuple[str, str]:
    person_id = tables.current_person(identifier["person_id"]) or identifier["person_id"]
    return person_id, f"found by the {identifier['namespace']} whose pseudonym is {identifier['value']}"
