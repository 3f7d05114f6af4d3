"""What the tests of whole runs share: small worlds, runs of lists of events, and what tables say, comparable."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import fastavro
import pyarrow.parquet as pq

from contracts import codec
from contracts.event import Event, Identifier
from contracts.event_codec import event_to_record
from pipelines.config import SHIPPED
from pipelines.definitions import Definitions, load_definitions
from pipelines.run import RunReport, run
from pipelines.run_options import RunOptions
from transforms.identity.rules import IdentityRules
from transforms.identity.rules_file import load_rules
from transforms.keys import parse_key
from transforms.protect import Pseudonymiser
from transforms.tables.views import open_views

Record = dict[str, Any]
Row = tuple[Any, ...]

NOON = 1_736_164_800_000_000
"""2025-01-06T12:00Z."""
SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
KEY = "0b" * 32

SHIPPED_IDENTITY = SHIPPED / "identity.yaml"
FEW_SHARDS = "shards: {strand: 4, journey: 4}\n"
"""Most tests do not need 64 parts a table."""


def definitions(config: Path) -> Definitions:
    """What ``run`` would read from the file, read once."""
    return load_definitions(config, None)


def event(number: int | str, name: str, at: int, ids: dict[str, str], **changes: Any) -> Record:
    """A well-formed event record, received a second after it happened."""
    fields: dict[str, Any] = {
        "event_id": f"e{number}",
        "name": name,
        "event_time": at,
        "received_time": at + SECOND,
        "source": "web",
        "channel": "web",
        "identifiers": tuple(Identifier(*item) for item in ids.items()),
    }
    return event_to_record(Event(**{**fields, **changes}))


def write_events(path: Path, records: Iterable[Record]) -> Path:
    """An event file with plain integer times."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        fastavro.writer(file, codec.without_logical_types(codec.raw_schema("event")), records, codec="null")
    return path


def read_events(folder: Path) -> list[Record]:
    """Every record of a folder of event files, times as integers, in the order of the files."""
    schema = fastavro.parse_schema(codec.without_logical_types(codec.raw_schema("event")))
    found: list[Record] = []
    for path in sorted(folder.glob("*.avro")):
        with path.open("rb") as file:
            reader = fastavro.reader(file)
            plain = fastavro.parse_schema(codec.without_logical_types(reader.writer_schema))
            file.seek(0)
            for block in fastavro.block_reader(file):
                stream = block.bytes_
                found.extend(_records(stream, block.num_records, plain, schema))
    return found


def _records(stream: Any, number: int, written: Any, wanted: Any) -> Iterable[Record]:
    for _ in range(number):
        record = fastavro.schemaless_reader(stream, written, wanted)
        assert isinstance(record, dict)
        yield record


@dataclass
class Runs:
    """One output folder and the runs into it."""

    root: Path
    config: Path
    out: Path = field(init=False)
    reports: list[RunReport] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.out = self.root / "out"
        keys = self.out / "keys"
        keys.mkdir(parents=True, exist_ok=True)
        # one key for all, so that the tables of two folders can be compared
        (keys / "pseudonym.key").write_text(KEY, encoding="ascii")
        (keys / "dead_letter.key").write_text(KEY[::-1], encoding="ascii")

    def run(self, records: Sequence[Record], **options: Any) -> RunReport:
        """Run over these records; further options are those of ``RunOptions``."""
        path = write_events(self.root / f"input-{len(self.reports)}" / "events.avro", records)
        return self.run_files(path.parent, **options)

    def run_files(self, *inputs: Path, **options: Any) -> RunReport:
        """Run over files or folders."""
        settings = {"config": self.config, "workers": 1, **options}
        report = run(RunOptions(tuple(map(str, inputs)), self.out, **settings))
        self.reports.append(report)
        return report

    @cached_property
    def identity(self) -> IdentityRules:
        return load_rules(load_definitions(self.config).config.identity)

    def views(self, names: Iterable[str] | None = None) -> dict[str, list[Row]]:
        """Every view, or those named, as sorted rows without revision."""
        return views(self.out, self.config, names)

    def query(self, sql: str) -> list[Row]:
        """Rows of a query over the views."""
        return query(self.out, self.config, sql)

    def pseudonym(self, namespace: str, value: str) -> tuple[str, str]:
        """What stands in the tables for a raw identifier."""
        normal = self.identity.normalise(Identifier(namespace, value))
        assert normal is not None
        return tuple(Pseudonymiser(parse_key(KEY, "test")).pseudonym(normal))  # type: ignore[return-value]

    def person(self, namespace: str, value: str) -> str | None:
        """The person who holds a raw identifier, by the tables ``identifiers`` and ``persons`` (for an alias)."""
        space, pseudonym = self.pseudonym(namespace, value)
        found = self.query(
            "SELECT coalesce(p.merged_into, i.person_id) FROM identifiers i LEFT JOIN persons p USING (person_id) "
            f"WHERE i.namespace = '{space}' AND i.value = '{pseudonym}'"
        )
        return str(found[0][0]) if found else None


def query(out: Path, config: Path, sql: str) -> list[Row]:
    """Rows of a query over the views of OUT."""
    connection = open_views(out, definitions(config).tables)
    try:
        found: list[Row] = connection.execute(sql).fetchall()
        return found
    finally:
        connection.close()


def refolded(config: Path) -> list[str]:
    """Tables that are a pure function of the events: all refolded ones but labels, which join decisions."""
    return [table.name for table in definitions(config).tables if table.refolded and table.name != "labels"]


def views(out: Path, config: Path, names: Iterable[str] | None = None) -> dict[str, list[Row]]:
    """Sorted rows of the views without their revision."""
    tables = definitions(config).tables
    wanted = refolded(config) if names is None else list(names)
    connection = open_views(out, tables)
    try:
        return {
            name: sorted(connection.execute(f"SELECT * EXCLUDE (revision) FROM {name}").fetchall(), key=repr)
            for name in wanted
        }
    finally:
        connection.close()


def assert_same(found: dict[str, list[Row]], expected: dict[str, list[Row]]) -> None:
    """Row by row, with the first differing rows in the message."""
    assert found.keys() == expected.keys()
    for name, rows in expected.items():
        if found[name] != rows:
            extra, missing = list(set(found[name]) - set(rows))[:2], list(set(rows) - set(found[name]))[:2]
            raise AssertionError(f"{name}: {len(found[name])} rows, not {len(rows)}; {extra=} {missing=}")


def letters_of(runs: Runs) -> set[Row]:
    """Dead letters and expired events. Of batches there may be more: those of who asks for erasure only later."""
    return {row for rows in runs.views(["dead_letters", "expired_late"]).values() for row in rows}


def shuffled(records: Sequence[Record], seed: int) -> list[Record]:
    """A copy in another order."""
    copy = list(records)
    random.Random(seed).shuffle(copy)
    return copy


def text_of(folder: Path, *, raw: bool = True) -> str:
    """Everything below a folder as text: parquet cells, one a line, and with ``raw`` every file's bytes as latin-1."""
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        if raw:
            found.append(path.read_bytes().decode("latin-1"))
        if path.suffix == ".parquet":
            for column in pq.read_table(path).columns:
                for cell in column.to_pylist():
                    found.append(cell.decode("latin-1") if isinstance(cell, bytes) else str(cell))
    return "\n".join(found)
