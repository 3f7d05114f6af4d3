"""Rows, mappings and files that nobody meant well are imported or refused with their reason; formats of files."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mapping_world import EVENT, HEAD, ROW, events, mapping

from contracts import codec
from contracts.documents import parse
from contracts.errors import ConfigurationError, InputError
from contracts.event_codec import event_to_record
from pipelines.config import SHIPPED
from sources.importer.convert import import_files
from sources.importer.guess import guess_layout, sample
from sources.importer.mapping_file import load_mapping, parse_mapping
from sources.importer.readers import format_of, read_rows
from sources.importer.rows import REASONS, RowError, flatten, is_deeper
from sources.importer.survey import survey
from transforms.dead_letter import DeadLetterBox

# --- hostile input -----------------------------------------------------------------------------------------------

EVERYTHING = """  event_id: {coalesce: [{concat: [id, {constant: x}]}, {hash: [id, {coalesce: [a.b, b]}]}]}
  received_time: {coalesce: [{field: sent, format: epoch_s}, {field: day, format: "%d.%m.%Y"}]}
  context: {path: {field: a, apply: [url_path, trim]}}
  consent: {email: {coalesce: [c, a], type: boolean}}
  spread: {fields: [a, p], except: [q]}
  properties:
    d: {field: p.n, type: double, divide: 3}
    l: {field: "a[k=v].n", type: long}
    s: {field: "a[-1]", lookup: {x: 1}, else: keep}
    h: {field: b, apply: [digits, sha256]}
    c: {cases: [{when: {field: b, matches: "^a+$", not_in: [x]}, value: a}, {when: {field: p.n, below: 5}, value: b}]}
"""
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from(
        ["", "NULL", "\ud800", "1e400", "9" * 500, "1_0", "2024-02-30", "٣", "\x00", b"\xff", 2**70, 10**4299]
    )
)
NESTED = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "n", "v", "b", "\ud800"]), inner),
    max_leaves=8,
)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(["what", "at", "user", "id", "a", "b", "c", "p", "sent", "day"]), NESTED))
def test_a_hostile_row_maps_to_an_event_that_can_be_written_or_names_its_reason(row: dict[str, Any]) -> None:
    try:
        made = events(mapping(EVERYTHING), **row)
    except RowError as error:
        found = error.reason
    else:
        for event in made:
            assert codec.encode("event", event_to_record(event))
        return
    assert found in REASONS


KEYWORDS = st.sampled_from(
    [
        "field",
        "constant",
        "hash",
        "coalesce",
        "concat",
        "cases",
        "record",
        "sequence",
        "lookup",
        "apply",
        "type",
        "when",
        "value",
        "all",
        "any",
        "not",
        "matches",
        "in",
        "present",
        "at_least",
        "default",
        "divide",
        "format",
        "zone",
        "as",
        "unnest",
        "label",
        "name",
        "event",
        "events",
        "file",
        "key",
        "values",
        "namespace",
        "spread",
        "fields",
        "eval",
    ]
)
WRITTEN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(
        ["a", "a.b", "a[0]", "[", "$.", "(", "(a+)+", "../x", "/etc/passwd", "string", "epoch_s", "keep", ""]
    )
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4),
    max_leaves=10,
)


@settings(max_examples=300)
@given(
    st.sampled_from(
        [
            "filter",
            "unnest",
            "tables",
            "events",
            "event_id",
            "name",
            "received_time",
            "identifiers",
            "context",
            "consent",
            "properties",
            "spread",
            "channel",
            "action_id",
        ]
    ),
    WRITTEN,
)
def test_a_hostile_mapping_is_refused_with_file_and_line_or_maps(key: str, written: object) -> None:
    document = {
        "name": "test",
        "format": "jsonl",
        "event": {
            "name": "what",
            "event_time": {"field": "at", "format": "epoch_us"},
            "source": {"constant": "test"},
            "channel": {"constant": "web"},
            "identifiers": [{"namespace": "user_id", "field": "user"}],
        },
    }
    (document if key in ("filter", "unnest", "tables", "events") else document["event"])[key] = written  # type: ignore[index]
    refused = True
    try:
        # JSON is YAML; what JSON cannot say (NaN) YAML reads as text
        found = parse_mapping(parse(json.dumps(document), "m.yaml"))
        for row in found.rows({**ROW, "a": {"b": 1}}):
            for made in found.events(row):
                codec.encode("event", event_to_record(made.event))
    except ConfigurationError as error:
        refused = error.line is not None
    except RowError as error:
        refused = error.reason in REASONS
    assert refused


def test_a_row_nested_too_deeply_is_a_dead_letter_with_its_text(tmp_path: Path) -> None:
    deep = json.dumps({**ROW, "a": 1})[:-1] + ', "b": ' + "[" * 150 + "]" * 150 + "}"
    for name, text in (("x.jsonl", deep + "\n"), ("x.json", f"[{json.dumps(ROW)}, {deep}]")):
        path = tmp_path / name
        path.write_text(text)
        m = parse_mapping(parse((HEAD + EVENT).replace("jsonl", "[jsonl, json]"), "m.yaml"))
        summary = import_files([path], m, tmp_path / "out", DeadLetterBox(b"k" * 32), lambda _: None)
        assert summary.dead == {"bad_row": 1}
        with (tmp_path / "out" / "dead_letters" / "x.avro").open("rb") as stream:
            (letter,) = list(fastavro.reader(stream))
        assert DeadLetterBox(b"k" * 32).open(letter["dead_letter_id"], letter["payload"]) == deep.encode()


def test_depth_and_paths_are_found_without_recursion() -> None:
    value: Any = 1
    for _ in range(50_000):
        value = [value]
    assert is_deeper(value)
    assert not is_deeper([[{"a": 1}], 2], 3)
    assert next(flatten({"a": value}))[1] == 1
    assert list(flatten({"a": {"b": [1, {}]}, "c": None})) == [("a.b[0]", 1), ("a.b[1]", {}), ("c", None)]


# --- files -------------------------------------------------------------------------------------------------------


def test_avro_is_read(tmp_path: Path) -> None:
    schema = {
        "type": "record",
        "name": "Row",
        "fields": [
            {"name": "what", "type": "string"},
            {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "user", "type": ["null", "string"]},
        ],
    }
    with (tmp_path / "in.avro").open("wb") as file:
        fastavro.writer(file, schema, [ROW, {**ROW, "user": None}])  # type: ignore[arg-type]
    m = parse_mapping(parse((HEAD + EVENT).replace("jsonl", "avro"), "m.yaml"))
    summary = import_files([tmp_path / "in.avro"], m, tmp_path / "out", DeadLetterBox(b"k" * 32), lambda _: None)
    assert (summary.events, dict(summary.dead)) == (1, {"no_identifier": 1})
    with pytest.raises(ConfigurationError, match="has no column 'nothing'"):
        import_files(
            [tmp_path / "in.avro"],
            parse_mapping(
                parse((HEAD + EVENT).replace("jsonl", "avro").replace("field: user", "field: nothing"), "m.yaml")
            ),
            tmp_path / "out",
            DeadLetterBox(b"k" * 32),
            lambda _: None,
        )
    (tmp_path / "cut.avro").write_bytes((tmp_path / "in.avro").read_bytes()[:-20])
    with pytest.raises(InputError):
        list(read_rows(tmp_path / "cut.avro", m))


@pytest.mark.parametrize(
    ("name", "content", "formats", "expected"),
    [
        ("a.csv", "x", "[jsonl, csv]", "csv"),
        ("a.jsonl.gz", "{}", "[json, jsonl]", "jsonl"),
        ("a.json", '{"a": 1}\n{"a": 2}\n', "[json, jsonl]", "jsonl"),
        ("a.json", '[\n{"a": 1}]', "[json, jsonl]", "json"),
        ("a.json", '{"a":\n1}', "[json, jsonl]", "json"),
        ("export", '[{"a": 1}]', "[jsonl, json]", "json"),
        ("export", '{"a": 1}\n{"a": 2}\n', "[jsonl, json]", "jsonl"),
        ("export", "a,b\n", "[csv, parquet]", "csv"),
        ("a.txt", "x", "csv", "csv"),
    ],
)
def test_among_several_formats_name_and_beginning_of_a_file_decide(
    tmp_path: Path, name: str, content: str, formats: str, expected: str
) -> None:
    (tmp_path / name).write_text(content)
    m = parse_mapping(parse((HEAD + EVENT).replace("jsonl", formats), "m.yaml"))
    assert format_of(tmp_path / name, m) == expected


def test_a_file_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    m = parse_mapping(parse((HEAD + EVENT).replace("jsonl", "[csv, jsonl]"), "m.yaml"))
    with pytest.raises(InputError, match="looks like parquet"):
        list(read_rows(tmp_path / "a.parquet", m))


def test_columns_may_be_absent_where_the_mapping_says_so(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("what,at,user\nview,1709287200000000,u1\n")
    text = (HEAD + EVENT).replace("jsonl", "csv") + "  properties: {p: plan}\n"
    box = DeadLetterBox(b"k" * 32)
    with pytest.raises(ConfigurationError, match="has no column 'plan'"):
        import_files([path], parse_mapping(parse(text, "m.yaml")), tmp_path, box, lambda _: None)
    allowed = parse_mapping(parse("absent_columns: allowed\n" + text, "m.yaml"))
    assert import_files([path], allowed, tmp_path, box, lambda _: None).events == 1


def test_of_columns_one_of_which_is_taken_one_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("what,at,user,b\nview,1709287200000000,u1,2\n")
    text = (HEAD + EVENT).replace("jsonl", "csv") + "  properties: {p: {coalesce: [LIST]}}\n"
    box = DeadLetterBox(b"k" * 32)
    good = parse_mapping(parse(text.replace("LIST", "a, b"), "m.yaml"))
    assert import_files([path], good, tmp_path, box, lambda _: None).events == 1
    with pytest.raises(ConfigurationError, match="has no column 'c' or 'd'"):
        import_files(
            [path], parse_mapping(parse(text.replace("LIST", "c, d"), "m.yaml")), tmp_path, box, lambda _: None
        )


def test_ids_and_versions_of_mappings_written_before_are_as_they_were() -> None:
    row = {"user_id": "1", "session_id": "s", "event": "catalog", "timestamp": "2020-01-01 00:00:00", "platform": "web"}
    m = load_mapping("retentioneering", SHIPPED / "mappings")
    ((event, numbered),) = m.events({**row, "acquisition_channel": "a", "user_cohort": "c", "user_lifecycle": "l"})
    assert (m.version, event.event_id, numbered) == (
        "retentioneering@0a19b11c",
        "14d6337642d0a20517e2d57dd16ce8bd",
        True,
    )


def test_a_column_that_stands_twice_is_refused_where_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("what,at,user,user,x,x\nview,1709287200000000,u1,u2,1,2\n")
    m = parse_mapping(parse((HEAD + EVENT).replace("jsonl", "csv"), "m.yaml"))
    with pytest.raises(ConfigurationError, match="has the column 'user' more than once"):
        import_files([path], m, tmp_path, DeadLetterBox(b"k" * 32), lambda _: None)


def test_what_stands_in_an_array_is_no_column(tmp_path: Path) -> None:
    path = tmp_path / "in.parquet"
    rows = [{"user": "u1", "at": ROW["at"], "batch": [{"what": "a"}, {"what": "b"}]}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    text = (HEAD + EVENT).replace("jsonl", "parquet")
    for written in ("unnest: batch\n" + text, "unnest: {field: batch, as: b}\n" + text.replace(": what", ": b.what")):
        m = parse_mapping(parse(written, "m.yaml"))
        assert import_files([path], m, tmp_path, DeadLetterBox(b"k" * 32), lambda _: None).events == 2
    m = parse_mapping(parse("unnest: {field: batches, as: b}\n" + text, "m.yaml"))
    with pytest.raises(ConfigurationError, match="has no column 'batches'"):
        import_files([path], m, tmp_path, DeadLetterBox(b"k" * 32), lambda _: None)


def seeds() -> dict[str, bytes]:
    """A small good file of each format."""
    rows = [{**ROW, "user": f"u{n}", "p": {"a": n}} for n in range(5)]
    schema = {
        "type": "record",
        "name": "Row",
        "fields": [
            {"name": "what", "type": "string"},
            {"name": "at", "type": ["null", "long"]},
            {"name": "user", "type": "string"},
            {"name": "p", "type": {"type": "map", "values": ["int", "string"]}},
        ],
    }
    avro, parquet = io.BytesIO(), io.BytesIO()
    fastavro.writer(avro, schema, rows)
    pq.write_table(pa.Table.from_pylist(rows), parquet)
    lines = "\n".join(map(json.dumps, rows)).encode()
    table = b"what,at,user\n" + b"".join(b'view,%d,"u%d"\n' % (ROW["at"], n) for n in range(5))
    return {
        "avro": avro.getvalue(),
        "parquet": parquet.getvalue(),
        "jsonl": lines,
        "json": json.dumps(rows).encode(),
        "csv": table,
        "tsv": gzip.compress(table.replace(b",", b"\t")),
    }


SEEDS = seeds()
CHANGE = st.tuples(
    st.sampled_from(["set", "insert", "delete", "cut"]), st.floats(0, 1), st.binary(min_size=1, max_size=8)
)


@settings(max_examples=250)
@given(st.sampled_from(sorted(SEEDS)), st.lists(CHANGE, max_size=4))
@example("csv", [("set", 0.0, b'"')])
def test_a_spoiled_file_is_imported_or_refused_and_nothing_else_escapes(
    tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list[tuple[str, float, bytes]]
) -> None:
    data = bytearray(SEEDS[kind])
    for what, place, some in changes:
        at = round(place * len(data))
        if what == "insert":
            data[at:at] = some
        elif what == "cut":
            del data[at:]
        else:
            data[at : at + len(some)] = some if what == "set" else b""
    folder = tmp_path_factory.getbasetemp()
    path = folder / "spoiled"
    path.write_bytes(bytes(data))
    m = parse_mapping(parse("absent_columns: allowed\n" + (HEAD + EVENT).replace("jsonl", kind), "m.yaml"))
    with contextlib.suppress(InputError, ConfigurationError):
        import_files([path], m, folder / "spoiled-out", DeadLetterBox(b"k" * 32), lambda _: None)
    assert not list((folder / "spoiled-out").rglob("*.tmp"))
    with contextlib.suppress(InputError):
        survey(sample(path, guess_layout(path), 50))
