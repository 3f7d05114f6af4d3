"""Runs and streams that keep the online features in a Redis server: Feast reads there what they wrote."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from run_world import DAY, FEW_SHARDS, HOUR, MINUTE, NOON, Record, Runs, event, text_of, write_events

from benchmarks.redis_server import RedisServer
from contracts.errors import ConfigurationError, LockedError, OutputError, WaylineError
from features.journey_features import FEATURE_NAMES, VERSIONS
from features.names import JOIN_KEY, services_of
from features.online_address import NOTE, address_of
from features.online_table import ONLINE_FILE, OnlineTable
from features.repository import open_store, read_online
from pipelines.stream import stream
from pipelines.stream_plan import StreamOptions
from pipelines.table_sink import DIRECT

ONLINE = "features: {online: {redis: {env: TEST_ONLINE_URL}}}\n"
PHONE, USER = {"anonymous_id": "kim-cookie"}, {"user_id": "kim-the-user"}
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def config(
    redis_server: RedisServer, environment: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A configuration that names the server."""
    environment.setenv("TEST_ONLINE_URL", redis_server.url)
    path = tmp_path_factory.mktemp("config") / "wayline.yaml"
    path.write_text(FEW_SHARDS + ONLINE, encoding="utf-8")
    return path


def browsing(start: int, ids: dict[str, str]) -> list[Record]:
    names = ("home_view", "product_view", "pricing_view", "add_to_cart")
    return [event(next(NUMBERS), name, start + i * MINUTE, ids) for i, name in enumerate(names)]


def login(at: int) -> Record:
    return event(next(NUMBERS), "login", at, {**PHONE, **USER})


def newest(runs: Runs) -> dict[str, dict[str, float]]:
    """What the tables say of everybody's newest features."""
    columns = ", ".join(FEATURE_NAMES)
    rows = runs.query(
        f"SELECT person_id, revision, {columns} FROM features QUALIFY "
        'row_number() OVER (PARTITION BY person_id ORDER BY "at" DESC) = 1'
    )
    return {person: dict(zip(("revision", *FEATURE_NAMES), values, strict=True)) for person, *values in rows}


def persons(runs: Runs) -> list[str]:
    """Everybody who ever had an id."""
    return [person for (person,) in runs.query("SELECT person_id FROM persons")]


@pytest.fixture(scope="module")
def served(config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Runs, str]:
    """Run 1: a cookie, and a user elsewhere. Run 2: the user logs in on that device. With who is no more."""
    runs = Runs(tmp_path_factory.mktemp("served"), config)
    runs.run([*browsing(NOON, PHONE), *browsing(NOON + DAY, USER)])
    retired = runs.person("anonymous_id", "kim-cookie")
    assert retired is not None
    assert set(read_online(runs.out, persons(runs))) == {retired, runs.person("user_id", "kim-the-user")}
    runs.run([login(NOON + 2 * DAY)])
    return runs, retired


def test_feast_reads_from_the_server_what_a_run_wrote(served: tuple[Runs, str]) -> None:
    runs, retired = served
    expected = newest(runs)
    assert expected.keys() == {runs.person("user_id", "kim-the-user")}
    assert read_online(runs.out, [*persons(runs), retired]) == expected
    assert not (runs.out / "feast" / ONLINE_FILE).exists()


def test_versions_stand_side_by_side_on_the_server(served: tuple[Runs, str]) -> None:
    runs, _ = served
    ((person, expected),) = newest(runs).items()
    store = open_store(runs.out)
    for version, features in VERSIONS.items():
        service = store.get_feature_service(services_of(version)[1])
        found = store.get_online_features(features=service, entity_rows=[{JOIN_KEY: person}]).to_dict()
        wanted = {feature.name: [expected[feature.name]] for feature in features}
        assert found == {JOIN_KEY: [person], "revision": [2], **wanted}


def test_the_retired_person_leaves_a_mark_without_values(served: tuple[Runs, str], redis_server: RedisServer) -> None:
    runs, retired = served
    client: Any = redis.Redis.from_url(redis_server.url)
    prefix = address_of(runs.out / "feast").prefix
    assert client.hgetall(f"{prefix}:journey:{retired}") == {b"r": b"1"}
    client.close()


def test_neither_url_nor_password_is_written_anywhere(served: tuple[Runs, str], redis_server: RedisServer) -> None:
    runs, _ = served
    open_store(runs.out)
    written = text_of(runs.out)
    assert "only-for-tests" not in written
    assert str(redis_server.port) not in (runs.out / "feast" / "feature_store.yaml").read_text()
    assert 'redis_env: "TEST_ONLINE_URL"' in written


def test_two_folders_on_one_server_do_not_mix(served: tuple[Runs, str], config: Path, tmp_path: Path) -> None:
    first, _ = served
    before = newest(first)
    second = Runs(tmp_path, config)
    # the same person, since under the same key; in a common row the greater revision of the first would stay
    second.run(browsing(NOON + HOUR, USER))
    assert newest(second).keys() == before.keys()
    assert read_online(second.out, persons(second)) == newest(second)
    assert read_online(first.out, persons(first)) == before


def test_a_stream_writes_to_the_server_and_retires_who_merges(config: Path, tmp_path: Path) -> None:
    runs = Runs(tmp_path, config)
    options: dict[str, Any] = {"config": config, "runner": DIRECT, "shards": 2}
    write_events(tmp_path / "first" / "events.avro", [*browsing(NOON, PHONE), *browsing(NOON + DAY, USER)])
    stream(StreamOptions(runs.out, (str(tmp_path / "first"),), **options))
    both = read_online(runs.out, persons(runs))
    assert len(both) == 2
    for person, row in newest(runs).items():
        assert {name: both[person][name] for name in FEATURE_NAMES} == {name: row[name] for name in FEATURE_NAMES}
    write_events(tmp_path / "second" / "events.avro", [login(NOON + 2 * DAY)])
    stream(StreamOptions(runs.out, (str(tmp_path / "second"),), **options))
    (left,) = read_online(runs.out, sorted(both))
    assert left == runs.person("user_id", "kim-the-user")
    assert not (runs.out / "feast" / ONLINE_FILE).exists()


def test_who_moves_to_a_server_takes_everybody_along_and_leaves_nothing_behind(config: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.yaml"
    plain.write_text(FEW_SHARDS, encoding="utf-8")
    runs = Runs(tmp_path, plain)
    runs.run(browsing(NOON, USER))
    (person,) = persons(runs)
    file = OnlineTable(runs.out / "feast" / ONLINE_FILE, "journey")
    assert file.read([person])[0] is not None
    write_events(tmp_path / "more" / "events.avro", browsing(NOON + DAY, PHONE))
    with pytest.raises(OutputError, match="not where the configuration says"):
        stream(StreamOptions(runs.out, (str(tmp_path / "more"),), config=config, runner=DIRECT, shards=2))
    assert read_online(runs.out, [person]) == newest(runs), "who is turned away changes nothing"
    runs.run_files(config=config)
    found = read_online(runs.out, [person])
    assert {name: found[person][name] for name in FEATURE_NAMES} == {
        name: newest(runs)[person][name] for name in FEATURE_NAMES
    }
    assert file.read([person]) == [None]
    assert json.loads((runs.out / "feast" / NOTE).read_text())["left"] == []
    file.close()


@pytest.mark.parametrize(
    ("url", "kind", "said"),
    [
        (None, ConfigurationError, "environment variable TEST_ONLINE_URL: is not set"),
        ("localhost:6379", ConfigurationError, "does not hold the URL of a Redis server"),
        ("redis://127.0.0.1:1/0", LockedError, "not reachable"),
        ("redis://:wrong@127.0.0.1:{port}/0", OutputError, "refuses user and password"),
    ],
)
def test_a_server_that_cannot_be_used_is_told_before_anything_is_built(
    url: str | None,
    kind: type[WaylineError],
    said: str,
    config: Path,
    tmp_path: Path,
    redis_server: RedisServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if url is None:
        monkeypatch.delenv("TEST_ONLINE_URL")
    else:
        monkeypatch.setenv("TEST_ONLINE_URL", url.format(port=redis_server.port))
    runs = Runs(tmp_path, config)
    with pytest.raises(kind, match=said) as caught:
        runs.run(browsing(NOON, USER))
    assert "wrong" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    assert not list(runs.out.glob("tables/*"))
    assert not (runs.out / "feast" / NOTE).exists()
