"""What made a row of features: which events, which version of the features, which version of the code. Pure.

The version of the code is that of the installed package, no state of a repository and no time: a run that is repeated
with the same code gives the same rows.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import version
from zlib import crc32

from contracts.tables import INT, TEXT

PROVENANCE: tuple[tuple[str, str, str], ...] = (
    ("made_of", INT, "Events that the row was made of: the person's first so many, by time and id."),
    ("last_event_id", TEXT, "The last of them."),
    ("events_checksum", INT, "CRC-32 over their ids in that order: of other events it is another."),
    ("feature_version", TEXT, "Version of the feature vector."),
    ("code_version", TEXT, "Version of Wayline that computed it."),
)
"""(name, kind, doc) of the last columns of the features table; null in rows of before there were any."""


@cache
def code_version() -> str:
    """The version of the package."""
    return version("wayline")


def checksum(event_id: str, before: int = 0) -> int:
    """CRC-32 over the ids of events in order.

    Args:
        event_id: that of the next event.
        before: the checksum of the events before it.
    """
    return crc32(event_id.encode("utf-8", "surrogatepass") + b"\0", before)
