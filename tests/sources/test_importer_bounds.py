"""Files that are small and say much: memory stays bounded, and the row or the file is refused by name."""

from __future__ import annotations

import contextlib
import gzip
import io
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
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.errors import InputError
from sources.importer import json_items, parquet, readers
from sources.importer.parquet_pages import PagesError, pages_of, schema_depth
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
    monkeypatch.setattr(parquet, "MAX_ROW", 10_000)
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
    monkeypatch.setattr(parquet, "MAX_COLUMN", 1_000)
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


# --- what a file says of itself ----------------------------------------------------------------------------------


def _zigzag(number: int, length: int = 0) -> bytes:
    """A number as Thrift has it, in so many bytes: more than it needs are allowed."""
    value, out = number << 1, bytearray()
    while value > 127 or len(out) + 1 < length:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def test_pages_count_by_their_own_heads_whatever_the_end_of_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "liar.parquet"
    pq.write_table(pa.table({"wide": ["x" * 20_000]}), path, compression="zstd", use_dictionary=False)
    said = pq.read_metadata(path).row_group(0).column(0).total_uncompressed_size
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    lie = data[footer:].replace(_zigzag(said), _zigzag(100, len(_zigzag(said))))
    path.write_bytes(data[:footer] + lie)
    assert pq.read_metadata(path).row_group(0).column(0).total_uncompressed_size == 100
    assert len(_rows(path, "parquet")) == 1
    for bound, words in (("MAX_COLUMN", "column wide takes 20,"), ("MAX_AT_ONCE", "read together take 20,")):
        with monkeypatch.context() as patched:
            patched.setattr(parquet, bound, 10_000)
            with pytest.raises(InputError, match=words):
                _rows(path, "parquet")


def test_heads_of_pages_say_what_the_library_wrote(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    rows = [
        {"t": f"{i % 90:050}", "n": i, "l": [i, i + 1, None], "s": "z" * 3000 if i == 7 else None} for i in range(5_000)
    ]
    for version in ("1.0", "2.0"):
        pq.write_table(
            pa.Table.from_pylist(rows), path, data_page_size=2_000, data_page_version=version, compression="gzip"
        )
        meta = pq.read_metadata(path)
        with path.open("rb") as file:
            assert schema_depth(file) == 3
            for place in range(meta.num_columns):
                column = meta.row_group(0).column(place)
                start = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
                pages = pages_of(file, start, column.total_compressed_size, column.num_values)
                assert pages.values == column.num_values
                assert 0 < pages.largest <= pages.total <= column.total_uncompressed_size
                assert (pages.dictionary > 0) == column.has_dictionary_page
                # the heads themselves are counted at the end of the file, and nothing else
                assert column.total_uncompressed_size - pages.total < 100 * (pages.total // max(pages.largest, 1) + 3)


def _nested_schema(depth: int) -> bytes:
    """A file of no row whose one column stands in so many groups, one in the other."""
    group = b"\x35\x00\x18\x01g\x15\x02\x00"
    elements = b"\x48\x01r\x15\x02\x00" + group * depth + b"\x15\x02\x25\x00\x18\x01x\x00"
    footer = b"\x15\x04\x19\xfc" + _unsigned(depth + 2) + elements + b"\x16\x00\x19\x0c\x00"
    return b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def _unsigned(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def test_a_schema_nested_without_end_is_refused_before_a_stack_overflows(tmp_path: Path) -> None:
    path = tmp_path / "deep.parquet"
    path.write_bytes(_nested_schema(50))
    assert _rows(path, "parquet") == []
    path.write_bytes(_nested_schema(20_000))
    for read in (lambda: _rows(path, "parquet"), lambda: readers.header(path, _Layout(("parquet",)))):
        with pytest.raises(InputError, match="nested 20001 deep"):
            read()


@settings(max_examples=300)
@given(st.binary(max_size=60), st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_no_bytes_make_the_reader_of_heads_raise_anything_else(data: bytes, size: int, values: int) -> None:
    with contextlib.suppress(PagesError):
        pages_of(io.BytesIO(data), 0, size, values)
    with contextlib.suppress(PagesError):
        schema_depth(io.BytesIO(b"PAR1" + data + len(data).to_bytes(4, "little") + b"PAR1"))


def test_values_of_a_fixed_length_that_are_large_are_read_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not read as dictionaries: 4,096 rows of one value of 8 MB, said once, would be 32 GB."""
    path = tmp_path / "fixed.parquet"
    pq.write_table(pa.table({"a": pa.array([b"x" * 100] * 50, pa.binary(100)), "b": range(50)}), path)
    assert len(_rows(path, "parquet")) == 50
    monkeypatch.setattr(parquet, "MAX_ROW", 1_000)
    assert parquet._batch_size(path, pq.read_metadata(path)) == 10
    monkeypatch.setattr(parquet, "MAX_ROW", 99)
    with pytest.raises(InputError, match="of fixed length take 100 bytes a row"):
        _rows(path, "parquet")


# --- Avro --------------------------------------------------------------------------------------------------------


def test_a_row_of_avro_that_holds_millions_of_values_is_refused_unbuilt(tmp_path: Path) -> None:
    """30 MB of zeros are 15 million records, of 200 bytes of memory each."""
    path = tmp_path / "many.avro"
    item = {"type": "record", "name": "I", "fields": [{"name": "a", "type": "int"}, {"name": "b", "type": "int"}]}
    schema = {"type": "record", "name": "R", "fields": [{"name": "l", "type": {"type": "array", "items": item}}]}
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (
        packer.compress(_long(30_000_000)) + b"".join(packer.compress(bytes(MIB)) for _ in range(58)) + packer.flush()
    )
    _avro_block(path, schema, 1, packed)
    assert path.stat().st_size < MIB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match="after row 0, since of the next row it holds more than"):
        _rows(path, "avro")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024


def test_records_of_records_of_nothing_are_refused(tmp_path: Path) -> None:
    """Forty records, each twice the one before: a value of no byte would be made of 2**40."""
    inner: Any = {"type": "record", "name": "R0", "fields": []}
    for n in range(1, 41):
        fields = [{"name": "a", "type": inner}, {"name": "b", "type": f"R{n - 1}"}]
        inner = {"type": "record", "name": f"R{n}", "fields": fields}
    _avro_block(tmp_path / "x.avro", inner, 1, b"\0", codec="null")
    with pytest.raises(InputError, match="made of more than"):
        _rows(tmp_path / "x.avro", "avro")


# --- JSON --------------------------------------------------------------------------------------------------------


def _peak(path: Path, kind: str, rows: int) -> int:
    """MiB of memory that a process of its own takes at most to read so many rows."""
    code = (
        "import re, sys; from pathlib import Path; from sources.importer import readers\n"
        f"class L: name, formats, delimiter = 'm', ('{kind}',), ','\n"
        "try:\n"
        "    for number, row in readers.read_rows(Path(sys.argv[1]), L()):\n"
        f"        if number == {rows}: break\n"
        "except readers.InputError: print('refused')\n"
        # the most that getrusage tells is that of the process which started this one, where that had more
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def test_a_document_of_any_size_is_read_item_by_item(tmp_path: Path) -> None:
    path = tmp_path / "long.json.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"[\n")
        for n in range(60):
            file.write((b"," if n else b"") + b'{"a": "' + b"x" * MIB + b'"}')
        file.write(b"]")
    assert _peak(path, "json", 1_000) < 130


@pytest.mark.parametrize("begin", [b"", b"[", b'[{"a": 1}, '])
def test_an_item_of_a_document_is_bounded_and_the_bound_is_named(tmp_path: Path, begin: bytes) -> None:
    path = tmp_path / "long.json.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(begin + b'{"a": "')
        for _ in range(100):
            file.write(b"x" * MIB)
    place = 2 if begin.endswith(b", ") else 1
    with pytest.raises(InputError, match=f"item {place} of the document is longer than {readers.MAX_LINE}") as refused:
        _rows(path, "json")
    assert "JSON lines" in refused.value.hint


@settings(max_examples=80)
@given(
    st.lists(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=6,
        )
    ),
    st.sampled_from([None, 1, " \n "]),
    st.integers(1, 9),
    st.integers(0, 12),
)
def test_a_document_read_in_pieces_is_what_it_is_whole(items: list[Any], indent: Any, piece: int, cut: int) -> None:
    whole = json.dumps(items, indent=indent, ensure_ascii=False)
    text = whole[: max(0, len(whole) - cut)]

    def read() -> list[Any]:
        ahead = json_items.LookAhead(io.StringIO(text), 1_000_000)
        found: list[Any] = []
        assert ahead.take("[")
        while not ahead.next_is("]"):
            item, written = ahead.item()
            assert json.loads(written) == item
            found.append(item)
            if not ahead.take(","):
                break
        if not ahead.take("]"):
            raise ahead.fault("no end")
        assert ahead.is_done()
        return found

    before, json_items._PIECE = json_items._PIECE, piece
    try:
        if cut == 0:
            assert read() == items
        else:
            with pytest.raises((json.JSONDecodeError, AssertionError)):
                read()
    finally:
        json_items._PIECE = before
