"""Files that are small and say much: memory stays bounded, and the row or the file is refused by name."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contracts.errors import InputError
from sources.importer import readers
from sources.importer.rows import RowError

MIB = 1 << 20


@dataclass(frozen=True)
class _Layout:
    formats: tuple[str, ...]
    name: str = "m"
    delimiter: str = ","


def _rows(path: Path, kind: str) -> list[Any]:
    return [row for _, row in readers.read_rows(path, _Layout((kind,)))]


def _avro_block(path: Path, schema: dict[str, Any], count: int, packed: bytes, codec: str = "deflate") -> None:
    """A container of one block whose content is given as it stands in the file."""
    with path.open("wb") as file:
        fastavro.writer(file, schema, [], codec=codec)
    sync = path.read_bytes()[-16:]
    with path.open("ab") as file:
        for number in (count, len(packed)):
            file.write(_long(number))
        file.write(packed + sync)


def _long(number: int) -> bytes:
    value, out = number << 1, bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _deflated(size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join([*(packer.compress(bytes(MIB)) for _ in range(size // MIB)), packer.flush()])


TEXT = {"type": "record", "name": "R", "fields": [{"name": "a", "type": "string"}]}


def avro_bomb(path: Path) -> str:
    _avro_block(path, TEXT, 1, _deflated(300 * MIB))
    return "avro"


def avro_of_nothing(path: Path) -> str:
    items = {"type": "record", "name": "R", "fields": [{"name": "a", "type": {"type": "array", "items": "null"}}]}
    _avro_block(path, items, 1, _long(1 << 40) + b"\0", codec="null")
    return "avro"


def avro_of_empty_records(path: Path) -> str:
    _avro_block(path, {"type": "record", "name": "R", "fields": []}, 1 << 40, b"", codec="null")
    return "avro"


def avro_text_without_end(path: Path) -> str:
    _avro_block(path, TEXT, 1, _long(1 << 45) + b"x", codec="null")
    return "avro"


def csv_of_one_row(path: Path) -> str:
    """Quotes that open in one line and close in the next: the row never ends, and none of its fields is long."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'a,b\n"')
        for _ in range(100):
            file.write((b"x" * 1020 + b'\n","') * 1024)
    return "csv"


def csv_of_one_line(path: Path) -> str:
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(bytes(MIB))
    return "csv"


@pytest.mark.parametrize(
    "write",
    [avro_bomb, avro_of_nothing, avro_of_empty_records, avro_text_without_end, csv_of_one_row, csv_of_one_line],
)
def test_a_small_file_that_says_much_is_refused_in_bounded_memory(tmp_path: Path, write: Callable[[Path], str]) -> None:
    path = tmp_path / "bomb"
    kind = write(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="bomb"):
        _rows(path, kind)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 450 * 1024, f"{grown / 1024:.0f} MiB"


def test_a_long_line_of_json_is_one_dead_row_and_the_next_is_read(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{"a": "')
        for _ in range(100):
            file.write(b"x" * MIB)
        file.write(b'"}\n{"a": 1}\n')
    first, second = _rows(path, "jsonl")
    assert isinstance(first, RowError)
    assert first.raw is not None
    assert len(first.raw) == readers.MAX_LINE
    assert second == {"a": 1}


@pytest.mark.parametrize("depth", [1_000, 1_000_000])
def test_deep_nesting_is_a_dead_row(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text("[" * depth + "]" * depth + "\n" + json.dumps({"a": 1}) + "\n")
    first, second = _rows(path, "jsonl")
    assert isinstance(first, RowError)
    assert second == {"a": 1}


def test_a_long_text_said_many_times_over_by_parquet_is_read_piece_by_piece(tmp_path: Path) -> None:
    """4,000 rows of 20 MB each in a file of a few kilobytes: at once they would take 80 GB."""
    path = tmp_path / "said.parquet"
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 4000, pa.int32()), pa.array(["x" * 20_000_000]))
    pq.write_table(pa.table({"a": text, "n": pa.array(range(4000))}), path)
    assert path.stat().st_size < MIB
    code = (
        "import re, sys; from pathlib import Path; from sources.importer import readers\n"
        "class L: name, formats, delimiter = 'm', ('parquet',), ','\n"
        "for number, row in readers.read_rows(Path(sys.argv[1]), L()):\n"
        "    assert len(row['a']) == 20_000_000 and row['n'] == number - 1\n"
        "    if number == 40: break\n"
        # the most that getrusage tells is that of the process which started this one, where that had more
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 700


def test_a_row_of_parquet_that_is_too_large_is_dead_and_the_others_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_ROW", 10_000)
    path = tmp_path / "in.parquet"
    rows = [{"a": "x", "b": {"c": ["y", "z"]}}, {"a": "x" * 20_000, "b": None}, {"a": None, "b": {"c": ["y"]}}]
    tables = [
        pa.Table.from_pylist([row], pa.schema({"a": pa.string(), "b": pa.struct({"c": pa.list_(pa.string())})}))
        for row in rows
    ]
    with pq.ParquetWriter(path, tables[0].schema) as writer:
        for table in tables:
            writer.write_table(table)
    first, second, third = _rows(path, "parquet")
    assert first == rows[0]
    assert isinstance(second, RowError)
    assert third == rows[2]


def test_a_column_that_inflates_beyond_the_bound_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "MAX_COLUMN", 1_000)
    path = tmp_path / "in.parquet"
    pq.write_table(pa.table({"wide": ["x" * 20_000]}), path, compression="zstd")
    with pytest.raises(InputError, match="column wide takes") as refused:
        _rows(path, "parquet")
    assert "row groups" in refused.value.hint


def test_every_kind_of_value_comes_out_of_parquet_as_before(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    rows = [
        {"s": "a", "b": b"\x00\xff", "i": 1, "l": ["p", "q"], "st": {"x": "y", "n": 2}, "m": [("k", "v")]},
        {"s": None, "b": None, "i": None, "l": None, "st": None, "m": None},
    ]
    schema = pa.schema(
        {
            "s": pa.string(),
            "b": pa.binary(),
            "i": pa.int64(),
            "l": pa.list_(pa.string()),
            "st": pa.struct({"x": pa.large_string(), "n": pa.int32()}),
            "m": pa.map_(pa.string(), pa.string()),
        }
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
    assert _rows(path, "parquet") == pq.read_table(path).to_pylist() == rows


def test_nested_texts_of_many_row_groups_whose_dictionaries_overflow_are_read(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    rows = [{"l": [f"{i}-{j}" * 4 for j in range(2)], "st": {"x": f"{i}" * 5}} for i in range(12_000)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=9_000, dictionary_pagesize_limit=20_000)
    assert "PLAIN" in pq.ParquetFile(path).metadata.row_group(0).column(0).encodings
    assert _rows(path, "parquet") == rows
