"""What only a server can meet: it goes and comes back, it cannot be reached, it refuses; and secrets stay secret."""

from __future__ import annotations

import logging
import pickle
import signal
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest
from cutting_proxy import Cut, CuttingProxy
from store_world import THINGS, Place, in_server

from benchmarks.postgres_server import PASSWORD, PostgresServer
from contracts.errors import ConfigurationError, LockedError, OutputError, WaylineError
from transforms.secret import SecretReference
from transforms.stores.database import Database, Migration, Schema, StoreAddress, Transaction, open_database
from transforms.stores.effects import open_effects
from transforms.stores.postgres_url import connection_parameters, without_secrets


@pytest.fixture
def place(postgres_server: PostgresServer, tmp_path: Path) -> Place:
    return in_server(tmp_path, postgres_server.make_schema())


@pytest.fixture
def database(place: Place) -> Iterator[Database]:
    opened = open_database(place.address, THINGS, timeout=20)
    opened.write(lambda tx: tx.execute("INSERT INTO things (name, n) VALUES ('counter', 0)"))
    yield opened
    opened.close()


@pytest.fixture
def proxy(postgres_server: PostgresServer) -> Iterator[CuttingProxy]:
    made = CuttingProxy(postgres_server.port)
    yield made
    made.close()


def through(proxy: CuttingProxy, server: PostgresServer, place: Place, folder: Path) -> StoreAddress:
    path = folder / "proxied"
    path.write_text(place.url.replace(f":{server.port}/", f":{proxy.port}/"))
    return StoreAddress(postgres=SecretReference(path=str(path)))


def count_up(tx: Transaction) -> int:
    """A unit that must not be done twice."""
    tx.execute("UPDATE things SET n = n + 1 WHERE name = 'counter'")
    (n,) = tx.one("SELECT n FROM things WHERE name = 'counter'") or (None,)
    return int(n)


def counted(place: Place) -> int:
    ((n,),) = place.behind("SELECT n FROM things WHERE name = 'counter'")
    return int(n)


# --- a server that goes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_server_that_is_started_again_has_each_unit_once(
    postgres_server: PostgresServer, database: Database, place: Place, how: signal.Signals
) -> None:
    seen: list[int] = []
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            seen.append(database.write(count_up))

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(2):
            target = len(seen) + 30
            while len(seen) < target and worker.is_alive():
                done.wait(0.01)
            postgres_server.stop(how)
            done.wait(0.1)
            postgres_server.start()
    finally:
        done.set()
        worker.join(timeout=60)
    assert seen == list(range(1, len(seen) + 1))
    assert counted(place) == len(seen) > 60


@pytest.mark.parametrize("what", ["request", "answer"])
@pytest.mark.parametrize("word", [b"BEGIN", b"UPDATE", b"COMMIT"])
def test_a_unit_whose_connection_breaks_anywhere_is_done_once(
    postgres_server: PostgresServer,
    database: Database,
    place: Place,
    proxy: CuttingProxy,
    tmp_path: Path,
    word: bytes,
    what: Cut,
) -> None:
    cut = open_database(through(proxy, postgres_server, place, tmp_path), THINGS, timeout=10)
    assert cut.write(count_up) == 1
    proxy.cut_at(word, what, times=2)
    assert cut.write(count_up) == 2
    assert cut.write(count_up) == 3
    assert proxy.left < 2, "a connection was cut"
    assert counted(place) == 3
    cut.close()


def test_a_read_whose_connection_breaks_is_done_again(
    postgres_server: PostgresServer, database: Database, place: Place, proxy: CuttingProxy, tmp_path: Path
) -> None:
    cut = open_database(through(proxy, postgres_server, place, tmp_path), THINGS, timeout=10)
    proxy.cut_at(b"SELECT n", "answer")
    assert cut.read(lambda tx: tx.one("SELECT n FROM things WHERE name = 'counter'")) == (0,)
    assert proxy.left == 0
    cut.close()


def test_an_owner_lives_again_when_its_session_does(database: Database, place: Place) -> None:
    owner = database.own()
    other = open_database(place.address, THINGS)
    asking = other.own()
    assert asking.is_alive(owner.name)
    place.behind(
        "SELECT pg_terminate_backend(pid) FROM pg_locks JOIN pg_stat_activity USING (pid)"
        f" WHERE locktype = 'advisory' AND objid::bigint = {int(owner.name[8:], 16)}"
    )
    wait = threading.Event()
    for _ in range(100):  # the server ends a session when it comes to it
        if not asking.is_alive(owner.name):
            break
        wait.wait(0.02)
    assert not asking.is_alive(owner.name)
    database.write(count_up)
    assert asking.is_alive(owner.name)
    other.close()


def test_a_server_that_stays_away_is_unreachable(
    postgres_server: PostgresServer, database: Database, place: Place
) -> None:
    impatient = open_database(place.address, THINGS, timeout=0.5)
    postgres_server.stop()
    try:
        with pytest.raises(LockedError, match=r"is unreachable, for more than 0\.5 s"):
            impatient.write(count_up)
        with pytest.raises(LockedError, match="is unreachable"):
            open_database(place.address, THINGS, timeout=0.2)
    finally:
        postgres_server.start()
    assert impatient.write(count_up) == 1
    impatient.close()


def test_a_unit_that_loses_every_race_is_let_run_alone(database: Database, place: Place) -> None:
    """A unit that takes long would be overtaken for ever by short ones that change what it has read."""
    slow, done = open_database(place.address, THINGS, timeout=30), threading.Event()
    attempts: list[int] = []
    overtakes: list[int] = []

    def overtake() -> None:
        while not done.is_set():
            overtakes.append(database.write(count_up))

    def long_unit(tx: Transaction) -> None:
        (n,) = tx.one("SELECT n FROM things WHERE name = 'counter'") or (0,)
        attempts.append(n)
        done.wait(0.2)
        tx.execute("UPDATE things SET n = ? WHERE name = 'counter'", (n + 1,))

    worker = threading.Thread(target=overtake)
    worker.start()
    try:
        slow.write(long_unit)
    finally:
        done.set()
        worker.join(timeout=30)
    assert len(attempts) > 1, "it was overtaken"
    assert counted(place) == len(overtakes) + 1
    slow.close()


# --- what is refused ----------------------------------------------------------------------------------------------


def test_a_database_of_its_own_works_as_a_schema_does(postgres_server: PostgresServer, tmp_path: Path) -> None:
    place = in_server(tmp_path, postgres_server.make_database())
    open_effects(place.address).close()
    assert place.behind("SELECT count(*) FROM actions") == [(0,)]


@pytest.mark.parametrize(
    "foreign",
    ["CREATE TABLE migrations (store TEXT, version INTEGER)", "CREATE VIEW theirs AS SELECT 1 AS x"],
)
def test_tables_that_look_like_ours_are_not_ours(place: Place, foreign: str) -> None:
    place.behind(foreign)
    with pytest.raises(OutputError, match="holds tables of something else"):
        open_database(place.address, THINGS)


@pytest.mark.parametrize(
    "unit",
    [
        lambda tx: tx.execute("INSERT INTO things VALUES ('a\0b', 1)"),
        lambda tx: tx.execute("INSERT INTO things (name, n) VALUES (?, 1)", ("a\0b",)),
        lambda tx: tx.execute("INSERT INTO things (name, n) VALUES ('counter', 1)"),
        lambda tx: tx.load("things", ("name", "n"), [("x", 1), ("counter", 1)]),
        lambda tx: tx.all("SELECT * FROM nowhere"),
        lambda tx: tx.execute("INSERT INTO things (name, n) VALUES ('x', NULL)"),
    ],
)
def test_a_unit_that_the_database_refuses_ends_and_leaves_it_usable(database: Database, place: Place, unit) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(OutputError, match="cannot be used"):
        database.write(unit)
    assert place.behind("SELECT name, n FROM things") == [("counter", 0)]
    assert database.write(count_up) == 1


def test_what_a_row_holds_is_in_no_message(database: Database) -> None:
    with pytest.raises(OutputError) as caught:
        database.write(lambda tx: tx.execute("INSERT INTO things (name, n) VALUES (?, 1)", ("counter",)))
    assert "counter" not in caught.value.message


# --- secrets ------------------------------------------------------------------------------------------------------


def shown(error: BaseException) -> str:
    """All that a user or a log could see of an error."""
    return "".join([*traceback.format_exception(error), repr(error), str(getattr(error, "hint", ""))])


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("mysql://me:hushhush@db/x", "does not hold the URL"),
        ("hushhush", "does not hold the URL"),
        ("postgresql://me:hushhush@[db/x", "cannot read"),
        ("postgresql://me:hush%hush@db/x", "cannot read"),
        ("postgresql://me:hushhush@db/x?no_such_thing=hushhush", "cannot read"),
        ("postgresql://me:hushhush@db/", "names no database"),
        ("postgresql://me:hushhush@/x?host=/no/such/folder", "unreachable"),
    ],
)
def test_a_url_that_is_wrong_is_told_without_it(tmp_path: Path, url: str, complaint: str) -> None:
    path = tmp_path / "url"
    path.write_text(url)
    with pytest.raises(WaylineError, match=complaint) as caught:
        open_database(StoreAddress(postgres=SecretReference(path=str(path))), THINGS, timeout=0.1)
    assert "hush" not in shown(caught.value)
    assert str(path) in str(caught.value)


def test_a_url_that_is_not_there_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_URL", raising=False)
    with pytest.raises(ConfigurationError, match="environment variable NO_SUCH_URL"):
        open_effects(StoreAddress(postgres=SecretReference(env="NO_SUCH_URL")))


def test_a_refusal_names_the_database_and_its_place_and_no_secret(
    postgres_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = "another-secret-91c2"
    monkeypatch.setenv("STORE_URL", postgres_server.url("postgres", wrong))
    address = StoreAddress(postgres=SecretReference(env="STORE_URL"))
    with pytest.raises(OutputError, match=r"'postgres' \(environment variable STORE_URL\) refuses") as caught:
        open_database(address, THINGS, timeout=0.3)
    assert wrong not in shown(caught.value)
    monkeypatch.setenv("STORE_URL", postgres_server.url("no_such_database"))
    with pytest.raises(OutputError, match=r"'no_such_database' .* refuses") as caught:
        open_database(address, THINGS, timeout=0.3)
    assert PASSWORD not in shown(caught.value)


def test_no_secret_is_in_anything_that_is_shown_or_travels(
    place: Place, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    address = place.address
    with caplog.at_level(logging.DEBUG):
        database.write(count_up)
        with pytest.raises(OutputError) as caught:
            database.read(lambda tx: tx.all("SELECT nonsense"))
    told = [repr(address), repr(database), database.label, shown(caught.value), caplog.text]
    told.append(pickle.dumps(address).decode("latin-1"))
    assert not [text for text in told if PASSWORD in text or place.url in text]


def test_a_secret_is_cut_out_of_what_others_say() -> None:
    parameters = connection_parameters("postgresql://me:hush@db/x?sslpassword=quiet", "here")
    assert without_secrets("no hush for me, quiet", parameters) == "no *** for me, ***"


def test_what_a_url_leaves_open_is_set_so_that_a_dead_server_is_noticed() -> None:
    parameters = connection_parameters("postgresql://me@db/x?connect_timeout=3", "here")
    assert parameters["connect_timeout"] == "3"
    assert parameters["tcp_user_timeout"] == "30000"


# --- many -----------------------------------------------------------------------------------------------------


def test_a_newer_layout_is_refused_by_name(place: Place, database: Database) -> None:
    newer = Schema("things", (*THINGS.migrations, Migration("more", ("CREATE TABLE more (x INTEGER)",))))
    open_database(place.address, newer).close()
    with pytest.raises(OutputError, match=r"\(.*store_url\) has layout 2 of things"):
        open_database(place.address, THINGS)
