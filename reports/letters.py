"""Dead letters of one event id. They are encrypted, so looking means opening each; nothing of what is inside is told.

Input: the tables, the event id, the box that opens dead letters if its key is at hand. Output: rows without payload,
and how many could not be searched. Errors: ``ConfigurationError`` for a key that opens none. State: none.
"""

from __future__ import annotations

from contracts.tables import DEAD_LETTERS, EXPIRED_LATE
from reports.lookup import JourneyTables, Row
from transforms.dead_letter import EVENT_PAYLOAD, DeadLetterBox
from transforms.decode import DecodeError, newest_decoder
from transforms.identity.strands import PROTECTED_PAYLOAD

_EVENTS = (EVENT_PAYLOAD, PROTECTED_PAYLOAD)


def letters_of(tables: JourneyTables, event_id: str, box: DeadLetterBox | None) -> tuple[list[Row], int]:
    """The dead letters and late expiries of an event, oldest first.

    Args:
        tables: where to look.
        event_id: the event's id, or the id of a dead letter itself.
        box: None when the key is not at hand: then only a dead letter's own id is found.

    Returns:
        Rows of ``dead_letters`` and ``expired_late`` with ``table`` and without ``payload``; and how many letters that
        could hold the event were not opened.
    """
    decoder = newest_decoder()
    wanted = event_id.encode("utf-8", "surrogatepass")
    found: list[Row] = []
    unread = 0
    for table in (DEAD_LETTERS.name, EXPIRED_LATE.name):
        for row in tables.rows(table, "payload_schema = ANY(?) OR dead_letter_id = ?", [list(_EVENTS), event_id]):
            payload = row.pop("payload")
            row["table"] = table
            if row["dead_letter_id"] == event_id:
                found.append(row)
            elif box is None:
                unread += 1
            elif wanted in (plain := box.open(row["dead_letter_id"], payload)):
                # the bytes may also hold the id by chance, in another field
                try:
                    if decoder.decode(plain).event_id == event_id:
                        found.append(row)
                except DecodeError:
                    unread += 1
    return sorted(found, key=lambda row: (row["at"], row["dead_letter_id"])), unread
