"""The watermark never passes when an event to come was received, whatever clocks and orders there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from contracts.event import HOUR, SECOND
from sources.pubsub.leases import Leases
from sources.pubsub.watermark import Watermark

NOON = 1_750_000_000_000_000


def test_nothing_is_known_before_something_was_emitted() -> None:
    clock = Watermark(5.0, 0.0)
    clock.empty(100.0)
    assert clock.at() is None
    clock.hold(NOON, 101.0)
    assert clock.at() is None


def test_a_message_that_waits_holds_it_at_when_it_was_received_not_at_when_it_happened() -> None:
    clock = Watermark(None, 0.0)
    for received in (NOON, NOON + 3, NOON + 1, NOON + 2):
        clock.hold(received, 0.0)
    clock.emit(NOON)
    assert clock.at() == NOON
    clock.emit(NOON + 3)
    assert clock.at() == NOON + 1
    clock.emit(NOON - 40 * HOUR)
    assert clock.at() == NOON + 2
    clock.emit(None)
    assert clock.at() == NOON + 3


def test_an_idle_source_lets_it_go_on_at_the_pace_of_time_and_not_to_the_wall_clock() -> None:
    clock = Watermark(5.0, 0.0)
    clock.hold(NOON, 10.0)
    clock.emit(NOON - 7)
    clock.empty(14.9)
    assert clock.at() == NOON - 7
    clock.empty(75.0)
    assert clock.at() == NOON - 7 + 60 * SECOND
    clock.hold(NOON + 50 * SECOND, 80.0)
    assert clock.at() == NOON - 7


def test_a_source_that_does_not_answer_moves_nothing() -> None:
    clock = Watermark(5.0, 0.0)
    clock.hold(NOON, 1.0)
    clock.emit(NOON)
    clock.empty(2.0)
    # an hour passes without an answer: nobody tells the watermark
    assert clock.at() == NOON


def test_without_the_idle_rule_it_waits() -> None:
    clock = Watermark(None, 0.0, NOON)
    clock.empty(1e6)
    assert clock.at() == NOON


@given(
    st.lists(st.tuples(st.integers(0, 1_000), st.integers(-2_000, 2_000), st.integers(1, 5)), max_size=60),
    st.integers(0, 500),
)
def test_no_event_within_the_lateness_is_ever_late_when_messages_come_in_order(
    plan: list[tuple[int, int, int]], lateness: int
) -> None:
    clock = Watermark(None, 0.0)
    received, waiting = NOON, []
    for step, delay, emits in plan:
        received += step
        clock.hold(received, 0.0)
        waiting.append((received - delay, received))
        for _ in range(min(emits - 1, len(waiting))):
            event_time, at = waiting.pop(0)
            if at - event_time <= lateness:
                seen = clock.at()
                assert seen is None or event_time >= seen - lateness
            clock.emit(min(event_time, at))
    for event_time, at in waiting:
        if at - event_time <= lateness:
            seen = clock.at()
            assert seen is None or event_time >= seen - lateness
        clock.emit(min(event_time, at))


def test_leases_are_extended_before_they_run_out_and_let_go_in_the_end() -> None:
    leases = Leases(deadline=10.0, extension=20.0, max_held=60.0)
    leases.add(["a", "b", "c"], 0.0)
    leases.drop(["c", "unknown"])
    assert leases.due(4.9) == []
    assert leases.due(5.0) == ["a", "b"]
    assert leases.due(19.9) == []
    leases.drop(["b"])
    assert leases.due(20.0) == ["a"]
    assert leases.due(59.0) == ["a"]
    assert leases.holds("a")
    assert leases.due(60.0) == []
    assert (len(leases), leases.holds("a")) == (0, False)
