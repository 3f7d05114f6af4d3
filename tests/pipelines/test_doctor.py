"""``wayline doctor``: what is there is ok, what is missing is named with its mending, and nothing is changed."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner
from pubsub_server import PubSubServer

from benchmarks.postgres_server import PostgresServer
from benchmarks.redis_server import RedisServer
from contracts.errors import CheckFailedError
from contracts.event import SECOND
from pipelines import doctor
from pipelines.cli import wayline
from pipelines.clock import now
from pipelines.config import ProjectConfig, load_config
from pipelines.doctor import MISSING, OK, OPTIONAL, Check, Wanted, examine
from transforms.secret import SecretReference
from transforms.stores.database import StoreAddress


def checks(config: ProjectConfig | None = None, wanted: Wanted | None = None, ahead: int = 0) -> dict[str, Check]:
    found = examine(config or ProjectConfig(), wanted or Wanted(), lambda: now() - ahead)
    return {one.name: one for one in found}


def a_dead_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


def test_this_environment_is_the_locked_one() -> None:
    found = checks()
    assert (found["Python"].status, found["packages"].status) == (OK, OK)
    assert found["packages"].said.endswith("as locked")


def test_a_package_that_is_missing_or_of_another_version_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "runtime.txt"
    lock.write_text(
        "# made\nclick==0.1 \\\n    --hash=sha256:00\n"
        "no-such-package==1 ; python_version > '3' \\\n    --hash=sha256:00\n"
        "never-here==1 ; python_version < '3' \\\n    --hash=sha256:00\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(doctor, "LOCK", lock)
    found = checks()["packages"]
    assert found.status == MISSING
    assert "not ==0.1" in found.said
    assert "no-such-package is not installed" in found.said
    assert "never-here" not in found.said
    monkeypatch.setattr(doctor, "LOCK", tmp_path / "none")
    assert checks()["packages"].said.endswith("as declared")


def test_java_is_needed_only_where_streams_are_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert checks()["Java"].status == OPTIONAL
    found = checks(wanted=Wanted(stream=True))["Java"]
    assert found.status == MISSING
    assert "install Java 17" in found.mend


def test_little_room_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ENOUGH_BYTES", 1 << 60)
    assert checks()["disk space"].status == MISSING


def test_an_output_folder_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    assert checks(wanted=Wanted(out=tmp_path / "new" / "out"))["output folder"].status == OK
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder is wanted in which not even root may write")
def test_an_output_folder_that_cannot_be_written_is_missing() -> None:
    found = checks(wanted=Wanted(out=Path("/proc/out")))["output folder"]
    assert found.status == MISSING
    assert "/proc cannot be written" in found.said


def test_a_disk_whose_clock_is_another_is_told(tmp_path: Path) -> None:
    found = checks(wanted=Wanted(out=tmp_path), ahead=60 * SECOND)["output folder"]
    assert found.status == MISSING
    assert "60 s ahead of" in found.said


def test_a_secret_that_is_not_there_is_named_and_one_that_is_there_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "wayline.yaml"
    path.write_text(
        "channels: {sales: {type: webhook, url: 'https://a.example', secret: {env: A_SECRET_OF_A_TEST}}}\n",
        encoding="utf-8",
    )
    config = load_config(path)
    assert checks(config)["secret of channel sales"].status == MISSING
    monkeypatch.setenv("A_SECRET_OF_A_TEST", "hush")
    found = checks(config)["secret of channel sales"]
    assert found.status == OK
    assert "hush" not in found.said


def test_servers_that_answer_are_ok_and_their_clocks_are_compared(
    postgres_server: PostgresServer, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_STORE", postgres_server.make_database())
    monkeypatch.setenv("A_REDIS", redis_server.url)
    config = ProjectConfig(
        store=StoreAddress(postgres=SecretReference(env="A_STORE")), online_redis=SecretReference(env="A_REDIS")
    )
    names = ("PostgreSQL of the stores", "Redis of the online features")
    assert [checks(config)[name].status for name in names] == [OK, OK]
    late = checks(config, ahead=3600 * SECOND)
    assert all("ahead of this machine's" in late[name].said for name in names)


def test_servers_that_do_not_answer_are_missing_without_their_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    port = a_dead_port()
    monkeypatch.setenv("A_STORE", f"postgresql://me:hush@localhost:{port}/x")
    monkeypatch.setenv("A_REDIS", f"redis://me:hush@localhost:{port}/0")
    config = ProjectConfig(
        store=StoreAddress(postgres=SecretReference(env="A_STORE")), online_redis=SecretReference(env="A_REDIS")
    )
    found = checks(config)
    for name in ("PostgreSQL of the stores", "Redis of the online features"):
        assert found[name].status == MISSING
        assert found[name].mend
        assert "hush" not in found[name].said


def test_a_topic_that_is_not_there_is_missing(pubsub_server: PubSubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_server.endpoint)
    name = "projects/p/topics/never-made"
    found = checks(wanted=Wanted(topics=(name,)))[name]
    assert found.status == MISSING
    assert "there is no topic" in found.said


def test_the_command_ends_with_exit_code_9_when_something_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    result = CliRunner().invoke(wayline, ["doctor", "--stream"])
    assert isinstance(result.exception, CheckFailedError)
    assert "missing  Java: " in result.output
    assert "fix: install Java 17" in result.output
    told = json.loads(CliRunner().invoke(wayline, ["doctor", "--json"]).stdout)["checks"]
    assert {one["name"] for one in told} >= {"Python", "packages", "disk space"}
