"""The live demo's publisher: it waits for the engine, keeps its time, and asks for the end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_world import FEW_SHARDS, MINUTE, NOON, event, write_events

from contracts.errors import OutputError
from contracts.tables import RUN_LEDGER
from pipelines.commands.stream_demo import command
from pipelines.definitions import load_definitions
from pipelines.stream_demo import SUBSCRIPTION, TOPIC, Feeder, LiveDemo
from pipelines.stream_plan import drain_file
from sources.pubsub import client
from sources.pubsub.emulator import running_server
from transforms.tables.output import OutputFolder, writing
from transforms.tables.part_names import StreamPart
from transforms.tables.stream_folder import begin_stream

RATE = 50.0


@pytest.fixture(name="server")
def server_fixture(pubsub_server: Any) -> Iterator[str]:
    """A server of its own, since the demo's names are fixed; skipped where none is built."""
    with running_server() as endpoint:
        client.create(TOPIC, SUBSCRIPTION, endpoint)
        yield endpoint


@pytest.fixture(name="out")
def out_fixture(tmp_path: Path) -> OutputFolder:
    """The folder of a stream that has begun."""
    config = tmp_path / "wayline.yaml"
    config.write_text(FEW_SHARDS, encoding="utf-8")
    with writing(tmp_path / "out") as folder:
        begin_stream(folder, load_definitions(config).tables)
    return OutputFolder(tmp_path / "out")


def files(tmp_path: Path) -> tuple[str, ...]:
    events = [event(n, "home_view", NOON + n * MINUTE, {"anonymous_id": f"a{n}"}) for n in range(400)]
    return (str(write_events(tmp_path / "in" / "events.avro", events)),)


def waiting(endpoint: str) -> int:
    """Messages that wait, taken and given back."""
    pulled = client.subscriber(endpoint).pull(
        request={"subscription": SUBSCRIPTION, "max_messages": 1_000, "return_immediately": True}
    )
    client.extend(endpoint, SUBSCRIPTION, [one.ack_id for one in pulled.received_messages], 0)
    return len(pulled.received_messages)


def the_engine_runs(out: OutputFolder) -> None:
    (out.tables / RUN_LEDGER.name / StreamPart(1, "00", 0).name).touch()


def await_the_request_to_end(out: OutputFolder) -> None:
    deadline = time.monotonic() + 60
    while not drain_file(out, 1).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert drain_file(out, 1).exists()


def test_one_event_goes_first_and_the_rest_when_the_tables_know_of_it(
    server: str, out: OutputFolder, tmp_path: Path
) -> None:
    feeder = Feeder(LiveDemo(files(tmp_path), RATE, seconds=1.0), server, out.root)
    feeder.start()
    time.sleep(1.5)
    assert waiting(server) == 1
    the_engine_runs(out)
    await_the_request_to_end(out)
    done = feeder.result()
    assert done is not None
    assert RATE * 0.5 <= done.events <= RATE * 1.0 + 2, "a second at the rate, however long the engine took"
    assert waiting(server) == done.events


def test_a_publisher_that_is_stopped_leaves_the_end_to_who_stopped_it(
    server: str, out: OutputFolder, tmp_path: Path
) -> None:
    feeder = Feeder(LiveDemo(files(tmp_path), RATE, seconds=60.0), server, out.root)
    feeder.start()
    the_engine_runs(out)
    feeder.stop()
    feeder.stop()
    assert feeder.result() is not None
    assert not drain_file(out, 1).exists()


def test_what_the_publisher_met_is_raised_at_the_end(server: str, out: OutputFolder, tmp_path: Path) -> None:
    client.publisher(server).delete_topic(topic=TOPIC)
    feeder = Feeder(LiveDemo(files(tmp_path), RATE, seconds=60.0), server, out.root)
    feeder.start()
    await_the_request_to_end(out)
    with pytest.raises(OutputError, match=TOPIC):
        feeder.result()


def test_a_folder_with_other_things_in_it_is_refused(pubsub_server: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(OutputError, match="holds other things than a demo"):
        command.main(["--out", str(tmp_path)], standalone_mode=False)
    assert (tmp_path / "mine.txt").exists()
