"""The layout of the identity store, and how names and ids are written in it.

An identifier has a number, and every other table speaks of numbers: new rows then stand beside each other, so that what
a link costs does not grow with the graph. The one thing looked up by content is the hash, the first 64 of the 80 bits
of the canonical id; the other 16 stand beside it, so that the id can be said without the name. A row without a name is
a tombstone: whoever was erased is known again by the hash of the pseudonym, and by nothing else.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from contracts.event import Identifier
from contracts.exchange import LINK_KINDS
from transforms.identity.ids import canonical_digest, in_bulk
from transforms.stores.database import Migration, Schema

NUMBERS, RULES, SHARDS, CHANGES = "numbers", "rules", "shards", "changes"
"""Names in ``identity_meta``: the last number given, the rules in force, how many shards there are, the last change."""

KIND_CODES = {kind: code for code, kind in enumerate(LINK_KINDS)}
STAYS_CARRIED = 2
"""In ``carry``: the device was carried to a login that is erased; what was carried must go, whatever is linked now."""
NOBODY = 0
"""The number of no identifier: the right end of a link of one identifier alone, no conflict, no login."""

NODE_COLUMNS = (
    "number, hash, rest, namespace, value, first_seen, last_seen, degree, demoted, erased, purged, person, holder,"
    " carry, compacted, strands, shard, sequence, change"
)
LINK_COLUMNS = (
    "left_no, right_no, kind, first_time, first_id, last_time, last_id, received, status, rule, conflict, change"
)
STRAND_COLUMNS = "login, device, shard, sequence"
NODE_FIELDS, LINK_FIELDS, STRAND_FIELDS = (
    tuple(columns.split(", ")) for columns in (NODE_COLUMNS, LINK_COLUMNS, STRAND_COLUMNS)
)

INDEXES = {
    name: f"CREATE INDEX {name} ON {what}"
    for name, what in (
        ("identity_identifiers_by_hash", "identity_identifiers (hash)"),
        ("identity_identifiers_by_shard", "identity_identifiers (shard, sequence)"),
        ("identity_links_by_right", "identity_links (right_no) WHERE right_no <> 0"),
        ("identity_strands_by_shard", "identity_strands (shard, sequence)"),
    )
}
"""What is found otherwise than by its key; as committed in the first migration."""

CHANGE_INDEXES = {
    "identity_identifiers_by_change": "CREATE INDEX identity_identifiers_by_change"
    " ON identity_identifiers (change, number)",
    "identity_links_by_change": "CREATE INDEX identity_links_by_change"
    " ON identity_links (change, left_no, right_no, kind) WHERE right_no <> 0",
}
"""As committed in the second migration."""

SCHEMA = Schema(
    "identity",
    (
        Migration(
            "identifiers, links, strands of logins, sequences",
            (
                "CREATE TABLE identity_meta (name TEXT NOT NULL PRIMARY KEY, word TEXT NOT NULL,"
                " number INTEGER NOT NULL) WITHOUT ROWID",
                "CREATE TABLE identity_shards (shard INTEGER NOT NULL PRIMARY KEY, sequence INTEGER NOT NULL)",
                # first_seen and last_seen: null when no evidence is left; degree: pairs it is an end of; person: whose
                # the login-less strand is; holder: who has the identifier now, another one where it is carried
                # forward; strands: rows of identity_strands that name it as device
                "CREATE TABLE identity_identifiers (number INTEGER NOT NULL PRIMARY KEY, hash INTEGER NOT NULL,"
                " rest INTEGER NOT NULL, namespace TEXT NOT NULL, value BLOB, first_seen INTEGER, last_seen INTEGER,"
                " degree INTEGER NOT NULL, demoted TEXT NOT NULL, erased INTEGER, purged INTEGER,"
                " person INTEGER NOT NULL, holder INTEGER NOT NULL, carry INTEGER NOT NULL, compacted INTEGER NOT NULL,"
                " strands INTEGER NOT NULL, shard INTEGER NOT NULL, sequence INTEGER NOT NULL)",
                # last_id is null where it is first_id; status is empty for what is in no ledger
                "CREATE TABLE identity_links (left_no INTEGER NOT NULL, right_no INTEGER NOT NULL,"
                " kind INTEGER NOT NULL, first_time INTEGER NOT NULL, first_id BLOB NOT NULL,"
                " last_time INTEGER NOT NULL, last_id BLOB, received INTEGER NOT NULL, status TEXT NOT NULL,"
                " rule TEXT NOT NULL, conflict INTEGER NOT NULL, PRIMARY KEY (left_no, right_no, kind)) WITHOUT ROWID",
                "CREATE TABLE identity_strands (login INTEGER NOT NULL, device INTEGER NOT NULL,"
                " shard INTEGER NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (login, device)) WITHOUT ROWID",
                *INDEXES.values(),
            ),
        ),
        Migration(
            "what changed last in which unit of work, for the tables",
            (
                "ALTER TABLE identity_identifiers ADD COLUMN change INTEGER NOT NULL DEFAULT 0",
                "ALTER TABLE identity_links ADD COLUMN change INTEGER NOT NULL DEFAULT 0",
                # links that an erasure took; those that came back since are among the links again
                "CREATE TABLE identity_gone (left_no INTEGER NOT NULL, right_no INTEGER NOT NULL,"
                " kind INTEGER NOT NULL, change INTEGER NOT NULL, PRIMARY KEY (left_no, right_no, kind)) WITHOUT ROWID",
                *CHANGE_INDEXES.values(),
                "CREATE INDEX identity_gone_by_change ON identity_gone (change, left_no, right_no, kind)",
            ),
        ),
        Migration(
            "marks of erased events on devices that are carried",
            (
                # device and login: hashes, as in identity_identifiers; login_rest is -1 and until is null for an event
                # that named no login
                "CREATE TABLE identity_marks (device INTEGER NOT NULL, device_rest INTEGER NOT NULL,"
                " at INTEGER NOT NULL, login INTEGER NOT NULL, login_rest INTEGER NOT NULL, logout INTEGER NOT NULL,"
                " until INTEGER, PRIMARY KEY (device, device_rest, at, login, login_rest, logout)) WITHOUT ROWID",
                "CREATE INDEX identity_marks_by_login ON identity_marks (login)",
            ),
        ),
        Migration(
            "what requests for erasure need to ask again: each of their times, and who was seen on which device",
            (
                # of known identifiers, by hash as in identity_identifiers: the times up to which something covered them
                "CREATE TABLE identity_erasures (hash INTEGER NOT NULL, rest INTEGER NOT NULL, until INTEGER NOT NULL,"
                " PRIMARY KEY (hash, rest, until)) WITHOUT ROWID",
                # logins whose evidence on a device that is carried is erased, and when it began
                "CREATE TABLE identity_erased_pairs (login INTEGER NOT NULL, device INTEGER NOT NULL,"
                " first_time INTEGER NOT NULL, PRIMARY KEY (login, device)) WITHOUT ROWID",
                "CREATE INDEX identity_erased_pairs_by_device ON identity_erased_pairs (device)",
            ),
        ),
    ),
)

_HASH = Struct(">qH")
_DIGEST = np.dtype([("hash", ">i8"), ("rest", ">u2")])
_SIGN = 1 << 63
_WRAP = 1 << 64


def hash_of(person_id: str) -> tuple[int, int]:
    """A canonical id as it stands in the table: (hash, rest).

    Raises:
        ValueError: it is no canonical id.
    """
    if len(person_id) != 22 or not person_id.startswith("p_"):
        raise ValueError(f"{person_id!r} is no id of a person")
    whole = int(person_id[2:18], 16)
    return (whole - _WRAP if whole >= _SIGN else whole, int(person_id[18:], 16))


def id_of(hashed: int, rest: int) -> str:
    """The canonical id of (hash, rest)."""
    return f"p_{hashed % _WRAP:016x}{rest:04x}"


def identifier_hash(identifier: Identifier) -> tuple[int, int]:
    """Where an identifier is found: (hash, rest) of its canonical id."""
    hashed, rest = _HASH.unpack(canonical_digest(identifier))
    return hashed, rest


class Names(NamedTuple):
    """Of many identifiers, in their order: hash, rest and shard, as they stand in the table, as columns."""

    hashes: npt.NDArray[np.int64]
    rests: npt.NDArray[np.int64]
    shards: npt.NDArray[np.int64]

    def places(self) -> Iterator[tuple[int, int]]:
        """Where each is found."""
        return zip(self.hashes.tolist(), self.rests.tolist(), strict=True)


def names_of(identifiers: Iterable[Identifier], shards: int) -> Names:
    """Where identifiers are found, and in which of ``shards`` shards they are."""
    digests, places = bytearray(), array("q")
    for digest, _, shard in in_bulk(identifiers, shards):
        digests += digest
        places.append(shard)
    found = np.frombuffer(bytes(digests), dtype=_DIGEST)
    return Names(found["hash"].astype(np.int64), found["rest"].astype(np.int64), np.array(places, dtype=np.int64))


def to_bytes(text: str) -> bytes:
    """Any text, also one that no database takes as a text."""
    return text.encode("utf-8", "surrogatepass")


def to_text(data: bytes) -> str:
    """What ``to_bytes`` was given."""
    return data.decode("utf-8", "surrogatepass")
