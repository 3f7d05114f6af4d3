"""The importer: every construct of the mapping language, every reason for which a row does not map."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contracts.documents import parse
from contracts.errors import ConfigurationError, InputError
from contracts.event import Event
from pipelines.config import SHIPPED
from sources.importer import readers
from sources.importer.convert import ImportSummary, import_files
from sources.importer.mapping import Mapping
from sources.importer.mapping_file import load_mapping, parse_mapping
from sources.importer.rows import REASONS, RowError
from transforms.dead_letter import DeadLetterBox

BASE = """
name: test
format: {format}
nulls: ["NULL"]
{extra}
event:
  name: {name}
  event_time: {{field: at, format: "{time}", zone: "{zone}"}}
  source: {{constant: test}}
  channel: {{field: where, lookup: {{w: web}}, else: keep, default: other}}
  identifiers:
    - {{namespace: user_id, field: user}}
{more}
"""


def mapping(
    *,
    format: str = "jsonl",
    extra: str = "",
    name: str = "what",
    time: str = "iso8601",
    zone: str = "UTC",
    more: str = "",
) -> Mapping:
    return parse_mapping(
        parse(BASE.format(format=format, extra=extra, name=name, time=time, zone=zone, more=more), "m.yaml")
    )


def broken(**changes: str) -> str:
    return BASE.format(
        **{"format": "csv", "extra": "", "name": "what", "time": "iso8601", "zone": "UTC", "more": "", **changes}
    )


ROW = {"what": "view", "at": "2024-03-01T10:00:00", "where": "w", "user": "u1"}


def one(m: Mapping, **changes: object) -> Event:
    (row,) = m.rows({**ROW, **changes})
    (made,) = m.events(row)
    return made.event


def reason(m: Mapping, **changes: object) -> str:
    with pytest.raises(RowError) as caught:
        one(m, **changes)
    assert caught.value.reason in REASONS
    return caught.value.reason


def test_a_row_becomes_an_event() -> None:
    event = one(mapping())
    assert (event.name, event.channel, event.source) == ("view", "web", "test")
    assert event.event_time == event.received_time == 1_709_287_200_000_000
    assert event.identifiers == (("user_id", "u1"),)
    assert event.mapping_version is not None
    assert event.mapping_version.startswith("test@")


def test_an_event_without_an_id_is_known_by_name_time_and_identifiers() -> None:
    assert one(mapping()).event_id == one(mapping(), where="x").event_id
    assert one(mapping()).event_id != one(mapping(), user="u2").event_id


def test_a_lookup_that_keeps_passes_unknown_values_on() -> None:
    assert one(mapping(), where="kiosk").channel == "kiosk"
    assert one(mapping(), where="NULL").channel == "other"


@pytest.mark.parametrize(
    ("zone", "hours"), [("UTC", 10), ("-05:00", 15), ("Europe/Berlin", 9), ("America/New_York", 15)]
)
def test_a_time_without_offset_is_of_the_stated_zone(zone: str, hours: int) -> None:
    assert one(mapping(zone=zone)).event_time == 1_709_251_200_000_000 + hours * 3_600_000_000


def test_an_offset_in_the_text_wins_over_the_zone() -> None:
    assert one(mapping(zone="-05:00"), at="2024-03-01T10:00:00+00:00").event_time == 1_709_287_200_000_000


@pytest.mark.parametrize(
    ("pattern", "text", "micros"),
    [
        ("epoch_s", "1.5", 1_500_000),
        ("epoch_ms", 1500, 1_500_000),
        ("epoch_us", "7", 7),
        ("%d.%m.%Y %H:%M", "02.01.1970 00:00", 86_400_000_000),
        ("iso8601", "1970-01-01 00:00:00.000001", 1),
    ],
)
def test_time_formats(pattern: str, text: object, micros: int) -> None:
    assert one(mapping(time=pattern), at=text).event_time == micros


def test_rules_name_events_by_equality_pattern_and_lookup() -> None:
    rules = """
    - {when: {field: what, equals: a}, name: alpha}
    - {when: [{field: what, matches: "^b"}, {field: where, in: [w, x]}], name: beta}
    - {when: {field: what, in: [c, d]}, name: {field: what, lookup: {c: gamma}, else: delta}}
    - {when: {field: alias, present: true}, name: {field: alias}}
    """
    m = mapping(name=rules)
    names = [one(m, what=w).name for w in ("a", "bb", "c", "d")]
    assert names == ["alpha", "beta", "gamma", "delta"]
    assert one(m, what="z", alias="zed").name == "zed"
    assert reason(m, what="z") == "no_name"


def test_filters_leave_rows_out() -> None:
    m = mapping(extra="filter:\n  - {field: what, not_in: [noise]}\n  - {field: bot, present: false}")
    assert list(m.events({**ROW, "what": "noise"})) == []
    assert list(m.events({**ROW, "bot": 1})) == []
    assert len(list(m.events(ROW))) == 1


def test_an_array_is_unnested_and_outer_fields_stay_in_reach() -> None:
    m = mapping(extra="unnest: $.body.batch")
    rows = list(m.rows({"user": "u1", "at": ROW["at"], "body": {"batch": [{"what": "a"}, {"what": "b"}]}}))
    assert [made.event.name for row in rows for made in m.events(row)] == ["a", "b"]


def test_paths_reach_into_objects_and_lists() -> None:
    m = mapping(more="  properties:\n    sku: {field: 'items[1].sku'}\n    n: {field: a.b, type: long}")
    event = one(m, items=[{"sku": "x"}, {"sku": "y"}], a={"b": "7"})
    assert event.properties == {"sku": "y", "n": 7}
    assert one(m).properties == {}


def test_typed_values() -> None:
    more = """  properties: {d: {field: d, type: double}, k: {constant: 5}, z: {field: z, default: none}}
  consent: {email: {field: c, type: boolean}}"""
    event = one(mapping(more=more), d="1.5", c="Yes")
    assert event.properties == {"d": 1.5, "k": 5, "z": "none"}
    assert event.consent == {"email": True}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"at": "yesterday"}, "bad_time"),
        ({"at": None}, "missing_field"),
        ({"user": "NULL"}, "no_identifier"),
        ({"what": ""}, "missing_field"),
        ({"n": "x"}, "bad_number"),
        ({"n": "1e999"}, "bad_number"),
        ({"n": 2**70}, "bad_number"),
        ({"c": "maybe"}, "bad_boolean"),
        ({"what": {"deep": 1}}, "bad_value"),
        ({"l": "other"}, "not_in_lookup"),
    ],
)
def test_every_fault_of_a_row_has_its_reason(changes: dict[str, object], expected: str) -> None:
    more = """  properties: {n: {field: n, type: long}, l: {field: l, lookup: {a: b}}}
  consent: {email: {field: c, type: boolean}}"""
    assert reason(mapping(more=more), **changes) == expected


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("name: x\nformat: cvs\nevent: {}", 2, "did you mean 'csv'"),
        ("name: x\nformat: csv\nevnet: {}", 3, "did you mean 'event'"),
        (broken(time="maybe"), 8, "iso8601"),
        (
            broken(zone="Mars/Base"),
            8,
            "no time zone",
        ),
        (
            broken(extra="delimiter: ab"),
            5,
            "one char",
        ),
        (broken(name="[]"), 7, "at least one rule"),
        (
            broken(name="{field: a, hash: [b]}"),
            7,
            "exactly one of",
        ),
        (
            broken(extra="filter: [{field: a, matches: '('}]"),
            5,
            "no regular expression",
        ),
    ],
)
def test_a_broken_mapping_is_refused_with_file_and_line(text: str, line: int, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_mapping(parse(text, "m.yaml"))
    assert caught.value.line == line
    assert message in caught.value.message + caught.value.hint


def test_an_unknown_mapping_names_the_shipped_ones() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_mapping("retentionering", SHIPPED / "mappings")
    assert "retentioneering" in caught.value.hint


# --- files -------------------------------------------------------------------------------------------------------


def run(paths: list[Path], m: Mapping, out: Path) -> tuple[ImportSummary, list[dict[str, object]]]:
    summary = import_files(paths, m, out, DeadLetterBox(b"k" * 32), lambda _: None)
    records: list[dict[str, object]] = []
    for file in summary.files:
        with file.open("rb") as stream:
            records += list(fastavro.reader(stream))
    return summary, records


def write_csv(path: Path, separator: str = ",") -> None:
    lines = [["what", "at", "where", "user"], list(ROW.values()), ["view", "nope", "w", "u1"]]
    path.write_text("\n".join(separator.join(line) for line in lines) + "\nshort\n")


def write_gzip(path: Path) -> None:
    plain = path.with_name("plain.csv")
    write_csv(plain)
    path.write_bytes(gzip.compress(plain.read_bytes()))


def write_jsonl(path: Path) -> None:
    path.write_text(json.dumps(ROW) + "\n\n" + json.dumps({**ROW, "at": "nope"}) + "\n{broken\n")


def write_json(path: Path) -> None:
    path.write_text(json.dumps([ROW, {**ROW, "at": "nope"}, 5]))


@pytest.mark.parametrize(
    ("kind", "write", "dead"),
    [
        ("csv", write_csv, {"bad_time": 1, "bad_row": 1}),
        ("csv", write_gzip, {"bad_time": 1, "bad_row": 1}),
        ("tsv", lambda p: write_csv(p, "\t"), {"bad_time": 1, "bad_row": 1}),
        ("jsonl", write_jsonl, {"bad_time": 1, "bad_row": 1}),
        ("json", write_json, {"bad_time": 1, "bad_row": 1}),
        ("parquet", lambda p: pq.write_table(pa.Table.from_pylist([ROW, {**ROW, "at": "nope"}]), p), {"bad_time": 1}),
    ],
)
def test_every_format_is_read_and_its_bad_rows_are_kept(
    tmp_path: Path, kind: str, write: Callable[[Path], None], dead: dict[str, int]
) -> None:
    path = tmp_path / "input.data"
    write(path)
    summary, records = run([path], mapping(format=kind), tmp_path / "out")
    assert [r["name"] for r in records] == ["view"]
    assert dict(summary.dead) == dead
    with (tmp_path / "out" / "dead_letters" / "input.avro").open("rb") as stream:
        letters = list(fastavro.reader(stream))
    assert sorted(letter["reason"] for letter in letters) == sorted(dead)
    assert all("row " in letter["detail"] for letter in letters)


def test_a_dead_row_is_kept_whole_and_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps({**ROW, "at": "nope", "user": "secret@example.org"}) + "\n")
    run([path], mapping(), tmp_path / "out")
    data = (tmp_path / "out" / "dead_letters" / "in.avro").read_bytes()
    assert b"secret" not in data
    with (tmp_path / "out" / "dead_letters" / "in.avro").open("rb") as stream:
        (letter,) = list(fastavro.reader(stream))
    opened = DeadLetterBox(b"k" * 32).open(letter["dead_letter_id"], letter["payload"])
    assert json.loads(opened)["user"] == "secret@example.org"


def letters_of(out: Path) -> list[tuple[str, bytes]]:
    """(reason, payload in clear) of the dead letters of ``in``."""
    with (out / "dead_letters" / "in.avro").open("rb") as stream:
        letters: list[dict[str, Any]] = list(fastavro.reader(stream))
    box = DeadLetterBox(b"k" * 32)
    return [(letter["reason"], box.open(letter["dead_letter_id"], letter["payload"])) for letter in letters]


GOOD_CSV = b"view,2024-03-01T10:00:00,w,u1\r\n"
GOOD_JSON = json.dumps(ROW).encode() + b"\n"


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("csv", GOOD_CSV, b"short, \xc3\xa9t\xc3\xa9 \r\n"),
        ("csv", GOOD_CSV, b'view,"two\r\nlines",w,u1,too many\n'),
        ("csv", GOOD_CSV, b'view,"quoted" and on,w,u1\n'),
        ("jsonl", GOOD_JSON, b'  {"what": "caf\xc3\xa9", broken\r\n'),
        ("jsonl", GOOD_JSON, b'["no", "object"]\n'),
        ("jsonl", GOOD_JSON, b'{"n": ' + b"9" * 5_000 + b"}\n"),
        ("jsonl", GOOD_JSON, b"[" * 100_000 + b"\n"),
    ],
    ids=["columns", "two lines", "quotes", "no JSON", "no object", "digits", "deep"],
)
def test_the_letter_of_a_row_that_cannot_be_read_holds_its_bytes(
    tmp_path: Path, kind: str, good: bytes, bad: bytes
) -> None:
    path = tmp_path / "in.data"
    path.write_bytes((b"what,at,where,user\r\n" if kind == "csv" else b"") + good + bad + good)
    summary, records = run([path], mapping(format=kind), tmp_path / "out")
    assert (len(records), summary.rows) == (2, 3)
    assert letters_of(tmp_path / "out") == [("bad_row", bad)]


def test_the_letter_of_an_item_of_a_document_holds_the_item(tmp_path: Path) -> None:
    path = tmp_path / "in.json"
    path.write_text(json.dumps([ROW, ["é", 5]]))
    run([path], mapping(format="json"), tmp_path / "out")
    ((_, payload),) = letters_of(tmp_path / "out")
    assert json.loads(payload) == ["é", 5]


def test_of_a_line_that_is_too_long_the_beginning_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MAX_LINE", 200)
    path = tmp_path / "in.jsonl"
    path.write_bytes(GOOD_JSON + b"x" * 450 + b"\n" + GOOD_JSON)
    summary, _ = run([path], mapping(), tmp_path / "out")
    assert summary.events == 2
    assert letters_of(tmp_path / "out") == [("bad_row", b"x" * 200)]


def test_many_bad_rows_need_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    with path.open("wb") as file:
        for number in range(1_000):
            file.write(b"%d" % number + b"x" * 10_000 + b"\n")
    tracemalloc.start()
    try:
        run([path], mapping(), tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(letters_of(tmp_path / "out")) == 1_000
    assert peak < path.stat().st_size / 4


def test_a_broken_import_leaves_no_half_file_and_a_mended_one_no_old_letters(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"broken\n" + GOOD_JSON)
    run([path], mapping(), tmp_path / "out")
    before = letters_of(tmp_path / "out")
    path.write_bytes(b"another\n" + GOOD_JSON * 3_000 + b"\xff\n")
    with pytest.raises(InputError, match="not UTF-8"):
        run([path], mapping(), tmp_path / "out")
    assert letters_of(tmp_path / "out") == before
    assert not list(tmp_path.rglob("*.tmp"))
    path.write_bytes(GOOD_JSON)
    run([path], mapping(), tmp_path / "out")
    assert not (tmp_path / "out" / "dead_letters" / "in.avro").exists()


def test_a_missing_column_is_found_before_the_first_row(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("what,at,where\nview,2024-01-01,w\n")
    with pytest.raises(ConfigurationError, match=r"m\.yaml:\d+: in\.csv has no column 'user'"):
        run([path], mapping(format="csv"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_truncated_gzip_is_named(tmp_path: Path) -> None:
    path = tmp_path / "in.csv.gz"
    write_gzip(path)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match=r"in\.csv\.gz"):
        run([path], mapping(format="csv"), tmp_path / "out")


def test_importing_again_gives_the_same_events(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    write_jsonl(path)
    assert run([path], mapping(), tmp_path / "a")[1] == run([path], mapping(), tmp_path / "b")[1]


def test_equal_rows_are_distinct_only_where_the_mapping_says_so(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text((json.dumps(ROW) + "\n") * 3)
    same = mapping(more="  event_id: {hash: [user, at]}")
    distinct = mapping(more="  event_id: {hash: [user, at], repeats: distinct}")
    assert len({r["event_id"] for r in run([path], same, tmp_path / "a")[1]}) == 1
    assert len({r["event_id"] for r in run([path], distinct, tmp_path / "b")[1]}) == 3


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.fixed_dictionaries(
        {},
        optional=dict.fromkeys(
            ["what", "at", "where", "user", "n"],
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=8)
            | st.sampled_from([{"a": 1}, [1, {"b": None}], "2024-01-01", "9" * 400]),
        ),
    )
)
def test_any_row_maps_or_names_its_reason(row: dict[str, object]) -> None:
    m = mapping(more="  properties: {n: {field: n, type: double}, o: {field: n, default: 1}}")
    try:
        made = list(m.events(row))
    except RowError as error:
        found = error.reason
    else:
        assert len(made) == 1
        return
    assert found in REASONS
