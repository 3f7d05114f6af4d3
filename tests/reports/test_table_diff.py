"""Two output folders compared: what is found, what is left out and why, and what the commands say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from contracts.errors import CheckFailedError, OutputError, UsageError
from contracts.tables import Table
from pipelines.cli import wayline
from reports.table_diff import LEFT_OUT, UNEQUAL_BY_NATURE, chosen_tables, compare
from reports.table_overview import query, table_sizes
from transforms.tables.part_names import parts_in


@pytest.fixture
def other(tiny_out: Path, tmp_path: Path) -> Path:
    """A copy that may be changed."""
    copy = tmp_path / "other"
    shutil.copytree(tiny_out, copy)
    return copy


def edit(out: Path, table: str, change: str) -> None:
    """Write the parts of a table anew as one, as a query over ``parts`` gives them."""
    parts = parts_in(out / "tables" / table)
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    listed = ", ".join(f"'{part}'" for part in parts)
    connection.execute(f"CREATE VIEW parts AS FROM read_parquet([{listed}], union_by_name = true)")
    rows = connection.sql(change).to_arrow_table()
    assert isinstance(rows, pa.Table)
    connection.close()
    for part in parts[1:]:
        part.unlink()
    pq.write_table(rows, parts[0])


def test_an_output_folder_equals_itself_in_every_table(tiny_out: Path, tables: dict[str, Table]) -> None:
    found = compare(tiny_out, tiny_out, list(tables.values()))
    assert {one.table for one in found} == set(tables)
    assert all(one.equal and not one.columns and not one.examples for one in found)
    assert {one.table: one.rows_a for one in found if one.table == "events"}["events"] > 10


def test_folders_with_events_in_common_and_no_person_are_told_to_take_one_key(tiny_out: Path, other: Path) -> None:
    """Each folder makes a key of its own, so a run and a stream over the same events share no pseudonym."""
    asked = ["diff", str(tiny_out), str(other), "--tables", "events,persons"]
    edit(other, "events", "SELECT * REPLACE ('x' || person_id AS person_id) FROM parts")
    moved = CliRunner().invoke(wayline, asked).exception
    assert isinstance(moved, CheckFailedError)
    assert moved.hint == "", "who has the events is another, but the persons are known"
    edit(other, "persons", "SELECT * REPLACE ('x' || person_id AS person_id) FROM parts")
    apart = CliRunner().invoke(wayline, asked).exception
    assert isinstance(apart, CheckFailedError)
    assert f"--pseudonym-key {tiny_out}/keys/pseudonym.key" in apart.hint


def test_the_number_of_a_revision_is_no_difference(tiny_out: Path, other: Path, tables: dict[str, Table]) -> None:
    edit(other, "events", "SELECT * REPLACE (revision + 7 AS revision) FROM parts")
    assert all(one.equal for one in compare(tiny_out, other, [tables["events"]]))


def test_lone_rows_and_differing_columns_are_told_by_key(tiny_out: Path, other: Path, tables: dict[str, Table]) -> None:
    _, [(first,), (second,)] = query(tiny_out, list(tables.values()), "SELECT event_id FROM events ORDER BY 1 LIMIT 2")
    edit(
        other,
        "events",
        f"""SELECT * REPLACE (CASE event_id WHEN '{first}' THEN 'gone' ELSE event_id END AS event_id,
                              CASE event_id WHEN '{second}' THEN NULL ELSE path END AS path,
                              CASE event_id WHEN '{second}' THEN 'tv' ELSE channel END AS channel) FROM parts""",
    )
    (found,) = compare(tiny_out, other, [tables["events"]])
    assert (found.only_a, found.only_b, found.changed) == (1, 1, 1)
    assert set(found.columns) <= {"channel", "path"}
    assert found.columns["channel"] == 1
    by_where = {example.where: example for example in found.examples}
    assert by_where["only in A"].key == {"event_id": first}
    assert by_where["only in B"].key == {"event_id": "gone"}
    assert by_where["differs"].key == {"event_id": second}
    assert [column[2] for column in by_where["differs"].columns if column[0] == "channel"] == ["tv"]
    (ignored,) = compare(tiny_out, other, [tables["events"]], ignore=["path", "channel"])
    assert (ignored.only_a, ignored.changed) == (1, 0)


def test_finality_is_compared(tiny_out: Path, other: Path, tables: dict[str, Table]) -> None:
    edit(other, "sessions", "SELECT * REPLACE (NOT is_final AS is_final) FROM parts")
    (found,) = compare(tiny_out, other, [tables["sessions"]])
    assert found.columns == {"is_final": found.rows_a}


def test_what_depends_on_when_it_was_known_is_compared_only_when_asked(tables: dict[str, Table]) -> None:
    every = list(tables.values())
    assert set(LEFT_OUT) == {"decisions", "actions", "labels", "run_ledger"}
    assert {t.name for t in chosen_tables(every, (), False)} == set(tables) - set(LEFT_OUT)
    assert chosen_tables(every, (), True) == every
    assert [t.name for t in chosen_tables(every, ["labels"], False)] == ["labels"]
    with pytest.raises(UsageError, match="no table sesions"):
        chosen_tables(every, ["sesions"], False)
    for table, column in UNEQUAL_BY_NATURE:
        assert column in tables[table].column_names


def test_a_table_that_one_folder_lacks_has_no_rows_there(tiny_out: Path, other: Path, tables: dict[str, Table]) -> None:
    shutil.rmtree(other / "tables" / "sessions")
    (found,) = compare(tiny_out, other, [tables["sessions"]])
    assert found.rows_b == 0
    assert found.only_a == found.rows_a > 0


def test_a_folder_that_is_none_is_refused(tiny_out: Path, tmp_path: Path, tables: dict[str, Table]) -> None:
    with pytest.raises(OutputError, match="no Wayline output folder"):
        compare(tiny_out, tmp_path, list(tables.values()))


def test_the_command_tells_the_differences_and_its_exit_code_says_so(tiny_out: Path, other: Path) -> None:
    same = CliRunner().invoke(wayline, ["diff", str(tiny_out), str(other)])
    assert same.exit_code == 0, same.output
    assert "tables are equal" in same.output
    assert "decisions: what was decided depends" in same.output
    edit(other, "journeys", "SELECT * REPLACE ('nowhere' AS stage) FROM parts")
    told = CliRunner().invoke(wayline, ["diff", str(tiny_out), str(other), "--tables", "journeys,events"])
    assert isinstance(told.exception, CheckFailedError)
    assert told.exception.exit_code == 9
    assert "1 of 2 tables differ: journeys" in str(told.exception)
    assert "stage: A" in told.output
    assert "B nowhere" in told.output


def test_the_list_of_tables_says_rows_columns_and_size(tiny_out: Path, tables: dict[str, Table]) -> None:
    sizes = {size.name: size for size in table_sizes(tiny_out, list(tables.values()))}
    connection = duckdb.connect(str(tiny_out / "wayline.duckdb"), read_only=True)
    for name, size in sizes.items():
        assert connection.execute(f"SELECT count(*) FROM {name}").fetchone() == (size.rows,)
        assert size.bytes == sum(part.stat().st_size for part in parts_in(tiny_out / "tables" / name))
    connection.close()
    told = CliRunner().invoke(wayline, ["tables", "--out", str(tiny_out)])
    assert f"{sizes['events'].rows:,}" in told.output
    document = CliRunner().invoke(wayline, ["tables", "--out", str(tiny_out), "--json"])
    assert {row["name"]: row["rows"] for row in json.loads(document.output)} == {n: s.rows for n, s in sizes.items()}


def test_compacting_by_command_changes_no_answer(tiny_out: Path, other: Path) -> None:
    done = CliRunner().invoke(wayline, ["tables", "compact", "--out", str(other), "--grace", "0", "--whole"])
    assert done.exit_code == 0, done.output
    assert "events: " in done.output
    assert CliRunner().invoke(wayline, ["diff", str(tiny_out), str(other), "--all"]).exit_code == 0
    again = CliRunner().invoke(wayline, ["tables", "compact", "--out", str(other), "--grace", "0"])
    assert again.output == "nothing to merge\n"
    assert len(parts_in(other / "tables" / "events")) == 1
    assert CliRunner().invoke(wayline, ["diff", str(tiny_out), str(other), "--all"]).exit_code == 0


@pytest.mark.parametrize("shape", ["table", "csv", "json"])
def test_a_query_answers_in_the_shape_asked_for(tiny_out: Path, shape: str) -> None:
    sql = "SELECT name, event_time, true AS yes FROM events ORDER BY event_id LIMIT 2"
    told = CliRunner().invoke(wayline, ["query", sql, "--out", str(tiny_out), "--format", shape])
    assert told.exit_code == 0, told.output
    lines = told.output.strip().splitlines()
    if shape == "json":
        assert [set(json.loads(line)) for line in lines] == [{"name", "event_time", "yes"}] * 2
        assert json.loads(lines[0])["event_time"].endswith("Z")
    elif shape == "csv":
        assert lines[0] == "name,event_time,yes"
        assert len(lines) == 3
    else:
        assert "event_time" in told.output


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("DROP VIEW events", "one SELECT"),
        ("SELECT 1; SELECT 2", "one SELECT"),
        ("COPY (SELECT 1) TO 'x.csv'", "one SELECT"),
        ("", "one SELECT"),
        ("SELECT * FROM event", "wrong"),
        ("SELEC 1", "wrong"),
        ("SELECT * FROM read_csv('/etc/hosts')", "wrong"),
    ],
)
def test_a_query_reads_the_folder_and_nothing_else(
    tiny_out: Path, tables: dict[str, Table], sql: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        query(tiny_out, list(tables.values()), sql)
