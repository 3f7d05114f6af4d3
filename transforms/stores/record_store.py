"""The record store in the shared database; see ``transforms.stores.records`` for what it promises."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence

from transforms.stores.database import Database, Migration, Row, Schema, Transaction
from transforms.stores.records import Cut, Put, RecordKey, StoredRecord

PAGE = 500
"""Records that ``of_shard`` reads at once."""

SCHEMA = Schema(
    "records",
    (
        Migration(
            "records and whose were erased",
            (
                # bodies are kilobytes: they lie beside the index and not within it
                "CREATE TABLE records (stage TEXT NOT NULL, shard INTEGER NOT NULL, key TEXT NOT NULL,"
                " version INTEGER NOT NULL, owner_id TEXT NOT NULL, first_time INTEGER NOT NULL,"
                " last_time INTEGER NOT NULL, schema_version INTEGER NOT NULL, body BLOB NOT NULL)",
                "CREATE UNIQUE INDEX records_by_key ON records (stage, shard, key)",
                "CREATE INDEX records_by_owner ON records (owner_id)",
                "CREATE TABLE records_erased (owner_id TEXT NOT NULL PRIMARY KEY, up_to INTEGER NOT NULL)"
                " WITHOUT ROWID",
            ),
        ),
        Migration(
            "an erasure names the records it concerns: nothing is looked for by its owner",
            (
                "DROP TABLE records_erased",
                "DROP INDEX records_by_owner",
                "ALTER TABLE records DROP COLUMN owner_id",
                "ALTER TABLE records DROP COLUMN first_time",
            ),
        ),
    ),
)

_COLUMNS = ("stage", "shard", "key", "version", "last_time", "schema_version", "body")
_ALL = ", ".join(_COLUMNS)
_REPLACE = (
    f"INSERT INTO records ({_ALL}) VALUES ({', '.join('?' * len(_COLUMNS))}) ON CONFLICT (stage, shard, key) DO UPDATE"
    f" SET {', '.join(f'{column} = excluded.{column}' for column in _COLUMNS[3:])}"
)
_DELETE = "DELETE FROM records WHERE stage = ? AND shard = ? AND key IN ??"


class StoredRecords:
    """``RecordStore`` on a database, which it closes at the end."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def close(self) -> None:
        self._database.close()

    def put(self, records: Sequence[StoredRecord]) -> list[Put]:
        return self._database.write(lambda tx: _put(tx, records)) if records else []

    def get(self, keys: Collection[RecordKey]) -> dict[RecordKey, StoredRecord]:
        def look(tx: Transaction) -> dict[RecordKey, StoredRecord]:
            found: dict[RecordKey, StoredRecord] = {}
            for stage, shard, names in _by_shard(keys):
                for row in tx.all(
                    f"SELECT {_ALL} FROM records WHERE stage = ? AND shard = ? AND key IN ??", (stage, shard, names)
                ):
                    record = _record(row)
                    found[record.key] = record
            return found

        return self._database.read(look) if keys else {}

    def of_shard(self, stage: str, shard: int, after: str | None = None) -> Iterator[StoredRecord]:
        while True:
            page = self._page(stage, shard, after)
            yield from page
            if len(page) < PAGE:
                return
            after = page[-1].key.key

    def _page(self, stage: str, shard: int, after: str | None) -> list[StoredRecord]:
        values = (stage, shard) if after is None else (stage, shard, after)
        beyond = "" if after is None else " AND key > ?"
        query = f"SELECT {_ALL} FROM records WHERE stage = ? AND shard = ?{beyond} ORDER BY key LIMIT {PAGE}"
        return [_record(row) for row in self._database.read(lambda tx: tx.all(query, values))]

    def names(self, stage: str, shard: int, prefix: str) -> list[RecordKey]:
        values: tuple[object, ...] = (stage, shard)
        within = ""
        if prefix:
            within = " AND key >= ? AND key < ?"
            values = (*values, prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1))
        query = f"SELECT key FROM records WHERE stage = ? AND shard = ?{within} ORDER BY key"
        rows = self._database.read(lambda tx: tx.all(query, values))
        return [RecordKey(stage, shard, name) for (name,) in rows]

    def delete(self, keys: Collection[RecordKey]) -> int:
        return self._database.write(
            lambda tx: sum(tx.execute(_DELETE, (stage, shard, names)) for stage, shard, names in _by_shard(keys))
        )

    def cut(self, keys: Collection[RecordKey], cut: Cut) -> int:
        def shorten(tx: Transaction) -> int:
            found = [
                _record(row)
                for stage, shard, names in _by_shard(keys)
                for row in tx.all(
                    f"SELECT {_ALL} FROM records WHERE stage = ? AND shard = ? AND key IN ??", (stage, shard, names)
                )
            ]
            return sum(_cut(tx, record, cut) for record in found)

        return self._database.write(shorten) if keys else 0


def _cut(tx: Transaction, record: StoredRecord, cut: Cut) -> bool:
    """Whether something else is there now."""
    left = cut(record)
    if left is None:
        tx.execute(_DELETE, (record.key.stage, record.key.shard, [record.key.key]))
    elif left != record:
        tx.execute(_REPLACE, _row(left))
    return left != record


def _put(tx: Transaction, records: Sequence[StoredRecord]) -> list[Put]:
    versions: dict[RecordKey, int] = {}
    for stage, shard, names in _by_shard(record.key for record in records):
        for key, version in tx.all(
            "SELECT key, version FROM records WHERE stage = ? AND shard = ? AND key IN ??", (stage, shard, names)
        ):
            versions[RecordKey(stage, shard, key)] = version
    new: dict[RecordKey, StoredRecord] = {}
    changed: dict[RecordKey, StoredRecord] = {}
    results: list[Put] = []
    stored = frozenset(versions)
    for record in records:
        if record.version < versions.get(record.key, record.version):
            results.append("stale")
        else:
            versions[record.key] = record.version
            (changed if record.key in stored else new)[record.key] = record
            results.append("stored")
    tx.load("records", _COLUMNS, [_row(record) for _, record in sorted(new.items())])
    tx.execute_many(_REPLACE, [_row(record) for _, record in sorted(changed.items())])
    return results


def _by_shard(keys: Iterable[RecordKey]) -> Iterator[tuple[str, int, list[str]]]:
    """Keys by stage and shard, all in order."""
    shards: dict[tuple[str, int], set[str]] = defaultdict(set)
    for stage, shard, key in keys:
        shards[stage, shard].add(key)
    for (stage, shard), names in sorted(shards.items()):
        yield stage, shard, sorted(names)


def _row(record: StoredRecord) -> tuple[object, ...]:
    return (*record.key, record.version, record.last_time, record.schema_version, record.body)


def _record(row: Row) -> StoredRecord:
    stage, shard, key, *rest = row
    return StoredRecord(RecordKey(stage, shard, key), *rest)
