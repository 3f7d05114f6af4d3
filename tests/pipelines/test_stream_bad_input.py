"""What cannot be streamed is refused before an engine is started: what is wrong, how to mend it, which exit code."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from click.testing import CliRunner, Result
from pubsub_server import PubSubServer
from run_world import DAY, MINUTE, NOON, event, write_events

from contracts.errors import EngineError, WaylineError
from contracts.exchange import StatedRows
from pipelines.cli import wayline
from pipelines.definitions import load_definitions
from sources.pubsub.emulator import find_server
from transforms.tables.bigquery import WriteStatedToBigQuery
from transforms.tables.output import writing
from transforms.tables.stream_folder import begin_stream
from transforms.tables.views import open_views

YEAR = 365 * DAY

Refused = Callable[..., WaylineError]


def invoked(*options: object) -> Result:
    return CliRunner().invoke(wayline, ["stream", *map(str, options), "--no-view"])


@pytest.fixture
def files(tmp_path: Path) -> Path:
    write_events(tmp_path / "in" / "events.avro", [event(1, "page_view", NOON, {"anonymous_id": "a1"})])
    return tmp_path / "in"


@pytest.fixture
def refused(files: Path, tmp_path: Path) -> Refused:
    def refuse(*options: object, source: tuple[object, ...] = ()) -> WaylineError:
        read = source or ("--source=files", f"--input={files}")
        result = invoked(*read, f"--out={tmp_path / 'out'}", *options)
        assert isinstance(result.exception, WaylineError), result.output
        return result.exception

    return refuse


def a_stream_was_here(out: Path, shards: int) -> None:
    with writing(out) as folder:
        begin_stream(folder, load_definitions(None).tables, shards=shards)


def test_no_java(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    error = refused()
    assert (error.exit_code, "Java" in error.message, "openjdk" in error.hint) == (10, True, True)


def test_checkpoints_that_cannot_be_written(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = refused(f"--checkpoints={tmp_path / 'file'}")
    assert (error.exit_code, str(tmp_path / "file") in error.message) == (10, True)


def test_nothing_to_resume(refused: Refused) -> None:
    error = refused("--resume")
    assert error.exit_code == 10
    assert "no checkpoint" in error.message
    assert "without --resume" in error.hint


@pytest.mark.parametrize(("before", "now"), [(16, 8), (8, 16), (16, 0), (0, 16)])
def test_other_shards_than_the_stream_before(refused: Refused, tmp_path: Path, before: int, now: int) -> None:
    a_stream_was_here(tmp_path / "out", before)
    error = refused(f"--state-shards={now}")
    assert error.exit_code == 2
    assert f"--state-shards {before}" in error.message
    assert f"--state-shards {before}" in error.hint


def test_shards_that_are_no_power_of_two(refused: Refused) -> None:
    error = refused("--runner=DirectRunner", "--state-shards=12")
    assert (error.exit_code, "12" in error.message) == (2, True)


def test_an_output_folder_that_another_process_writes(refused: Refused, tmp_path: Path) -> None:
    with writing(tmp_path / "out"):
        error = refused()
    assert (error.exit_code, str(tmp_path / "out") in error.message) == (7, True)


def test_a_subscription_that_is_not_there(
    refused: Refused, pubsub_server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_server.endpoint)  # type: ignore[attr-defined]
    name = "projects/wayline-trial/subscriptions/nobody-made-this"
    error = refused("--runner=DirectRunner", source=("--source=pubsub", f"--subscription={name}"))
    assert (error.exit_code, name in error.message) == (4, True)


def test_an_emulator_that_is_not_there(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"localhost:{probe.getsockname()[1]}")
        # Flink would be there, and is not even looked for
        monkeypatch.setattr("pipelines.flink.job_server.find_java", lambda _: pytest.fail("an engine was started"))
        error = refused(source=("--source=pubsub", "--subscription=projects/p-roject/subscriptions/sub"))
    assert (error.exit_code, "localhost" in error.message) == (7, True)


def test_a_subscription_that_may_not_be_read(
    refused: Refused, pubsub_server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = find_server()
    assert program is not None
    server = PubSubServer(program, "-fail", "GetSubscription=PERMISSION_DENIED")
    try:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.endpoint)
        name = "projects/wayline-trial/subscriptions/not-yours"
        error = refused("--runner=DirectRunner", source=("--source=pubsub", f"--subscription={name}"))
    finally:
        server.stop()
    assert error.exit_code == 4
    assert error.message == f"no permission to use {name}"
    assert "roles/pubsub.subscriber" in error.hint


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        port = other.getsockname()[1]
        result = CliRunner().invoke(wayline, ["pubsub-emulator", f"--port={port}"])
    assert isinstance(result.exception, WaylineError), result.output
    assert (result.exception.exit_code, f"port {port}" in result.exception.message) == (7, True)


def test_a_clock_that_is_far_off_expires_nobody_else_and_is_a_dead_letter(tmp_path: Path) -> None:
    ids = {"anonymous_id": "a1"}
    events = [
        event("1", "page_view", NOON, ids),
        event("in-another-century", "page_view", NOON + 90 * YEAR, ids, received_time=NOON + MINUTE),
        event("ahead", "page_view", NOON + 100 * DAY, ids, received_time=NOON + MINUTE),
        event("2", "page_view", NOON + 2 * MINUTE, {"anonymous_id": "a2"}),
        event("behind", "page_view", NOON - 100 * DAY, ids, received_time=NOON + 3 * MINUTE),
        event("3", "page_view", NOON + 4 * MINUTE, ids),
    ]
    write_events(tmp_path / "in" / "events.avro", events)
    out = tmp_path / "out"
    result = invoked("--source=files", f"--input={tmp_path / 'in'}", f"--out={out}", "--runner=DirectRunner")
    assert (result.exit_code, "the ledger balances" in result.output) == (0, True), result.output
    views = open_views(out, load_definitions(None).tables)
    assert views.execute("SELECT event_id FROM events ORDER BY 1").fetchall() == [("e1",), ("e2",), ("e3",)]
    dead = views.execute("SELECT reason FROM dead_letters ORDER BY 1").fetchall()
    assert dead == [("clock_skew",), ("time_out_of_range",)]
    assert views.execute("SELECT reason FROM expired_late").fetchall() == [("expired_late",)]
    views.close()


@pytest.mark.parametrize(
    "options",
    [
        ("--source=pubsub",),
        ("--source=files", "--subscription=projects/p/subscriptions/s"),
        ("--source=files", "--input=x", "parallelism=2"),
    ],
)
def test_options_that_do_not_fit_together(tmp_path: Path, options: tuple[str, ...]) -> None:
    result = invoked(*options, f"--out={tmp_path / 'out'}")
    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_an_address_that_is_none(refused: Refused) -> None:
    error = refused("--flink-master=nowhere")
    assert (error.exit_code, "nowhere" in error.message) == (2, True)


BIGQUERY = ("--tables=bigquery", "--bigquery-dataset=acme-prod.wayline")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--bigquery-dataset=acme-prod.wayline",), "are for --tables bigquery"),
        (("--tables=bigquery",), "needs a dataset"),
        (("--tables=bigquery", "--bigquery-dataset=wayline"), "wayline is no PROJECT.DATASET"),
        ((*BIGQUERY, "--bigquery-connector=here"), "here is no HOST:PORT"),
        ((*BIGQUERY, "--runner=DirectRunner"), "the direct runner cannot run Beam's BigQuery connector"),
        (("--runner=DataflowRunner", "--dry_run=True"), "--tables files cannot be written"),
        ((*BIGQUERY, "--runner=DataflowRunner", "--dry_run=True"), "stores cannot be a file in OUT"),
        ((*BIGQUERY, "--runner=DataflowRunner"), "built and checked for Dataflow, and not run there"),
    ],
)
def test_tables_that_the_engine_cannot_write(refused: Refused, options: tuple[str, ...], said: str) -> None:
    error = refused("--runner=DirectRunner", *options)
    assert (error.exit_code, said in error.message, bool(error.hint)) == (2, True, True), error.message


def test_a_bigquery_connector_that_does_not_answer() -> None:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    rows = WriteStatedToBigQuery("acme-prod", "wayline", (), expansion_service=f"localhost:{port}")
    pipeline = beam.Pipeline()
    stated = pipeline | beam.Create([]).with_output_types(tuple[bytes, StatedRows])
    with pytest.raises(EngineError, match=f"connector cannot be had from localhost:{port}") as caught:
        _ = stated | rows
    assert (caught.value.exit_code, "--bigquery-connector" in caught.value.hint) == (10, True)
