"""Tables: revisions, tombstones, atomic commits, recovery, views, log."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import LockedError, OutputError
from contracts.event import Identifier
from contracts.exchange import StrandEvent
from contracts.tables import DEAD_LETTERS, PERSONS, SESSIONS, Table
from features.names import HISTORY_FILE
from transforms.tables.batches import columns_of, table_file
from transforms.tables.commit import commit
from transforms.tables.log import ERASED, read_log, write_log
from transforms.tables.output import FORMAT, Moves, OutputFolder, next_revision, publish, recover, writing
from transforms.tables.parts import write_part
from transforms.tables.views import open_views

Person = tuple[str, int, int, bool, str | None]


def stage(folder: OutputFolder, table: Table, rows: list[tuple[object, ...]], revision: int, part: str = "p0") -> None:
    batch = table_file(table, part, columns_of(rows, len(table.columns)), revision=revision, is_final=False)
    if batch is not None:
        write_part(folder.staging, batch)


def run(root: Path, rows: list[Person], *, erased: list[StrandEvent] | None = None) -> dict[str, int]:
    with writing(root) as folder:
        revision = next_revision(folder)
        stage(folder, PERSONS, rows, revision)  # type: ignore[arg-type]
        write_log(folder.staging, "e0", erased or [], ERASED)
        return commit(folder, (PERSONS, SESSIONS), revision)


def seen(
    root: Path, sql: str = "SELECT person_id, last_seen_us, revision FROM p ORDER BY 1"
) -> list[tuple[object, ...]]:
    connection = open_views(root, (PERSONS, SESSIONS))
    try:
        connection.execute("CREATE TEMP VIEW p AS SELECT *, epoch_us(last_seen) AS last_seen_us FROM persons")
        found: list[tuple[object, ...]] = connection.execute(sql).fetchall()
        return found
    finally:
        connection.close()


A: Person = ("a", 1, 10, True, None)
B: Person = ("b", 2, 20, True, None)


def test_the_same_rows_again_change_nothing(tmp_path: Path) -> None:
    assert run(tmp_path / "o", [A, B])["persons"] == 2
    assert run(tmp_path / "o", [B, A])["persons"] == 0
    assert seen(tmp_path / "o") == [("a", 10, 1), ("b", 20, 1)]


def test_a_changed_row_is_a_revision_not_a_double(tmp_path: Path) -> None:
    run(tmp_path / "o", [A, B])
    assert run(tmp_path / "o", [A, ("b", 2, 99, True, None)])["persons"] == 1
    assert seen(tmp_path / "o") == [("a", 10, 1), ("b", 99, 2)]


def test_a_vanished_key_gets_a_tombstone_and_may_come_back(tmp_path: Path) -> None:
    run(tmp_path / "o", [A, B])
    run(tmp_path / "o", [A])
    assert seen(tmp_path / "o") == [("a", 10, 1)]
    run(tmp_path / "o", [A, B])
    assert seen(tmp_path / "o") == [("a", 10, 1), ("b", 20, 3)]


def test_an_empty_table_has_a_view_with_columns(tmp_path: Path) -> None:
    run(tmp_path / "o", [A])
    assert seen(tmp_path / "o", "SELECT count(*) FROM sessions WHERE started_at IS NULL") == [(0,)]


def logged(event_id: str) -> StrandEvent:
    return StrandEvent(event_id, 1, 2, "web", Identifier("anonymous_id", "x"), None, b"bytes of " + event_id.encode())


def test_an_erasure_rewrites_the_log_without_the_erased_and_keeps_the_rest(tmp_path: Path) -> None:
    out = tmp_path / "o"
    with writing(out) as folder:
        write_log(folder.staging, "s1", [logged("e1"), logged("e2")])
        write_log(folder.staging, "s2", [logged("e3")])
        write_log(folder.staging, "s3", [logged("e4")])
        commit(folder, (PERSONS,), 1)
    run(out, [A], erased=[logged("e2"), logged("e4")])
    kept = {event.event_id for part in (out / "log").glob("r*.parquet") for event in read_log(part)}
    assert kept == {"e1", "e3"}
    assert not any(b"e2" in part.read_bytes() for part in (out / "log").iterdir())


def test_an_erasure_leaves_nothing_of_the_old_parts(tmp_path: Path) -> None:
    run(tmp_path / "o", [A, B])
    run(tmp_path / "o", [A], erased=[logged("e1")])
    parts = sorted(path.name for path in (tmp_path / "o" / "tables" / "persons").glob("r*.parquet"))
    assert parts == ["r000002-p0.parquet"]
    assert seen(tmp_path / "o") == [("a", 10, 2)]


def test_an_erasure_leaves_no_history_of_features(tmp_path: Path) -> None:
    out = tmp_path / "o"
    run(out, [A, B])
    (out / "feast").mkdir()
    for name in (HISTORY_FILE, f"{HISTORY_FILE}.7.tmp", "registry.db"):
        (out / "feast" / name).write_text("b")
    run(out, [A, B])
    assert (out / "feast" / HISTORY_FILE).exists(), "nothing was erased"
    run(out, [A], erased=[logged("e1")])
    assert [path.name for path in (out / "feast").iterdir()] == ["registry.db"]


def test_tables_that_keep_what_happened_lose_no_row(tmp_path: Path) -> None:
    row = ("d1", "validate", "no_name", "web", "s", 5, "", "event", b"x")
    for rows in ([row], []):
        with writing(tmp_path / "o") as folder:
            revision = next_revision(folder)
            stage(folder, DEAD_LETTERS, rows, revision)  # type: ignore[arg-type]
            commit(folder, (DEAD_LETTERS,), revision)
    connection = open_views(tmp_path / "o", (DEAD_LETTERS,))
    assert connection.execute("SELECT dead_letter_id, payload FROM dead_letters").fetchall() == [("d1", b"x")]
    connection.close()


def test_an_interrupted_commit_is_finished_by_the_next_opening(tmp_path: Path) -> None:
    run(tmp_path / "o", [A])
    with writing(tmp_path / "o") as folder:
        stage(folder, PERSONS, [B], 2)
        # the journal was written, then the process died before any move
        folder.journal.write_text(
            '{"rename": [["staging/persons/p0.parquet", "tables/persons/r000002-p0.parquet"]], "remove": []}'
        )
    with writing(tmp_path / "o"):
        pass
    assert seen(tmp_path / "o") == [("a", 10, 1), ("b", 20, 2)]


def test_recovery_is_safe_to_repeat_halfway(tmp_path: Path) -> None:
    with writing(tmp_path / "o") as folder:
        (folder.staging / "x").write_text("1")
        (folder.staging / "y").write_text("2")
        (folder.tables / "x").write_text("1")
        (folder.staging / "x").unlink()
        folder.journal.write_text('{"rename": [["staging/x", "tables/x"], ["staging/y", "tables/y"]], "remove": []}')
        assert recover(folder)
        assert not recover(folder)
        assert (folder.tables / "y").read_text() == "2"


def test_a_crash_before_the_journal_leaves_nothing(tmp_path: Path) -> None:
    run(tmp_path / "o", [A])
    with writing(tmp_path / "o") as folder:
        stage(folder, PERSONS, [B], 2)
    with writing(tmp_path / "o") as folder:
        assert list(folder.staging.iterdir()) == []
    assert seen(tmp_path / "o") == [("a", 10, 1)]


def test_a_missing_staged_file_is_named(tmp_path: Path) -> None:
    with writing(tmp_path / "o") as folder, pytest.raises(OutputError, match="staging/gone"):
        publish(folder, Moves((("staging/gone", "tables/gone"),)))
    (tmp_path / "o" / "commit.json").unlink()


def test_two_writers_are_refused_by_name(tmp_path: Path) -> None:
    with writing(tmp_path / "o"), pytest.raises(LockedError, match="another process"), writing(tmp_path / "o"):
        pass


def test_a_folder_of_another_format_is_refused(tmp_path: Path) -> None:
    with writing(tmp_path / "o") as folder:
        folder.format_file.write_text(f'{{"format": {FORMAT - 1}}}')
    with pytest.raises(OutputError, match=f"format {FORMAT - 1}"), writing(tmp_path / "o"):
        pass


def test_a_folder_with_strangers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("")
    with pytest.raises(OutputError, match=r"thesis\.doc"), writing(tmp_path):
        pass


def test_views_survive_a_move_of_the_folder(tmp_path: Path) -> None:
    run(tmp_path / "o", [A])
    seen(tmp_path / "o")
    (tmp_path / "o").rename(tmp_path / "moved")
    assert seen(tmp_path / "moved") == [("a", 10, 1)]


def test_the_log_gives_back_what_it_took(tmp_path: Path) -> None:
    events = [
        StrandEvent("e1", 1, 2, "web", Identifier("anonymous_id", "a"), None, b"\x00x"),
        StrandEvent("e2", 3, 4, "app", Identifier("device_id", "d"), Identifier("user_id", "u"), b"y"),
    ]
    write_log(tmp_path, "s1", events)
    back = list(read_log(tmp_path / "log" / "s1.parquet"))
    assert [e.stored for e in back] == [True, True]
    assert [(e.event_id, e.event_time, e.primary, e.login, e.event) for e in back] == [
        (e.event_id, e.event_time, e.primary, e.login, e.event) for e in events
    ]


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(OutputError, match=r"bad\.parquet"):
        list(read_log(tmp_path / "bad.parquet"))
