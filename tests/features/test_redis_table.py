"""The online vectors in a real Redis server: the same rules as in the SQLite file."""

from __future__ import annotations

import itertools
import multiprocessing
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.redis_server import RedisServer
from contracts.errors import ConfigurationError, LockedError, OutputError
from features.online_table import OnlineRow
from features.redis_table import RedisOnlineTable

NAMES = ("a", "b")
Row = tuple[str, int, int, tuple[float, float]]


def row(person: str, revision: int, at: int = 0) -> Row:
    return (person, revision, at, (float(revision), -float(revision)))


@pytest.fixture
def server(redis_server: RedisServer) -> RedisServer:
    return redis_server


@pytest.fixture
def table(server: RedisServer) -> Iterator[RedisOnlineTable]:
    made = RedisOnlineTable(server.url, "v")
    made.clear()
    yield made
    made.close()


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.permutations([(p, r) for p in ("p1", "p2", "p3") for r in range(4)]), st.lists(st.integers(0, 12), max_size=4)
)
def test_the_newest_revision_wins_in_any_order_and_any_batches(
    table: RedisOnlineTable, writes: list[tuple[str, int]], cuts: list[int]
) -> None:
    table.clear()
    edges = [0, *sorted(cuts), len(writes)]
    for start, end in itertools.pairwise(edges):
        table.write(NAMES, [row(person, revision) for person, revision in writes[start:end]])
    assert table.read(["p1", "p2", "p3"]) == [OnlineRow(3, 0, {"a": 3.0, "b": -3.0})] * 3


def test_a_correction_with_an_earlier_event_time_wins(table: RedisOnlineTable) -> None:
    table.write(NAMES, [row("p", 1, at=900), row("p", 2, at=100)])
    assert table.read(["p"]) == [OnlineRow(2, 100, {"a": 2.0, "b": -2.0})]


def test_revisions_of_microseconds_are_compared_to_the_last_digit(table: RedisOnlineTable) -> None:
    late = 1_800_000_000_000_001
    table.write(NAMES, [row("p", late)])
    table.write(NAMES, [row("p", late - 1)])
    assert table.read(["p"]) == [OnlineRow(late, 0, {"a": float(late), "b": -float(late)})]


def test_a_late_write_does_not_bring_a_retired_person_back_but_a_greater_revision_does(
    table: RedisOnlineTable,
) -> None:
    table.write(NAMES, [row("p", 5)])
    table.retire(["p", "never seen"])
    table.write(NAMES, [row("p", 4), row("p", 5)])
    assert table.read(["p", "never seen"]) == [None, None]
    table.write(NAMES, [row("p", 6)])
    assert table.read(["p"]) == [OnlineRow(6, 0, {"a": 6.0, "b": -6.0})]


def test_what_is_older_than_a_run_is_removed(table: RedisOnlineTable) -> None:
    table.write(NAMES, [row("merged", 1), row("kept", 2)])
    table.retire_before(2)
    assert [found and found.revision for found in table.read(["merged", "kept"])] == [None, 2]


def test_more_persons_than_one_pipeline_takes(table: RedisOnlineTable) -> None:
    persons = [f"p{n}" for n in range(1_234)]
    table.write(NAMES, [row(person, n) for n, person in enumerate(persons)])
    assert [found.revision for found in table.read(persons) if found] == list(range(1_234))


def write_shuffled(url: str, revisions: Sequence[int]) -> None:
    table = RedisOnlineTable(url, "v")
    for revision in revisions:
        table.write(NAMES, [row(f"p{n}", revision) for n in range(200)])


def test_two_processes_that_write_leave_the_newest(server: RedisServer, table: RedisOnlineTable) -> None:
    context = multiprocessing.get_context("fork")
    orders = ([9, 2, 5, 7], [1, 8, 3, 6])
    writers = [context.Process(target=write_shuffled, args=(server.url, order)) for order in orders]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]
    found = table.read([f"p{n}" for n in range(200)])
    assert {entry.revision for entry in found if entry} == {9}
    assert None not in found


def test_a_server_that_is_away_says_so_without_its_address() -> None:
    away = RedisOnlineTable("redis://user:secret@127.0.0.1:1/0", "v", timeout=0.2)
    with pytest.raises(LockedError, match="not reachable") as caught:
        away.create()
    assert "secret" not in str(caught.value)


def test_a_write_waits_for_a_server_that_goes_away_and_loses_nothing(
    server: RedisServer, table: RedisOnlineTable
) -> None:
    patient = RedisOnlineTable(server.url, "v", timeout=0.1, pauses=[0.1] * 50)
    back = threading.Timer(0.6, server.resume)
    server.pause()
    back.start()
    try:
        patient.write(NAMES, [row(f"p{n}", 1) for n in range(1_200)])
    finally:
        back.join()
        patient.close()
    assert None not in table.read([f"p{n}" for n in range(1_200)])


def test_a_write_without_pauses_says_at_once_that_the_server_is_away(server: RedisServer) -> None:
    hasty = RedisOnlineTable(server.url, "v", timeout=0.1)
    server.pause()
    try:
        with pytest.raises(LockedError, match="not reachable"):
            hasty.write(NAMES, [row("p", 1)])
    finally:
        server.resume()
        hasty.close()


def test_rows_of_an_older_declaration_keep_their_names(server: RedisServer, table: RedisOnlineTable) -> None:
    table.write(("a",), [("old", 1, 0, (1.0,))])
    table.write(("b", "a"), [("new", 1, 0, (2.0, 3.0))])
    another = RedisOnlineTable(server.url, "v")
    old, new = another.read(["old", "new"])
    another.close()
    assert old is not None
    assert new is not None
    assert (old.values, new.values) == ({"a": 1.0}, {"b": 2.0, "a": 3.0})


def test_tables_under_other_prefixes_and_views_are_others(server: RedisServer, table: RedisOnlineTable) -> None:
    neighbours = [RedisOnlineTable(server.url, "v", "other*"), RedisOnlineTable(server.url, "w")]
    for number, one in enumerate((table, *neighbours)):
        one.write(NAMES, [row("p", number + 1)])
    table.retire_before(9)
    neighbours[0].clear()
    assert [one.read(["p"])[0] for one in (table, *neighbours)] == [None, None, OnlineRow(3, 0, {"a": 3.0, "b": -3.0})]
    neighbours[1].clear()
    for one in neighbours:
        one.close()


def test_a_cleared_table_leaves_nothing_in_the_server(server: RedisServer) -> None:
    made = RedisOnlineTable(server.url, "v", "wayline:to be cleared")
    made.create()
    made.write(NAMES, [row("p", 1), row("q", 1)])
    made.retire(["p"])
    made.clear()
    made.close()
    client = redis.Redis.from_url(server.url)
    assert list(client.scan_iter(match="wayline:to be cleared*")) == []
    client.close()


def test_a_wrong_password_is_told_without_it(server: RedisServer) -> None:
    for user in ("", ":guessed@"):
        wrong = RedisOnlineTable(f"redis://{user}127.0.0.1:{server.port}/0", "v", where="environment variable X")
        with pytest.raises(OutputError, match="environment variable X") as caught:
            wrong.create()
        wrong.close()
        assert "guessed" not in str(caught.value)


def test_a_server_that_takes_no_writes_is_found_out_and_what_was_written_is_not_told(server: RedisServer) -> None:
    client = redis.Redis.from_url(server.url)
    client.config_set("maxmemory", "1")
    made = RedisOnlineTable(server.url, "v")
    try:
        with pytest.raises(OutputError, match=r"refuses: .*maxmemory"):
            made.create()
        with pytest.raises(OutputError) as caught:
            made.write(NAMES, [row("somebody", 1)])
        assert "somebody" not in str(caught.value)
    finally:
        client.config_set("maxmemory", "0")
        client.close()
        made.close()


def test_what_is_no_redis_is_found_out() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def answer() -> None:
            for _ in range(8):
                try:
                    peer, _ = listening.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(4_096)
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        wrong = RedisOnlineTable(f"redis://127.0.0.1:{listening.getsockname()[1]}/0", "v", timeout=2.0)
        with pytest.raises(OutputError, match="no Redis server"):
            wrong.create()
        wrong.close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "secret",
        "http://secret@host/0",
        "redis://",
        "redis://user:secret@host:port/0",
        "redis://user:secret@host/name",
        "redis://user:secret@host:0/0",
        "redis://user:secret@[host/0",
        "redis://user:secret@host/0?decode_responses=true",
    ],
)
def test_a_url_that_would_be_misread_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ConfigurationError, match="environment variable X") as caught:
        RedisOnlineTable(url, "v", where="environment variable X")
    assert "secret" not in f"{caught.value} {caught.value.hint}"
