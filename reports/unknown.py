"""What to say to somebody who asks for an id that OUT does not know: what is nearest to it, and what to do.

Input: the tables and the id. Output: an ``InputError``, to be raised by the caller. Errors, state: none.
"""

from __future__ import annotations

from contracts.errors import InputError
from reports.lookup import JourneyTables

_LEAST_PREFIX = 4
_NAMED = 3
_KINDS = (
    ("--person", "persons", "person_id"),
    ("--event", "events", "event_id"),
    ("--decision", "decisions", "decision_id"),
)


def unknown_person(tables: JourneyTables, asked: str) -> InputError:
    """Nobody has this id. What looks like an address or a number of a person is not repeated."""
    if "@" in asked or asked.startswith("+"):
        return InputError(
            "that is an address or a number, not an id",
            hint="write namespace:value, as in email:ADDRESS, email_sha256:HASH or phone:NUMBER",
        )
    persons = tables.rows("journeys", "TRUE", order="events DESC, person_id", limit=1)
    example = ""
    if persons:
        example = f"persons are in the journeys table; the one with most events is --person {persons[0]['person_id']}"
    return InputError(
        f"nobody in {tables.out} has the id {asked!r}",
        hint=_elsewhere(tables, asked, "--person")
        or "; ".join(filter(None, (example, "an identifier is written namespace:value, as in user_id:42"))),
    )


def unknown_event(tables: JourneyTables, asked: str, unread: int) -> InputError:
    """No event, and no dead letter that could be read, has this id."""
    hint = _elsewhere(tables, asked, "--event")
    if not hint and unread:
        hint = f"{unread:,} dead letters were not searched; name the key that opens them with --dead-letter-key"
    return InputError(
        f"no event {asked!r} is in {tables.out}, neither accepted nor among the dead letters searched",
        hint=hint
        or "it may lie after the horizon of the run (the after_horizon column of run_ledger), have been erased, "
        "or be in a file that no run has read",
    )


def unknown_decision(tables: JourneyTables, asked: str) -> InputError:
    """No decision, and no action, has this id."""
    logged = tables.first("labels", "origin = 'logged' AND decision_id = ?", [asked])
    if logged is not None:
        return InputError(
            f"{asked!r} was decided elsewhere and only logged here: arm {logged['arm']}, outcome {logged['outcome']}",
            hint=f"see whom it concerns: wayline explain --out {tables.out} --person {logged['person_id']}",
        )
    return InputError(
        f"no decision or action {asked!r} is in {tables.out}",
        hint=_elsewhere(tables, asked, "--decision")
        or "a person's decisions and their ids are shown by --person; all are in the decisions table",
    )


def _elsewhere(tables: JourneyTables, asked: str, option: str) -> str:
    """The option that knows this very id, or ids that begin with it."""
    for other, table, column in _KINDS:
        if other != option and tables.first(table, f"{column} = ?", [asked]) is not None:
            return f"it is known as another thing: wayline explain --out {tables.out} {other} {asked}"
    if len(asked) < _LEAST_PREFIX:
        return ""
    table, column = next((table, column) for other, table, column in _KINDS if other == option)
    near = tables.rows(table, f"starts_with({column}, ?)", [asked], order=column, limit=_NAMED)
    return f"did you mean {' or '.join(row[column] for row in near)}?" if near else ""
