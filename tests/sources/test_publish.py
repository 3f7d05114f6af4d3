"""``wayline publish``: every event of the files once, in the order of event time, at the pace asked for."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fastavro
import pytest
from click.testing import CliRunner, Result

from contracts import codec
from contracts.errors import OutputError, ServiceError
from contracts.event import Event, Identifier
from contracts.event_codec import event_to_record
from contracts.exchange import Message
from pipelines.commands.publish import command
from sources import publish as publishing
from sources.publish import Present, publish
from sources.pubsub import client
from sources.pubsub.emulator import free_port
from transforms.decode import DecodeError
from transforms.payloads import PayloadEncoder, decode_message
from transforms.schema_registry import SchemaRegistry, load_registry, published

NOON = 1_750_000_000_000_000


def event(number: int, at: int, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "traceparent": None, "event_id": f"e{number}", "received_time": NOON + 10**6, **changes
    }  # fmt: skip
    identifiers = (Identifier("anonymous_id", "a"),)
    return Event(
        name="view", event_time=NOON + at, source="web", channel="web",
        identifiers=identifiers, **fields,
    )  # fmt: skip


def write(path: Path, events: Sequence[Event]) -> str:
    out = io.BytesIO()
    schema = codec.without_logical_types(codec.raw_schema("event"))
    fastavro.writer(out, schema, [event_to_record(e) for e in events], sync_interval=1)
    path.write_bytes(out.getvalue())
    return str(path)


@pytest.fixture(name="files")
def files_fixture(tmp_path: Path) -> list[str]:
    first = write(tmp_path / "a.avro", [event(n, n) for n in range(100, 0, -2)])
    second = write(tmp_path / "b.avro", [event(n, n) for n in range(1, 100, 2)])
    return [first, second]


@pytest.fixture(name="names")
def names_fixture(pubsub_server: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub_server.endpoint)
    names: tuple[str, str] = pubsub_server.names()
    return names


def messages_in(subscription: str) -> list[Any]:
    """Everything that waits in a subscription, as it was published: pstest numbers messages."""
    endpoint = client.emulator_endpoint()
    pulled = client.subscriber(endpoint).pull(
        request={"subscription": subscription, "max_messages": 9_000, "return_immediately": True}
    )
    return sorted((item.message for item in pulled.received_messages), key=lambda m: int(m.message_id[1:]))


def events_in(subscription: str, registry: SchemaRegistry | None = None) -> list[Event]:
    return [
        decode_message(Message(m.data, dict(m.attributes), 1 << 60), registry or published())
        for m in messages_in(subscription)
    ]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def test_events_are_published_once_in_the_order_of_event_time(files: list[str], names: tuple[str, str]) -> None:
    topic, subscription = names
    inputs = [part for name in files for part in ("--input", name)]
    result = call("--topic", topic, "--create", "--subscription", subscription, *inputs)
    assert result.exit_code == 0, result.output
    assert f"published to {topic}: 100 events in" in result.output
    assert events_in(subscription) == [event(n, n) for n in range(1, 101)]


@pytest.mark.parametrize(
    ("encoding", "options"),
    [
        ("binary", ["--schema-name", "projects/acme/schemas/events", "--schema-revision", "r1"]),
        ("json", ["--schema-name", "projects/acme/schemas/events", "--schema-revision", "r1"]),
        ("json", []),
        ("binary", []),
        ("confluent", ["--schema-id", "8"]),
        ("single-object", []),
    ],
)
def test_every_encoding_can_be_chosen(
    encoding: str, options: list[str], names: tuple[str, str], tmp_path: Path
) -> None:
    topic, subscription = names
    name = write(tmp_path / "a.avro", [event(1, 1, traceparent="00-aa-bb-01")])
    arguments = ["--topic", topic, "--create", "--subscription", subscription, "--input", name, "--encoding", encoding]
    result = call(*arguments, *options)
    assert result.exit_code == 0, result.output
    (tmp_path / "schemas.yaml").write_text(
        "schemas:\n  - {event: 1, pubsub: projects/acme/schemas/events, revisions: [r1], confluent_ids: [8]}\n"
    )
    assert events_in(subscription, load_registry(tmp_path)) == [event(1, 1, traceparent="00-aa-bb-01")]


def test_attributes_name_the_event_its_time_and_its_trace(names: tuple[str, str], tmp_path: Path) -> None:
    topic, subscription = names
    client.create(topic, subscription, client.emulator_endpoint())
    long_id = "x" * 1_025
    name = write(tmp_path / "a.avro", [event(1, 1, traceparent="00-aa-bb-01"), event(2, 2, event_id=long_id)])
    publish([name], topic, client.emulator_endpoint(), PayloadEncoder())
    first, second = [dict(message.attributes) for message in messages_in(subscription)]
    assert first == {"event_id": "e1", "event_time": str(NOON // 1000), "traceparent": "00-aa-bb-01"}
    assert second == {"event_time": str(NOON // 1000)}


def test_damage_is_published_as_it_is_and_what_no_topic_takes_is_left_out(
    names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic, subscription = names
    client.create(topic, subscription, client.emulator_endpoint())
    name = Path(write(tmp_path / "a.avro", [event(1, 1), event(2, 2)]))
    name.write_bytes(name.read_bytes()[:-5])
    monkeypatch.setattr(publishing, "_MOST_BYTES", 20_000)
    big = write(tmp_path / "b.avro", [event(3, 3, properties={"text": "x" * 30_000})])
    done = publish([str(name), big], topic, client.emulator_endpoint(), PayloadEncoder())
    assert (done.events, done.damaged, done.oversize) == (2, 1, 1)
    waiting = messages_in(subscription)
    assert len(waiting) == 3
    with pytest.raises(DecodeError):
        decode_message(Message(waiting[-1].data, {}, NOON), published())


def test_a_rate_is_kept_as_an_average_from_the_beginning(files: list[str], names: tuple[str, str]) -> None:
    topic, _ = names
    client.create(topic, None, client.emulator_endpoint())
    now = [0.0]
    calls: list[tuple[float, int, int]] = []

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def progress(done: int, total: int) -> None:
        calls.append((now[0], done, total))
        now[0] += 0.5 if done == 20 else 0.0  # a slow request is caught up with

    publish(
        files, topic, client.emulator_endpoint(), PayloadEncoder(), 50.0, progress, clock=lambda: now[0], sleep=sleep
    )
    assert all(done <= at * 50 + 1 for at, done, _ in calls)
    assert (calls[-1][1], calls[-1][2]) == (100, 100)
    assert 1.9 <= calls[-1][0] <= 2.1


def test_a_world_can_be_simulated_and_published(names: tuple[str, str]) -> None:
    topic, subscription = names
    result = call(
        "--topic", topic, "--create", "--subscription", subscription, "--simulate", "8", "--days", "5", "--seed", "3"
    )
    assert result.exit_code == 0, result.output
    times = [e.event_time for e in events_in(subscription)]
    assert len(times) > 20
    assert times == sorted(times)


def test_now_what_was_received_at_once_happens_as_it_is_published_and_copies_stay_copies() -> None:
    seconds = iter([100, 101, 102])
    present = Present(lambda: next(seconds) * 10**6)
    copy = event(1, 0, received_time=NOON + 3600 * 10**6)
    given = [event(1, 0), copy, event(2, 5)]
    first, again, second = [present(one) for one in given]
    assert first == again
    assert (first.event_time, first.received_time) == (100 * 10**6, 0)
    assert second.event_time == 101 * 10**6


@pytest.mark.parametrize("ago", [-365 * 86_400 * 10**6, -61 * 10**6, 61 * 10**6, 72 * 3600 * 10**6])
def test_now_what_came_late_or_has_a_wrong_time_keeps_its_distance(ago: int) -> None:
    late = Present(lambda: 2 * NOON)(event(1, 0, received_time=NOON + ago))
    assert late.event_time == 2 * NOON - ago


def test_published_now_events_are_received_when_they_happen(names: tuple[str, str], tmp_path: Path) -> None:
    topic, subscription = names
    name = write(tmp_path / "a.avro", [event(2, 2), event(1, 1)])
    before = time.time_ns() // 1_000
    result = call("--topic", topic, "--create", "--subscription", subscription, "--input", name, "--now")
    assert result.exit_code == 0, result.output
    messages = messages_in(subscription)
    published_at = int(messages[0].publish_time.timestamp() * 10**6)
    first, second = [decode_message(Message(m.data, {}, published_at), published()) for m in messages]
    assert [first.event_id, second.event_id] == ["e1", "e2"]
    assert before <= first.event_time <= second.event_time <= time.time_ns() // 1_000
    assert first.received_time == published_at
    assert dict(messages[0].attributes)["event_time"] == str(first.event_time // 1_000)


def test_now_a_broken_clock_takes_its_turn_when_it_was_received(names: tuple[str, str], tmp_path: Path) -> None:
    topic, subscription = names
    ancient, future = (event(n, at, received_time=NOON + n) for n, at in ((2, -NOON), (3, 365 * 86_400 * 10**6)))
    name = write(tmp_path / "a.avro", [future, ancient, event(4, 4, received_time=NOON + 5), event(1, 1)])
    result = call("--topic", topic, "--create", "--subscription", subscription, "--input", name, "--now")
    assert result.exit_code == 0, result.output
    assert [e.event_id for e in events_in(subscription)] == ["e1", "e2", "e3", "e4"]


def test_publishing_can_be_stopped(files: list[str], names: tuple[str, str]) -> None:
    topic, subscription = names
    client.create(topic, subscription, client.emulator_endpoint())
    asked = iter([False, True])
    done = publish(files, topic, client.emulator_endpoint(), PayloadEncoder(), 1e-3, stopped=lambda: next(asked))
    assert done.events == len(events_in(subscription)) == 1


def test_what_is_wrong_is_said_before_anything_is_published(files: list[str], names: tuple[str, str]) -> None:
    topic, _ = names
    with pytest.raises(OutputError, match=f"there is no topic {topic}"):
        command.main(["--topic", topic, "--input", files[0]], standalone_mode=False)
    for arguments in (
        ["--topic", topic],
        ["--topic", topic, "--input", files[0], "--simulate", "3"],
        ["--topic", topic, "--input", files[0], "--seed", "3"],
        ["--topic", topic, "--input", files[0], "--subscription", "x"],
        ["--topic", topic, "--input", files[0], "--encoding", "confluent"],
        ["--topic", topic, "--input", files[0], "--rate", "0"],
    ):
        assert call(*arguments).exit_code == 2, arguments


def test_a_server_that_goes_away_meanwhile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PERSISTENCE", 0.5)
    endpoint = f"localhost:{free_port(0)}"
    with pytest.raises(ServiceError, match=endpoint):
        client.send(endpoint, "projects/acme-inc/topics/events", [{"data": b"x"}])
