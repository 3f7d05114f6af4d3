"""The language of mappings: conditionals, joined and chosen values, tables, changes, and what it refuses to say."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mapping_world import EVENT, HEAD, events, mapping, value_of

from contracts import documents
from contracts.documents import parse
from contracts.errors import ConfigurationError, UnsupportedMappingError
from sources.importer.mapping import Mapping
from sources.importer.mapping_file import parse_mapping
from sources.importer.patterns import Pattern
from sources.importer.rows import RowError


@pytest.mark.parametrize(
    ("written", "changes", "expected"),
    [
        ("{coalesce: [a, b.c, {constant: none}]}", {"b": {"c": 7}}, "7"),
        ("{coalesce: [a, b.c, {constant: none}]}", {"a": "", "b": {}}, "none"),
        ("{coalesce: [a, b], apply: upper}", {"b": "x"}, "X"),
        ("{concat: [a, {constant: '-'}, b]}", {"a": 1, "b": True}, "1-true"),
        ("{concat: [a, b], separator: /}", {"a": 1}, None),
        ("{cases: [{when: {field: a, at_least: 10}, value: {constant: 1}}, {value: {constant: 2}}]}", {"a": "11"}, 1),
        ("{cases: [{when: {field: a, at_least: 10}, value: {constant: 1}}, {value: {constant: 2}}]}", {"a": "x"}, 2),
        ("{cases: [{when: {field: a, present: true}, value: a}], default: 0}", {}, 0),
        ("{field: a, apply: [trim, lower]}", {"a": " ÄB "}, "äb"),
        ("{field: a, apply: digits}", {"a": "+49 (30) 12"}, "493012"),
        ("{field: a, apply: digits}", {"a": "none"}, None),
        ("{field: a, apply: url_path}", {"a": "https://h.example/a/b?x=1#y"}, "/a/b"),
        ("{field: a, apply: url_path}", {"a": "https://h.example"}, "/"),
        ("{field: a, apply: url_path}", {"a": "/a?x=http://b"}, "/a"),
        ("{field: a, type: double, divide: 100}", {"a": 1999}, 19.99),
        ("{field: 'a[k=x].v'}", {"a": [{"k": "y", "v": 1}, 5, {"k": "x", "v": 2}]}, "2"),
        ("{field: 'a[k=7].v'}", {"a": [{"k": 7, "v": 2}]}, "2"),
        ("{field: 'a[-1]'}", {"a": [1, 2]}, "2"),
        ("{field: 'a[2]'}", {"a": [1, 2]}, None),
        ("{field: 'amount[eur]'}", {"amount[eur]": 3}, "3"),
        ("{field: a, lookup: {x: y}, else: keep}", {"a": "z"}, "z"),
    ],
)
def test_a_value_is(written: str, changes: dict[str, object], expected: object) -> None:
    assert value_of(written, **changes) == expected


def test_a_time_is_the_first_of_several_each_in_its_own_format() -> None:
    text = HEAD + EVENT.replace(
        "{field: at, format: epoch_us}", "{coalesce: [{field: ms, format: epoch_ms}, {field: day, zone: '+02:00'}]}"
    )
    m = parse_mapping(parse(text, "m.yaml"))
    assert events(m, ms=1, day="2024-01-01")[0].event_time == 1_000
    assert events(m, day="1970-01-01T02:00:00")[0].event_time == 0
    with pytest.raises(RowError, match="event_time is absent"):
        events(m)


def test_conditions_combine() -> None:
    m = mapping(head="filter:\n  any:\n    - {field: a, equals: 1}\n    - not: {field: b, present: true}\n")
    assert [len(events(m, **c)) for c in ({"a": 1, "b": 2}, {}, {"b": 2}, {"a": 2, "b": {"deep": 1}})] == [1, 1, 0, 0]


def test_a_nested_value_is_present_but_equals_and_matches_nothing() -> None:
    for test, holds in (
        ("present: true", 1),
        ("matches: '.*'", 0),
        ("equals: ''", 0),
        ("not_in: [x]", 1),
        ("below: 1", 0),
    ):
        m = mapping(head=f"filter:\n  - {{field: a, {test}}}\n")
        assert len(events(m, a={"b": 1})) == holds, test


def test_an_identifier_may_have_a_condition() -> None:
    text = EVENT.replace(
        "field: user}]", "field: user}, {namespace: phone, field: tel, when: {field: ok, equals: true}}]"
    )
    m = parse_mapping(parse(HEAD + text, "m.yaml"))
    assert [i.namespace for i in events(m, tel="1", ok=False)[0].identifiers] == ["user_id"]
    assert [i.namespace for i in events(m, tel="1", ok=True)[0].identifiers] == ["user_id", "phone"]


# --- lookup tables -----------------------------------------------------------------------------------------------


TABLE = "tables:\n  regions: {file: regions.csv, key: code, value: name}\n"
LOOKED_UP = "  properties:\n    v: {field: a, lookup: regions}\n"


def with_table(folder: Path, text: str) -> Mapping:
    (folder / "regions.csv").write_text(text, encoding="utf-8")
    (folder / "m.yaml").write_text(HEAD + TABLE + EVENT + LOOKED_UP, encoding="utf-8")
    return parse_mapping(documents.load(folder / "m.yaml"))


def test_a_table_stands_in_a_file_beside_the_mapping_and_counts_in_its_version(tmp_path: Path) -> None:
    first = with_table(tmp_path, "code,name\n10,north\n20,south\n")
    assert events(first, a=10)[0].properties == {"v": "north"}
    with pytest.raises(RowError, match="lookup does not list"):
        events(first, a=11)
    assert with_table(tmp_path, "code,name\n10,north\n20,south\n").version == first.version
    assert with_table(tmp_path, "code,name\n10,north\n20,East\n").version != first.version


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("code,title\n1,a\n", "no column 'name'"),
        ("code,name\n1,a\n1,b\n", "row 3: the key stands twice"),
        ("code,name\n1\n", "row 2: 1 columns"),
        ("", "is empty"),
    ],
)
def test_a_table_that_is_not_as_it_should_be_is_refused(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        with_table(tmp_path, content)
    assert caught.value.line == 4


@pytest.mark.parametrize("place", ["/etc/hostname", "../regions.csv", "a/../../b.csv"])
def test_a_table_is_read_from_beside_the_mapping_only(place: str) -> None:
    with pytest.raises(ConfigurationError, match="must lie beside the mapping"):
        mapping(LOOKED_UP, head=TABLE.replace("regions.csv", place))


# --- several events, changes -------------------------------------------------------------------------------------


def test_a_row_makes_several_events_whose_ids_differ() -> None:
    text = EVENT.replace("event:\n", "event:\n  event_id: id\n") + "  properties: {a: a, b: b}\n"
    m = parse_mapping(
        parse(
            HEAD + text + "events:\n"
            "  - {label: one, name: {constant: first}, properties: {b: }}\n"
            "  - {label: each, when: {field: n, present: true}, unnest: {field: n, as: n}, event_id: n.id}\n"
            "  - {label: item, when: {field: n, present: true}, unnest: n, properties: {c: id}}\n",
            "m.yaml",
        )
    )
    found = events(m, id="e", a=1, b=2, n=[{"id": "x"}, {"id": "y"}])
    assert [e.event_id for e in found] == ["e:one", "x", "y", "x:item:0", "y:item:1"]
    assert [e.properties for e in found[:2]] == [{"a": "1"}, {"a": "1", "b": "2"}]
    assert found[3].properties == {"a": "1", "b": "2", "c": "x"}


def test_labels_are_needed_and_differ() -> None:
    for items, message in (
        ("[{name: what}]", "needs 'label'"),
        ("[{label: a}, {label: a}]", "'a' stands twice"),
        ("[]", "at least one"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            mapping(f"events: {items}\n")


CHANGES = "  event_id: {record: [id], sequence: [commit, {field: place, default: 0}], also: [what]}\n"
NUMBER = st.integers(0, 2**63 - 1) | st.integers(0, 20)


@given(st.lists(st.tuples(NUMBER, NUMBER), min_size=2, max_size=6, unique=True))
def test_ids_of_a_record_sort_as_its_changes_happened(places: list[tuple[int, int]]) -> None:
    m = mapping(CHANGES)
    ids = [events(m, id="r", commit=str(c), place=p, what=f"w{c % 7}")[0].event_id for c, p in sorted(places)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(("commit", "reason"), [(None, "missing_field"), (-1, "bad_number"), ("x", "bad_number")])
def test_a_change_without_a_place_in_the_order_is_dead(commit: object, reason: str) -> None:
    with pytest.raises(RowError) as caught:
        events(mapping(CHANGES), id="r", commit=commit)
    assert caught.value.reason == reason


# --- what it refuses ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "line", "message"),
    [
        ("  properties:\n    v: {expression: a + b}", 10, "runs no code"),
        ("  properties:\n    v: {field: a, replace: b}", 10, "not cut up"),
        ("  group_by: a", 9, "several rows"),
        ("  properties:\n    v: {field: a, aply: trim}", 10, "did you mean 'apply'"),
        ("  properties:\n    v: {field: a, apply: [trimm]}", 10, "did you mean 'trim'"),
        ("  properties:\n    v: {coalesce: []}", 10, "at least one"),
        ("  properties:\n    v: {field: a, separator: x}", 10, "goes with concat"),
        ("  properties:\n    v: {field: a, divide: 100}", 10, "goes with type: double"),
        ("  properties:\n    v: {field: a, lookup: regions}", 10, "has no table 'regions'"),
        ("  properties:\n    v: {record: a}", 10, "needs 'sequence'"),
        ("  received_time: {coalesce: [a], format: epoch_s}", 9, "each field of coalesce"),
        ("  received_time: {hash: [a]}", 9, "must come from the row"),
        ("  identifers: []", 9, "did you mean 'identifiers'"),
    ],
)
def test_what_the_language_cannot_say_is_refused_with_file_and_line(more: str, line: int, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        mapping(more)
    assert (caught.value.line, message in caught.value.message + caught.value.hint) == (line, True), caught.value
    assert issubclass(UnsupportedMappingError, ConfigurationError)


@pytest.mark.parametrize("pattern", ["(?=a)", r"(a)\1", "(", "a{1001}", "((a{100}){100}){100}"])
def test_an_expression_that_re2_does_not_know_is_refused(pattern: str) -> None:
    with pytest.raises(ConfigurationError, match="no regular expression"):
        mapping(head=f"filter: [{{field: a, matches: '{pattern}'}}]\n")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+$", "(.*a){12}", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_no_expression_and_no_row_hold_an_import_up(pattern: str) -> None:
    begun = time.process_time()
    assert not Pattern(pattern + "!").found_in("a" * 50_000)
    assert time.process_time() - begun < 2.0


def test_an_error_of_a_row_names_the_line_of_the_mapping() -> None:
    with pytest.raises(RowError) as caught:
        events(mapping("  properties:\n    v: {field: a, type: long}"), a="no number")
    assert caught.value.line == 10
    assert "line 10 of the mapping" in str(caught.value)
    assert "no number" not in str(caught.value)


def test_a_mapping_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "run"
    for value in (
        f"!!python/object/apply:os.system ['touch {mark}']",
        f"!!python/object/apply:pathlib.Path.touch ['{mark}']",
        f"{{eval: \"__import__('pathlib').Path('{mark}').touch()\"}}",
    ):
        with pytest.raises(ConfigurationError):
            mapping(f"  properties:\n    v: {value}")
    assert not mark.exists()
