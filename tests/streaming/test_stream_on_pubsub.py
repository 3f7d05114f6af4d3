"""``wayline stream`` on embedded Flink from a real Pub/Sub server: drained, it loses nothing and leaves nothing."""

from __future__ import annotations

import random
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from benchmarks.chaos_parts import ONE_WORKER, StreamProcess, wayline
from pipelines.definitions import load_definitions
from reports.table_diff import chosen_tables, compare
from sources.publish import publish
from sources.pubsub import client
from transforms.dead_letter import DeadLetterBox
from transforms.inputs import list_inputs
from transforms.keys import parse_key
from transforms.ledger import total
from transforms.payloads import PayloadEncoder, unpack_message
from transforms.tables.views import open_views

PATIENCE = 240.0


def unacknowledged(endpoint: str, topic: str, subscription: str) -> int:
    """Messages that the server still keeps, also held ones: its ack ids are the numbers of its messages."""
    pulled = client.publisher(endpoint).publish(topic=topic, messages=[{"data": b"last"}])
    (last,) = pulled.message_ids
    client.extend(endpoint, subscription, [f"m{number}" for number in range(int(last[1:]) + 1)], 0)
    asked = {"subscription": subscription, "max_messages": 5_000, "return_immediately": True}
    kept = client.subscriber(endpoint).pull(request=asked).received_messages
    client.acknowledge(endpoint, subscription, [item.ack_id for item in kept])
    return len(kept) - 1


@pytest.mark.timeout(420)  # a minute on a machine that has nothing else to do
@pytest.mark.usefixtures("flink_settings")  # skipped where Flink cannot run
@pytest.mark.parametrize("by", ["command", "ctrl-c"])
def test_a_stream_that_is_drained_acknowledges_all_and_equals_the_bounded_run(
    by: str, pubsub_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, (topic, subscription) = pubsub_server.endpoint, pubsub_server.names()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", endpoint)
    world, bounded, out = tmp_path / "world", tmp_path / "bounded", tmp_path / "out"
    wayline("simulate", "--customers=6", "--days=6", "--seed=5", "--malformed-share=0.02", f"--out={world}")
    wayline("run", f"--input={world / 'events'}", f"--out={bounded}")
    copytree(bounded / "keys", out / "keys")
    client.create(topic, subscription, endpoint)
    files = list_inputs([str(world / "events")])
    published = publish(files, topic, endpoint, PayloadEncoder("single-object"), None, lambda *_: None)
    options = ["--source=pubsub", f"--subscription={subscription}", f"--out={out}", "--no-view"]
    with StreamProcess(options, out, PATIENCE) as stream:
        stream.await_received(published.events)
        if by == "command":
            wayline("drain", f"--out={out}")
        else:
            stream.interrupt()
        stream.await_end()
    counted = total(stream.ledger())
    assert (counted.received, counted.missing) == (published.events, 0)
    assert unacknowledged(endpoint, topic, subscription) == 0
    compared = compare(bounded, out, chosen_tables(load_definitions(None).tables, [], False))
    assert [one.table for one in compared if not one.equal] == []


@pytest.mark.timeout(420)  # a minute on a machine that has nothing else to do
@pytest.mark.usefixtures("flink_settings")  # skipped where Flink cannot run
def test_a_topic_full_of_garbage_is_in_the_dead_letters_whole_and_only_then_acknowledged(
    pubsub_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint, (topic, subscription) = pubsub_server.endpoint, pubsub_server.names()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", endpoint)
    out = tmp_path / "out"
    client.create(topic, subscription, endpoint)
    rnd = random.Random(7)
    garbage = [bytes([first, *rnd.randbytes(rnd.randrange(60))]) + b"%d" % n for n, first in enumerate(range(256))]
    garbage += [b"{", b"\xff" * 1_000, b"\xc3\x01short", b"\x00\x00"]
    half = len(garbage) // 2
    options = ["--source=pubsub", f"--subscription={subscription}", f"--out={out}", "--no-view", ONE_WORKER]
    with StreamProcess(options, out, PATIENCE) as stream:
        client.send(endpoint, topic, [{"data": data} for data in garbage[:half]])
        stream.await_work()
        stream.kill_worker()
        client.send(endpoint, topic, [{"data": data} for data in garbage[half:]])
        stream.await_received(len(garbage))
        wayline("drain", f"--out={out}")
        stream.await_end()
    counted = total(stream.ledger())
    # the worker may die after the checkpoint and before it acknowledged: then the first half is delivered again
    assert len(garbage) <= counted.received == counted.dead_lettered <= len(garbage) + half
    assert counted.missing == 0
    assert unacknowledged(endpoint, topic, subscription) == 0
    box = DeadLetterBox(parse_key((out / "keys" / "dead_letter.key").read_text(), "test"))
    letters = open_views(out, load_definitions(None).tables).execute("SELECT dead_letter_id, payload FROM dead_letters")
    kept = [unpack_message(box.open(*letter)) for letter in letters.fetchall()]
    assert sorted(message.data for message in kept if message is not None) == sorted(garbage)
