"""Compaction: the newest row of a key stays, deleted ones stay away, readers notice nothing, a crash loses nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from written import THINGS, part, shown

from contracts.errors import LockedError, OutputError
from contracts.event import Identifier
from contracts.exchange import StrandEvent
from transforms.tables.compact import Compacted, Terms
from transforms.tables.compact_log import settle_log
from transforms.tables.compaction import compact
from transforms.tables.log import erased_rows, log_rows, read_log, write_log
from transforms.tables.output import OutputFolder, writing
from transforms.tables.pane import PaneWriter
from transforms.tables.part_names import parts_in
from transforms.tables.retired import Retired, compacting
from transforms.tables.stated import stated
from transforms.tables.stream_folder import begin_stream
from transforms.tables.views import fetch

NOW = 2_000_000_000.0
"""Later than any file is made: everything is old, unless the stream it is of is the last one."""

EAGER = Terms(lambda: NOW, older_than=0, grace=0)


def at(now: float, **terms: Any) -> Terms:
    """Terms at a moment."""
    return Terms(lambda: now, **terms)


def begun(out: Path) -> OutputFolder:
    with writing(out) as folder:
        begin_stream(folder, (THINGS,))
    return OutputFolder(out)


def things(folder: OutputFolder) -> list[str]:
    return [path.name for path in parts_in(folder.tables / "things")]


def rows_on_disk(folder: OutputFolder) -> list[tuple[str, int, bool]]:
    found = [row for path in parts_in(folder.tables / "things") for row in pq.read_table(path).to_pylist()]
    return sorted((row["k"], row["revision"], row["is_deleted"]) for row in found)


def test_small_parts_become_one_with_the_newest_row_of_each_key(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    part(tmp_path, "r000001-p0.parquet", [("a", 1, 0, 1, False), ("b", 1, 0, 1, False)])
    part(tmp_path, "s0001-00-00000000.parquet", [("a", 2, 0, 5, False), ("c", 1, 3, 5, False)])
    part(tmp_path, "s0001-01-00000000.parquet", [("c", 2, 2, 9, False)])
    assert compact(folder, (THINGS,), EAGER) == [Compacted("things", 3, 5, 3)]
    assert shown(tmp_path) == [("a", 2), ("b", 1), ("c", 1)]
    compact(folder, (THINGS,), EAGER)
    assert things(folder) == ["c000001-00.parquet"]
    assert shown(tmp_path) == [("a", 2), ("b", 1), ("c", 1)]
    assert compact(folder, (THINGS,), EAGER) == [], "one part alone is not written again"


def test_a_tombstone_stays_until_no_other_part_holds_its_key(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    large = part(tmp_path, "r000001-p0.parquet", [(f"k{n}", n, 0, 1, False) for n in range(5_000)])
    part(tmp_path, "s0001-00-00000000.parquet", [("k7", 0, 0, 5, True)])
    part(tmp_path, "s0001-00-00000001.parquet", [("x", 1, 0, 6, False)])
    part(tmp_path, "s0001-00-00000002.parquet", [("x", 1, 0, 7, True)])
    terms = at(NOW, older_than=0, grace=0, small=large.stat().st_size)
    for _ in range(2):
        compact(folder, (THINGS,), terms)
    kept = [row for row in rows_on_disk(folder) if row[1] > 1]
    # x: the replaced parts held it while the tombstone was merged
    assert kept == [("k7", 5, True), ("x", 7, True)]
    part(tmp_path, "s0001-00-00000003.parquet", [("y", 1, 0, 8, False)])
    for _ in range(2):
        compact(folder, (THINGS,), terms)
    assert [row for row in rows_on_disk(folder) if row[1] > 1] == [("k7", 5, True), ("y", 8, False)]
    for _ in range(3):
        compact(folder, (THINGS,), at(NOW, older_than=0, grace=0, whole=True))
    assert len(rows_on_disk(folder)) == 5_000
    assert not [row for row in rows_on_disk(folder) if row[2] or row[0] == "k7"]


def test_replaced_parts_stay_for_a_grace_time(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    for pane in range(3):
        part(tmp_path, f"s0001-00-{pane:08d}.parquet", [("a", pane, 0, pane, False)])
    compact(folder, (THINGS,), at(NOW, older_than=0, grace=60))
    assert len(things(folder)) == 4
    compact(folder, (THINGS,), at(NOW + 59, older_than=0, grace=60))
    assert len(things(folder)) == 4
    compact(folder, (THINGS,), at(NOW + 60, older_than=0, grace=60))
    assert things(folder) == ["c000001-00.parquet"]


def test_the_last_parts_of_a_stream_are_left_however_long_it_is_down(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    for pane, age in enumerate((3_000, 2_000, 700, 100, 0)):
        path = part(tmp_path, f"s0001-00-{pane:08d}.parquet", [("a", pane, 0, pane, False)])
        os.utime(path, (NOW - age, NOW - age))
    week = 7 * 24 * 3_600
    (compacted,) = compact(folder, (THINGS,), at(NOW + week, grace=0))
    assert compacted.parts == 3
    with writing(tmp_path) as held:
        begin_stream(held, (THINGS,))
    (compacted,) = compact(folder, (THINGS,), at(NOW + week, grace=0))
    assert compacted.parts == 3, "the stream is over: its last two parts, and what the others became"


def test_two_do_not_compact_at_once(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    with compacting(folder), pytest.raises(LockedError, match="compacted"):
        compact(folder, (THINGS,), EAGER, wait=False)


def test_a_damaged_part_is_one_clear_error_and_nothing_is_lost(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    part(tmp_path, "s0001-00-00000000.parquet", [("a", 1, 0, 1, False)])
    (folder.tables / "things" / "s0001-00-00000001.parquet").write_bytes(b"PAR1 and then nothing")
    before = things(folder)
    with pytest.raises(OutputError, match="cannot be compacted"):
        compact(folder, (THINGS,), EAGER)
    assert things(folder) == before
    assert not list((folder.tables / "things").glob("*.tmp"))


def test_a_damaged_list_of_replaced_parts_says_how_to_mend_it(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    folder.retired.write_text("[")
    with pytest.raises(OutputError, match=r"retired\.json"):
        compact(folder, (THINGS,), EAGER)


class KilledError(Exception):
    """Stands for the end of the process."""


@settings(deadline=None, max_examples=12, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(st.data())
def test_any_history_of_panes_restarts_compactions_and_kills_shows_what_the_oracle_says(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Panes are written, the job is set back a few panes, parts are compacted, and a compaction may die anywhere."""
    out = tmp_path_factory.mktemp("o")
    folder = begun(out)
    writer = PaneWriter(out, (THINGS,), 1)
    panes: list[list[tuple[str, int, int, int, bool]]] = []
    revision = 0
    clock = NOW
    fixed = 0
    """Panes before this one are older than the last checkpoint may be."""
    for _ in range(data.draw(st.integers(3, 12), label="steps")):
        step = data.draw(st.sampled_from(("pane", "pane", "pane", "back", "compact", "killed")))
        clock += 100
        if step == "back" and len(panes) > fixed:
            del panes[data.draw(st.integers(fixed, len(panes) - 1)) :]
            writer = PaneWriter(out, (THINGS,), 1)
            step = "pane"
        if step == "pane":
            pane = []
            for key, sequence, deleted in data.draw(
                st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 2), st.booleans()), min_size=1, max_size=4)
            ):
                revision += 1
                pane.append((key, revision, sequence, revision, deleted))
            panes.append(pane)
            writer.write(
                b"\x00",
                len(panes) - 1,
                [stated(THINGS, r, [(k, v, v)], sequence=s, deleted=d) for k, v, s, r, d in pane],
            )
            for changed in parts_in(folder.tables / "things"):
                if changed.stat().st_mtime < NOW:  # it was written, or emptied, just now
                    os.utime(changed, (clock, clock))
        elif step in ("compact", "killed"):
            # three panes are younger than this, so that no step back reaches what is merged
            terms = at(clock, older_than=250, grace=data.draw(st.sampled_from((0, 150))))
            fixed = max(fixed, len(panes))
            if step == "compact":
                compact(folder, (THINGS,), terms)
            else:
                killed_at(data.draw(st.integers(0, 4)), lambda t=terms: compact(folder, (THINGS,), t))  # type: ignore[misc]
        assert shown_now(out) == oracle(panes)
    for _ in range(3):
        compact(folder, (THINGS,), at(clock + 10_000, older_than=-1e12, grace=0, whole=True))
    assert shown_now(out) == oracle(panes)
    assert [row[:1] for row in rows_on_disk(folder)] == [(k,) for k, _ in oracle(panes)], "nothing else is left"


def killed_at(step: int, work: Callable[[], object]) -> None:
    """Run until the given number of changes on the disk was made."""
    left = step

    def dying(original: Callable[..., object]) -> Callable[..., object]:
        def change(*args: object, **kwargs: object) -> object:
            nonlocal left
            if left == 0:
                raise KilledError
            left -= 1
            return original(*args, **kwargs)

        return change

    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "unlink"):
            patch.setattr(Path, name, dying(getattr(Path, name)))
        with suppress(KilledError):
            work()


def oracle(panes: list[list[tuple[str, int, int, int, bool]]]) -> list[tuple[str, int]]:
    newest: dict[str, tuple[int, int, int, bool]] = {}
    for pane in panes:
        for key, value, sequence, revision, deleted in pane:
            if key not in newest or (sequence, revision) > newest[key][:2]:
                newest[key] = (sequence, revision, value, deleted)
    return sorted((key, value) for key, (_, _, value, deleted) in newest.items() if not deleted)


def shown_now(out: Path) -> list[tuple[str, int]]:
    connection = duckdb.connect(str(out / "wayline.duckdb"), read_only=True)
    try:
        found: list[tuple[str, int]] = connection.execute("SELECT k, v FROM things ORDER BY k").fetchall()
        return found
    finally:
        connection.close()


def test_a_reader_sees_every_row_once_while_parts_are_written_and_compacted(tmp_path: Path) -> None:
    """Sixteen keys, each written before the reader starts and then again and again; a deleted one never comes back."""
    folder = begun(tmp_path)
    writer = PaneWriter(tmp_path, (THINGS,), 1)
    keys = [f"k{n:02d}" for n in range(16)]
    gone = stated(THINGS, 2, [("gone", None, None)], deleted=True)
    writer.write(b"\x00", 0, [stated(THINGS, 1, [(k, 0, 0) for k in [*keys, "gone"]])])
    writer.write(b"\x00", 1, [gone])
    stop = threading.Event()
    reads: list[list[dict[str, int]]] = [[], []]
    failures: list[BaseException] = []

    def read(into: list[dict[str, int]]) -> None:
        connection = duckdb.connect(str(tmp_path / "wayline.duckdb"), read_only=True)
        try:
            while not stop.is_set():
                into.append(dict(fetch(connection, "SELECT k, v FROM things")[1]))
        except BaseException as error:  # noqa: BLE001  # told by the test's own thread
            failures.append(error)
        finally:
            connection.close()

    ended = [0, 0]
    now = 0

    def ticks() -> int:
        """Time, counted in queries: a tick is over when each reader has ended a query in it."""
        nonlocal now, ended
        counts = [len(found) for found in reads]
        if all(count > last for count, last in zip(counts, ended, strict=True)):
            now, ended = now + 1, counts
        return now

    readers = [threading.Thread(target=read, args=(into,)) for into in reads]
    for reader in readers:
        reader.start()
    pane = 2
    try:
        for _ in range(25):
            for _ in range(4):
                writer.write(b"\x00", pane, [stated(THINGS, pane + 1, [(k, pane, pane) for k in keys[pane % 3 :: 3]])])
                pane += 1
            # two ticks later every query that had begun has ended: the grace time is longer than a query
            before = ticks()
            compact(folder, (THINGS,), Terms(lambda: NOW + ticks(), older_than=-1, grace=2))
            while ticks() == before and not failures:
                time.sleep(0.001)
            if failures:
                break
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not failures, failures[0]
    for found in (*reads[0], *reads[1]):
        assert sorted(found) == keys
    assert len({value for found in reads[0] for value in found.values()}) > 10, "it read while rows changed"
    assert min(things(folder)) > "c000010", "parts were removed while it read"


def test_a_part_written_anew_under_the_name_of_a_replaced_one_is_not_removed_with_it(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    for pane in range(2):
        part(tmp_path, f"s0001-00-{pane:08d}.parquet", [("a", pane, 0, pane, False)])
    compact(folder, (THINGS,), at(NOW, older_than=0, grace=60))
    PaneWriter(tmp_path, (THINGS,), 1).write(b"\x00", 1, [stated(THINGS, 9, [("a", 9, 9)])])
    for later in (60, 120, 180):
        compact(folder, (THINGS,), at(NOW + later, older_than=0, grace=60))
        assert shown(tmp_path) == [("a", 9)]
    assert things(folder) == ["c000002-00.parquet"]


# --- the log -------------------------------------------------------------------------------------------------------


def event(event_id: str, payload: str = "") -> StrandEvent:
    said = f"bytes of {event_id} {payload}".encode()
    return StrandEvent(event_id, 1, 2, "web", Identifier("anonymous_id", "x"), None, said)


def logged(folder: OutputFolder) -> list[bytes]:
    return sorted(e.event for path in parts_in(folder.log) for e in read_log(path))


def test_the_log_is_merged_as_a_set_of_events(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    writer = PaneWriter(tmp_path, (), 1)
    writer.write(b"\x00", 0, [log_rows([event("e1"), event("e1", "other")], 5)])
    writer.write(b"\x00", 1, [log_rows([event("e1"), event("e2")], 6)])
    for _ in range(2):
        compact(folder, (), EAGER)
    assert [path.name for path in parts_in(folder.log)] == ["c000001-00.parquet"]
    assert logged(folder) == sorted(e.event for e in (event("e1"), event("e1", "other"), event("e2")))


def test_an_erased_event_leaves_every_part_of_the_log_and_then_its_name_goes_too(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    write_log(tmp_path, "r000001-s1", [event(f"r{n}") for n in range(3)])
    writer = PaneWriter(tmp_path, (), 1)
    writer.write(b"\x00", 0, [log_rows([event("e1"), event("e2")], 5)])
    mine = Identifier("anonymous_id", "x")
    writer.write(b"\x00", 1, [erased_rows([("r1", mine), ("e2", mine), ("e9", Identifier("anonymous_id", "y"))], 6)])
    terms = at(NOW, older_than=0, grace=0, small=0)
    compact(folder, (), terms)
    assert parts_in(folder.log_erased), "the replaced parts still hold them"
    compact(folder, (), terms)
    assert logged(folder) == [event(n).event for n in ("e1", "r0", "r2")]
    assert not any(b"bytes of e2" in path.read_bytes() for path in folder.log.glob("*.parquet"))
    assert not parts_in(folder.log_erased)


def test_a_bounded_run_finds_a_log_without_what_a_stream_erased(tmp_path: Path) -> None:
    folder = begun(tmp_path)
    writer = PaneWriter(tmp_path, (), 1)
    writer.write(b"\x00", 0, [log_rows([event("e1"), event("e2")], 5)])
    writer.write(b"\x00", 1, [erased_rows([("e2", Identifier("anonymous_id", "x"))], 6)])
    with compacting(folder):
        settle_log(folder, 0.0)
    assert logged(folder) == [event("e1").event]
    assert not parts_in(folder.log_erased)
    assert not [path for path in parts_in(folder.log) if path in Retired(folder)]
