"""Where the tests of stores keep them: a file, or a database of the test server, to be used alike."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from transforms.secret import SecretReference
from transforms.stores.database import STORE_FILE, Migration, Schema, StoreAddress
from transforms.stores.records import RecordKey, StoredRecord

ROOT = Path(__file__).parents[3]
_HERE = Path(__file__).parent

THINGS = Schema(
    "things",
    (
        Migration(
            "things",
            (
                "CREATE TABLE things (name TEXT NOT NULL PRIMARY KEY, n INTEGER NOT NULL, part REAL, body BLOB)"
                " WITHOUT ROWID",
                "CREATE INDEX things_by_n ON things (n)",
            ),
        ),
    ),
)
"""A store of the tests' own."""


def a_record(key: str, version: int = 1, *, shard: int = 3) -> StoredRecord:
    body = f"{key}/{version}".encode() + b"\0\xff"
    return StoredRecord(RecordKey("strand", shard, key), version, 100, 2, body)


@dataclass(frozen=True)
class Place:
    """An empty database of one kind, and the way into it past every layer of ours."""

    kind: str
    address: StoreAddress
    url: str = ""

    def behind(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as somebody else would; the rows of the last."""
        rows: list[tuple[Any, ...]] = []
        if self.kind == "sqlite":
            assert self.address.path is not None
            self.address.path.parent.mkdir(exist_ok=True)
            with closing(sqlite3.connect(self.address.path, isolation_level=None)) as connection:
                for statement in statements:
                    rows = connection.execute(statement).fetchall()
            return rows
        with psycopg.connect(self.url, autocommit=True) as opened:
            for statement in statements:
                cursor = opened.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows


def in_file(folder: Path) -> Place:
    return Place("sqlite", StoreAddress(folder / "stores" / STORE_FILE))


def in_server(folder: Path, url: str) -> Place:
    secret = folder / "store_url"
    secret.write_text(url + "\n")
    return Place("postgres", StoreAddress(postgres=SecretReference(path=str(secret))), url)


def another(code: str, place: Place, *arguments: str) -> list[str]:
    """The command of another process: it finds the test modules by ``sys.argv[1]``, and the place in the rest."""
    address = place.address
    where = ["postgres", str(address.postgres.path)] if address.postgres else ["sqlite", str(address.path)]
    folders = f"{_HERE}:{ROOT / 'tests' / 'services'}"
    return [sys.executable, "-c", code, folders, *where, *arguments]


def address_of(words: Sequence[str]) -> StoreAddress:
    """The address as another process was given it."""
    kind, where, *_ = words
    return StoreAddress(Path(where)) if kind == "sqlite" else StoreAddress(postgres=SecretReference(path=where))


MakePlace = Callable[[], Place]
