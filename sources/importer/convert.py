"""The import: rows of files to event Avro, what does not map to dead letters, and the counts of both.

Output: ``OUT/events/NAME.avro`` for each input file and ``OUT/dead_letters/NAME.avro`` where rows did not map. Files
are written under a temporary name and renamed, and their names follow from the inputs: importing again replaces them.
"""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import fastavro

from contracts import codec
from contracts.errors import ConfigurationError, InputError, OutputError
from contracts.event import Event
from contracts.event_codec import event_to_record
from contracts.exchange import DeadLetter
from sources.importer.absent import AbsentFields
from sources.importer.filling import NOTHING, Filling
from sources.importer.mapping import Mapping
from sources.importer.readers import header, read_rows
from sources.importer.rows import Row, RowError, flatten
from transforms.dead_letter import ROW_PAYLOAD, DeadLetterBox

_SYNC_ROWS = 1_000


@dataclass
class ImportSummary:
    """What became of the rows: ``dead`` by reason. ``files`` are the event files written.

    ``absent``: what the mapping reads and no row has, with its line; known after ``check_rows``.
    """

    rows: int = 0
    events: int = 0
    filtered: int = 0
    dead: Counter[str] = field(default_factory=Counter)
    files: list[Path] = field(default_factory=list)
    examples: dict[str, str] = field(default_factory=dict)
    absent: list[tuple[int, str]] = field(default_factory=list)


def check_columns(paths: list[Path], mapping: Mapping, filling: Filling = NOTHING) -> None:
    """Every column that the mapping reads must stand in each file's header, or be filled.

    Raises:
        ConfigurationError: naming the line of the mapping and the file.
    """
    for path in paths:
        names = header(path, mapping)
        if names is None:
            continue
        if not names:
            raise InputError(f"{path} is empty")
        there = {*names, *filling.names}
        for columns, line in mapping.columns():
            if twice := next((column for column in columns if names.count(column) > 1), None):
                raise ConfigurationError(mapping.path, line, f"{path.name} has the column {twice!r} more than once")
            if mapping.columns_may_be_absent:
                continue
            if columns and not any(c in there or re.split(r"[.\[]", c)[0] in there for c in columns):
                wanted = " or ".join(repr(column) for column in columns)
                near = difflib.get_close_matches(columns[0], names, n=1)
                meant = f"did you mean {near[0]!r}? " if near else ""
                raise ConfigurationError(
                    mapping.path,
                    line,
                    f"{path.name} has no column {wanted}",
                    hint=f"{meant}its columns: {', '.join(names[:40])}; what every row leaves out, --fill says",
                )


def import_files(
    paths: list[Path],
    mapping: Mapping,
    out: Path,
    box: DeadLetterBox,
    on_row: Callable[[ImportSummary], None],
    filling: Filling = NOTHING,
) -> ImportSummary:
    """Import files, one event file each.

    Args:
        on_row: called now and then with the counts so far.
        filling: what rows leave out.

    Raises:
        ConfigurationError: a column is missing, found before the first row.
        InputError, OutputError: reading or writing fails; files finished before stay.
    """
    check_columns(paths, mapping, filling)
    summary = ImportSummary()
    schema = fastavro.parse_schema(codec.raw_schema("event"))
    for path, name in zip(paths, _names(paths), strict=True):
        target = out / "events" / f"{name}.avro"
        with _Letters(out / "dead_letters" / f"{name}.avro") as letters:
            _write(target, schema, _events(path, mapping, filling, box, letters, summary, on_row))
            letters.keep()
        summary.files.append(target)
    on_row(summary)
    return summary


def check_rows(
    paths: list[Path], mapping: Mapping, on_row: Callable[[ImportSummary], None], filling: Filling = NOTHING
) -> ImportSummary:
    """What would become of the rows of files; nothing is written.

    Raises:
        ConfigurationError: a column is missing, found before the first row.
        InputError: a file cannot be read to its end.
    """
    check_columns(paths, mapping, filling)
    summary, absent = ImportSummary(), AbsentFields(mapping)
    for path in paths:
        for _ in _events(path, mapping, filling, None, None, summary, on_row, absent):
            pass
    summary.absent = absent.told()
    return summary


def _events(
    path: Path,
    mapping: Mapping,
    filling: Filling,
    box: DeadLetterBox | None,
    letters: _Letters | None,
    summary: ImportSummary,
    on_row: Callable[[ImportSummary], None],
    absent: AbsentFields | None = None,
) -> Iterator[dict[str, Any]]:
    repeats: Counter[str] = Counter()
    for number, row in read_rows(path, mapping):
        summary.rows += 1
        if summary.rows % _SYNC_ROWS == 0:
            on_row(summary)
        produced = 0
        try:
            if isinstance(row, RowError):
                raise row
            given = filling.row(row)
            if absent is not None:
                absent.note(given)
            for item in mapping.rows(given):
                for event, numbered in mapping.events(item):
                    produced += 1
                    yield event_to_record(_told_apart(event, repeats) if numbered else event)
            summary.events += produced
            summary.filtered += not produced
        except RowError as error:
            summary.events += produced
            summary.dead[error.reason] += 1
            summary.examples.setdefault(error.reason, f"{path.name}, row {number}: {error}")
            if box is None or letters is None:
                continue
            letters.add(
                box.reject(
                    "import",
                    error.reason,
                    f"row {number}: {error}",
                    path.name,
                    codec.schema_id("event"),
                    0,
                    ROW_PAYLOAD,
                    _payload(error if isinstance(row, RowError) else row),
                )
            )


def _told_apart(event: Event, repeats: Counter[str]) -> Event:
    """The event under an id of its own among the equal ids of a file."""
    earlier = repeats[event.event_id]
    repeats[event.event_id] += 1
    return replace(event, event_id=f"{event.event_id}-{earlier + 1}") if earlier else event


def _payload(row: Row | RowError) -> bytes:
    """A row that does not map as JSON; one that could not be read as it stands in the file, to the last byte."""
    if isinstance(row, RowError):
        text = row.raw or ""
    else:
        try:
            text = json.dumps(row, default=str)
        except (RecursionError, ValueError, TypeError):
            # only Avro and Parquet hold what JSON does not: such a row is kept as its paths and values, one a line
            text = "\n".join(f"{path} = {value!r}" for path, value in flatten(row))
    return text.encode("utf-8", "surrogatepass")


class _Letters:
    """The dead letters of one input file, written as they come: a file of nothing but bad rows needs no memory.

    The file appears under its name with ``keep``; without any letter an earlier one of that name is removed.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._temporary = target.with_suffix(".tmp")
        self._file: IO[bytes] | None = None
        self._writer: Any = None

    def __enter__(self) -> _Letters:
        return self

    def add(self, letter: DeadLetter) -> None:
        """Write one letter. Raises OutputError."""
        with _writing(self._target):
            if self._file is None:
                self._target.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._temporary.open("wb")
                schema = fastavro.parse_schema(codec.raw_schema("dead_letter"))
                self._writer = fastavro.write.Writer(self._file, schema, codec="deflate")
            self._writer.write(asdict(letter))

    def keep(self) -> None:
        """All letters of the input are written. Raises OutputError."""
        with _writing(self._target):
            if self._file is None:
                self._target.unlink(missing_ok=True)
            else:
                self._writer.flush()
                self._file.close()
                self._temporary.replace(self._target)

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
            self._temporary.unlink(missing_ok=True)


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}") from error


def _write(target: Path, schema: Any, records: Iterator[dict[str, Any]]) -> None:
    temporary = target.with_suffix(".tmp")
    try:
        with _writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                fastavro.writer(file, schema, records, codec="deflate")
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _names(paths: list[Path]) -> list[str]:
    """One output name an input, unlike each other even when two folders hold files of one name."""
    stems = [re.sub(r"[^A-Za-z0-9_-]+", "-", path.name.split(".")[0]) or "input" for path in paths]
    seen: Counter[str] = Counter()
    out = []
    for stem in stems:
        seen[stem] += 1
        out.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return out
