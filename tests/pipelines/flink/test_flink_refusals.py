"""What Flink needs and does not find is said by name, with what to do, before anything runs."""

from __future__ import annotations

import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import EngineError, UsageError
from pipelines.flink.java import find_java
from pipelines.flink.job_server import JobServer, JobServerSettings, class_path
from pipelines.flink.options import FlinkSettings, check_master, flink_options, latest_checkpoint


def java(folder: Path, version: str, then: str = "exit 1") -> dict[str, str]:
    """The environment of a machine whose Java says a version, and does something when told to run."""
    launcher = folder / "bin" / "java"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f"#!/bin/sh\nif [ \"$1\" = -version ]; then echo 'openjdk {version}' >&2; exit 0; fi\n{then}\n")
    launcher.chmod(0o755)
    return {"JAVA_HOME": str(folder), "PATH": os.environ["PATH"]}


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    """A class path, as far as its names go."""
    folder = tmp_path / "lib"
    folder.mkdir()
    (folder / "beam-runners-flink-1.19-2.62.0.jar").touch()
    (folder / "wayline-flink.jar").touch()
    return folder


def test_jars_without_the_class_of_ours_are_refused(tmp_path: Path) -> None:
    (tmp_path / "beam-runners-flink-1.19-2.62.0.jar").touch()
    with pytest.raises(EngineError, match="is of an earlier version") as caught:
        class_path(JobServerSettings(tmp_path, classpath=tmp_path))
    assert caught.value.hint == "get it anew: make flink"


def test_no_java() -> None:
    with pytest.raises(EngineError, match="there is no Java on this machine") as caught:
        find_java({"PATH": "/nowhere"})
    assert "install Java 17" in caught.value.hint
    assert caught.value.exit_code == 10


def test_a_java_home_without_java(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="bin/java, from JAVA_HOME, does not run"):
        find_java({"JAVA_HOME": str(tmp_path)})


@pytest.mark.parametrize(("said", "version"), [('version "1.8.0_392"', 8), ('version "24" 2025-03-18', 24)])
def test_a_java_on_which_flink_does_not_run(tmp_path: Path, said: str, version: int) -> None:
    with pytest.raises(EngineError, match=f"is Java {version}; Flink runs on Java 11 to 21"):
        find_java(java(tmp_path / "jdk", said))


def test_a_java_that_says_nothing(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="does not say which version"):
        find_java(java(tmp_path / "jdk", "of no number"))


@pytest.mark.parametrize("said", ['version "11.0.2" 2019-01-15', 'version "17.0.15" 2025-04-15', 'version "21"'])
def test_a_java_on_which_flink_runs(tmp_path: Path, said: str) -> None:
    assert 11 <= find_java(java(tmp_path / "jdk", said)).version <= 21


def test_no_job_server(tmp_path: Path) -> None:
    settings = JobServerSettings(tmp_path / "work", classpath=tmp_path / "none")
    with pytest.raises(EngineError, match=r"there is no Flink job server in .*none") as caught:
        JobServer(settings, java(tmp_path / "jdk", 'version "17"'))
    assert caught.value.hint == "get it: make flink"


def test_a_port_that_is_taken(tmp_path: Path, jars: Path) -> None:
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        port = other.getsockname()[1]
        settings = JobServerSettings(tmp_path / "work", port=port, classpath=jars)
        with pytest.raises(EngineError, match=f"port {port} is taken"):
            JobServer(settings, java(tmp_path / "jdk", 'version "17"'))


def test_a_folder_that_cannot_be_made(tmp_path: Path, jars: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"folder of the Flink job server, .*file/work, cannot be written: Not a dir"):
        JobServer(JobServerSettings(tmp_path / "file" / "work", classpath=jars), java(tmp_path / "j", 'version "17"'))


def test_a_server_that_dies_at_once_is_told_with_its_last_words(tmp_path: Path, jars: Path) -> None:
    dying = "echo 'OutOfMemoryError: heap'; echo 'see you'; exit 3"
    with pytest.raises(EngineError, match="ended with code 3: OutOfMemoryError: heap") as caught:
        JobServer(JobServerSettings(tmp_path / "work", classpath=jars), java(tmp_path / "jdk", 'version "17"', dying))
    assert "job-server.log" in caught.value.hint


def test_a_server_that_never_answers_is_ended(tmp_path: Path, jars: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.flink.job_server._STARTED_WITHIN", 0.5)
    sleeping = f"echo $$ > {tmp_path}/pid; exec sleep 60"
    with pytest.raises(EngineError, match="does not answer after"):
        JobServer(
            JobServerSettings(tmp_path / "work", classpath=jars), java(tmp_path / "jdk", 'version "17"', sleeping)
        )
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.1)
    pytest.fail("the server that did not answer still runs")


def test_a_checkpoint_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"checkpoint folder .*file/kept cannot be written: Not a directory"):
        flink_options("localhost:1", FlinkSettings(checkpoints=tmp_path / "file" / "kept"))


def test_what_is_no_checkpoint_is_not_restored(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is no whole checkpoint"):
        flink_options("localhost:1", FlinkSettings(restore=tmp_path))


@pytest.mark.parametrize("master", ["flink", "flink:", ":8081", "flink:80810000", "a b:1"])
def test_what_is_no_address_of_a_cluster(master: str) -> None:
    with pytest.raises(UsageError, match="is no address of a Flink cluster"):
        check_master(master)


def test_an_address_of_a_cluster() -> None:
    assert check_master("http://flink-jobmanager.prod:8081") == "flink-jobmanager.prod:8081"


def test_a_checkpoint_that_the_engine_removes_while_it_is_looked_for_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2, 3):
        (tmp_path / "job" / f"chk-{number}").mkdir(parents=True)
        (tmp_path / "job" / f"chk-{number}" / "_metadata").touch()
    scandir = os.scandir

    def removing(path: Any = ".") -> Any:
        if str(path).endswith("chk-2"):
            shutil.rmtree(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", removing)
    assert latest_checkpoint(tmp_path) in {tmp_path / "job" / "chk-1", tmp_path / "job" / "chk-3"}
    assert not (tmp_path / "job" / "chk-2").exists()


def test_the_latest_checkpoint_is_the_newest_whole_one(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    for i, name in enumerate(("job1/chk-9", "job2/chk-3", "savepoint-ab", "job2/shared")):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "_metadata").touch()
        os.utime(folder / "_metadata", (1_000 + i, 1_000 + i))
    (tmp_path / "job2" / "chk-4").mkdir()
    assert latest_checkpoint(tmp_path) == tmp_path / "savepoint-ab"


def test_options_are_those_of_the_settings_and_what_the_user_wrote_wins() -> None:
    settings = FlinkSettings(parallelism=2, bundle_ms=20, finite=True)
    found = flink_options("localhost:8099", settings, ["--max_bundle_size=7"]).get_all_options()
    assert found["job_endpoint"] == "localhost:8099"
    assert (found["parallelism"], found["max_bundle_time_mills"], found["max_bundle_size"]) == (2, 20, 7)
    assert found["shutdown_sources_after_idle_ms"] == 4_000
    assert found["experiments"] == ["use_loopback_process_worker"]
    assert found["streaming"] is True
