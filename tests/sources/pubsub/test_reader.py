"""A reader acknowledges what a checkpoint kept and nothing else, holds what it holds, and gives back the rest."""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from typing import Any

import pytest
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp
from cutting_proxy import CuttingProxy

from contracts.errors import InputError
from contracts.event import Event
from sources.pubsub import client, puller
from sources.pubsub.puller import PubSubSettings
from sources.pubsub.reader import PubSubMark, PubSubMarkCoder, PubSubSource
from transforms.payloads import unpack_message

Maker = Callable[..., Event]


def ids(received: list[Any]) -> set[str]:
    return {unit.event.event_id for unit in received}


def test_only_what_a_checkpoint_kept_is_acknowledged(
    topic: Any, drive: Any, make_event: Maker, eventually: Any
) -> None:
    topic.publish([make_event(number) for number in range(30)])
    driver = drive(topic.source())
    first = driver.take(10)
    mark = driver.reader.get_checkpoint_mark()
    second = driver.take(10)
    assert len(mark.ack_ids) == 10
    mark.finalize_checkpoint()
    driver.reader.get_checkpoint_mark()
    driver.reader.close()
    # ten are in a mark that may still be finalised; ten were never handed out: given back at once
    eventually(lambda: topic.available() == 10, 2.0)
    rest = drive(topic.source()).take(10)
    assert ids(first) | ids(second) | ids(rest) == {f"e{n}" for n in range(30)}


def test_what_was_emitted_and_never_finalised_comes_back(topic: Any, drive: Any, make_event: Maker) -> None:
    name = topic.subscription + "-short"
    client.subscriber(topic.endpoint).create_subscription(name=name, topic=topic.topic, ack_deadline_seconds=1)
    topic.publish([make_event(number) for number in range(5)])
    settings = PubSubSettings(name, topic.endpoint, ack_deadline=1.0)
    lost = drive(PubSubSource(settings, topic.topic + "a"))
    lost.take(5)
    lost.reader.get_checkpoint_mark()
    lost.reader.close()
    again = drive(PubSubSource(settings, topic.topic + "b"))
    assert ids(again.take(5, patience=25.0)) == {f"e{n}" for n in range(5)}


def test_a_mark_acknowledges_after_the_reader_is_gone_and_in_another_process(
    topic: Any, drive: Any, make_event: Maker
) -> None:
    topic.publish([make_event(number) for number in range(4)])
    driver = drive(topic.source())
    driver.take(4)
    coder = PubSubMarkCoder()
    mark = driver.reader.get_checkpoint_mark()
    copied = coder.decode(coder.encode(mark))
    assert coder.encode(copied) == coder.encode(mark)
    driver.reader.close()
    copied.finalize_checkpoint()
    copied.finalize_checkpoint()
    mark.finalize_checkpoint()
    # giving back something acknowledged changes nothing
    client.extend(topic.endpoint, topic.subscription, mark.ack_ids, 0)
    assert topic.available() == 0


def test_deadlines_are_extended_while_messages_are_held(
    topic: Any, drive: Any, make_event: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(puller, "_EXTENSION", 2.0)
    name = topic.subscription + "-short"
    client.subscriber(topic.endpoint).create_subscription(name=name, topic=topic.topic, ack_deadline_seconds=1)
    topic.publish([make_event(number) for number in range(20)])
    driver = drive(PubSubSource(PubSubSettings(name, topic.endpoint, ack_deadline=1.0, max_buffered=20), name))
    driver.take(10)
    deadline = time.monotonic() + 4.0
    while time.monotonic() < deadline:  # four times the deadline: ten emitted, ten waiting
        pulled = client.subscriber(topic.endpoint).pull(
            request={"subscription": name, "max_messages": 50, "return_immediately": True}
        )
        assert not pulled.received_messages
        time.sleep(0.2)
    assert len(ids(driver.take(10))) == 10


def test_it_pulls_no_more_than_the_bounds_allow(topic: Any, drive: Any, make_event: Maker, eventually: Any) -> None:
    topic.publish([make_event(number) for number in range(100)])
    driver = drive(topic.source(max_buffered=30, max_outstanding=50))
    driver.take(1)
    eventually(lambda: topic.available() == 69)
    driver.take(39)
    eventually(lambda: topic.available() == 50)
    driver.take(10)
    time.sleep(0.3)
    assert topic.available() == 50
    assert not driver.next()
    driver.reader.get_checkpoint_mark().finalize_checkpoint()
    assert len(driver.take(50)) == 50


def test_the_bytes_that_wait_are_bounded_too(topic: Any, drive: Any, make_event: Maker) -> None:
    events = [make_event(number, properties={"text": "x" * 10_000}) for number in range(20)]
    topic.publish(events[:3])
    driver = drive(topic.source(max_bytes=15_000))
    driver.take(1)
    topic.publish(events[3:])
    time.sleep(0.3)
    assert topic.available() == 17
    assert len(ids(driver.take(19))) == 19


def test_a_reader_that_nobody_asks_gives_back_what_it_holds(
    topic: Any, drive: Any, make_event: Maker, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic.publish([make_event(number) for number in range(10)])
    driver = drive(topic.source())
    driver.take(2)
    monkeypatch.setattr(puller, "ASLEEP", 0.3)
    eventually(lambda: topic.available() == 8, 3.0)
    monkeypatch.setattr(puller, "ASLEEP", 30.0)
    assert len(driver.take(8)) == 8


def test_an_engine_that_never_finalises_is_noticed(
    topic: Any, drive: Any, make_event: Maker, monkeypatch: pytest.MonkeyPatch, caplog: Any, eventually: Any
) -> None:
    monkeypatch.setattr(puller, "_UNFINALISED", 0.5)
    topic.publish([make_event(number) for number in range(3)])
    driver = drive(topic.source())
    driver.take(3)
    mark = driver.reader.get_checkpoint_mark()
    eventually(lambda: "3 messages wait to be acknowledged" in caplog.text)
    mark.finalize_checkpoint()
    caplog.clear()
    time.sleep(1.0)
    assert "wait to be acknowledged" not in caplog.text


def test_splits_share_a_subscription_and_each_message_goes_to_one(topic: Any, drive: Any, make_event: Maker) -> None:
    topic.publish([make_event(number) for number in range(200)])
    splits = topic.source(splits=3, max_buffered=20).split(20)
    assert len(splits) == 3
    assert [part.split(20) for part in splits] == [[part] for part in splits]
    drivers = [drive(pickle_copy(part)) for part in splits]
    seen: list[str] = []
    deadline = time.monotonic() + 10
    while len(seen) < 200 and time.monotonic() < deadline:
        for driver in drivers:
            if driver.next():
                seen.append(driver.reader.get_current().event.event_id)
    assert sorted(seen) == sorted(f"e{n}" for n in range(200))
    assert all(driver.reader.get_checkpoint_mark().ack_ids for driver in drivers)


def pickle_copy(source: PubSubSource) -> PubSubSource:
    """As Beam sends a source to a worker."""
    return pickle.loads(pickle.dumps(source))  # noqa: S301  # made in this line


def test_the_watermark_follows_event_time_clamped_and_survives_in_the_mark(
    topic: Any, drive: Any, make_event: Maker
) -> None:
    ahead = make_event(50, event_time=4_000_000_000_000_000, received_time=make_event(3).event_time)
    late = make_event(51, event_time=make_event(0).event_time - 10**11)
    topic.publish([make_event(0), ahead, late])
    driver = drive(topic.source(idle_after=None))
    assert driver.reader.get_watermark() == MIN_TIMESTAMP
    stamps = {}
    for _ in range(3):
        (unit,) = driver.take(1)
        stamps[unit.event.event_id] = driver.reader.get_current_timestamp()
    assert stamps["e50"] == Timestamp(micros=ahead.received_time)
    assert stamps["e51"] == Timestamp(micros=late.event_time)
    assert driver.reader.get_watermark() == Timestamp(micros=ahead.received_time)
    mark = driver.reader.get_checkpoint_mark()
    resumed = drive(topic.source(idle_after=None), mark)
    assert resumed.reader.get_watermark() == Timestamp(micros=ahead.received_time)


def test_a_reader_to_which_nothing_came_knows_how_late_it_is_from_the_others(
    topic: Any, drive: Any, make_event: Maker
) -> None:
    first, second = (drive(part) for part in topic.source(splits=2, idle_after=None).split(2))
    assert not second.next()
    topic.publish([make_event(1)])
    both = [first, second]
    deadline = time.monotonic() + 10
    while not any(driver.next() for driver in both):
        assert time.monotonic() < deadline
    assert [driver.reader.get_watermark() for driver in both] == [Timestamp(micros=make_event(1).event_time)] * 2


def test_an_idle_source_lets_the_watermark_go_on(topic: Any, drive: Any, make_event: Maker, eventually: Any) -> None:
    topic.publish([make_event(1)])
    driver = drive(topic.source(idle_after=0.2))
    driver.take(1)
    at = driver.reader.get_watermark()
    eventually(lambda: not driver.next() and driver.reader.get_watermark() > at)
    assert driver.reader.get_watermark() < at + 10


def test_garbage_is_handed_out_whole_and_moves_no_watermark(topic: Any, drive: Any, make_event: Maker) -> None:
    topic.publish_raw([(b"\x00\x00\x00\x00\x07?", {"who": "anna@example.org"}), (b"junk", {})])
    driver = drive(topic.source())
    units = sorted(driver.take(2), key=lambda unit: unit.reason)
    assert [(unit.event, unit.reason) for unit in units] == [(None, "undecodable"), (None, "unknown_schema")]
    assert {unit.source for unit in units} == {topic.subscription.rpartition("/")[2]}
    message = unpack_message(units[1].payload)
    assert message is not None
    assert (message.data, message.attributes) == (b"\x00\x00\x00\x00\x07?", {"who": "anna@example.org"})
    assert abs(message.publish_time - time.time() * 1e6) < 60e6
    assert driver.reader.get_watermark() == MIN_TIMESTAMP


def test_a_subscription_that_is_deleted_ends_the_reader_with_its_name(topic: Any, drive: Any) -> None:
    driver = drive(topic.source())
    assert not driver.next()
    client.subscriber(topic.endpoint).delete_subscription(subscription=topic.subscription)
    with pytest.raises(InputError, match=f"there is no subscription {topic.subscription}"):
        driver.take(1)


def test_a_server_that_does_not_answer_is_waited_for_and_moves_no_watermark(
    topic: Any, drive: Any, make_event: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(puller, "_BACK_OFF", 0.1)
    proxy = CuttingProxy(int(topic.endpoint.rpartition(":")[2]))
    try:
        settings = PubSubSettings(topic.subscription, f"localhost:{proxy.port}", idle_after=0.1)
        driver = drive(PubSubSource(settings, topic.topic + "a"))
        topic.publish([make_event(1)])
        driver.take(1)
        proxy.cut_at(b"", "request", 1_000_000)
        time.sleep(0.5)
        before = driver.reader.get_watermark()
        time.sleep(0.7)
        assert not driver.next()
        assert driver.reader.get_watermark() == before
        assert proxy.left < 1_000_000
        topic.publish([make_event(2)])
        proxy.cut_at(b"", "request", 0)
        assert ids(driver.take(1)) == {"e2"}
        driver.reader.get_checkpoint_mark().finalize_checkpoint()
        assert topic.available() == 0
        driver.reader.close()
    finally:
        proxy.close()


def test_a_mark_of_nothing_is_finalised_without_a_call() -> None:
    PubSubMark("localhost:1", "projects/p/subscriptions/sss", ("t", 0), (), 1, None).finalize_checkpoint()


# --- readers come and go -------------------------------------------------------------------------------------------


def test_a_new_reader_at_the_last_mark_takes_what_the_one_before_it_held(
    topic: Any, drive: Any, make_event: Maker, eventually: Any
) -> None:
    # as on an engine that finalises late: each bundle has a reader of its own, and the ones before stay parked
    topic.publish([make_event(number) for number in range(40)])
    source, mark, seen, marks = topic.source(), None, [], []
    for _ in range(8):
        driver = drive(source, mark)
        seen += driver.take(5)
        mark = PubSubMarkCoder().decode(PubSubMarkCoder().encode(driver.reader.get_checkpoint_mark()))
        marks.append(mark)
    assert ids(seen) == {f"e{n}" for n in range(40)}
    for one in marks:
        one.finalize_checkpoint()
    drive(source, mark).reader.close()
    eventually(lambda: topic.available() == 0)


def test_a_parked_reader_that_is_closed_late_takes_nothing_from_the_one_after_it(
    topic: Any, drive: Any, make_event: Maker
) -> None:
    topic.publish([make_event(number) for number in range(10)])
    first = drive(topic.source())
    seen = first.take(2)
    second = drive(topic.source(), first.reader.get_checkpoint_mark())
    seen += second.take(1)
    first.reader.close()
    assert topic.available() == 0
    assert ids(seen + second.take(7)) == {f"e{n}" for n in range(10)}


def test_a_reader_at_an_older_mark_begins_anew_from_there(
    topic: Any, drive: Any, make_event: Maker, eventually: Any
) -> None:
    topic.publish([make_event(0)])
    source = topic.source(idle_after=None)
    first = drive(source)
    first.take(1)
    old = first.reader.get_checkpoint_mark()
    topic.publish([make_event(number) for number in range(1, 9)])
    second = drive(source, old)
    second.take(4)
    second.reader.get_checkpoint_mark()
    restored = drive(source, old)
    assert restored.reader.get_watermark() == Timestamp(micros=make_event(0).event_time)
    # four were held, and are there again at once; four are in a mark that may still be finalised
    eventually(lambda: topic.available() == 4, 3.0)


def test_what_a_failed_bundle_took_is_given_back_at_once(
    topic: Any, drive: Any, make_event: Maker, eventually: Any
) -> None:
    topic.publish([make_event(number) for number in range(6)])
    failed = drive(topic.source())
    failed.take(3)
    failed.reader.close()
    eventually(lambda: topic.available() == 6, 3.0)
    assert len(ids(drive(topic.source()).take(6))) == 6
